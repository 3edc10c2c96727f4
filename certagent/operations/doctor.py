"""What `certagent doctor` looks at on the host: the unit's own view of paths, the kernel, locks. It changes nothing.

It creates two empty files beside a certs directory for a moment: only a file system itself says whether it exchanges
two files in one step.
"""

import os
import pwd
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from shlex import quote

from certagent.certs_dir.access import denied_to
from certagent.config import Config, LocalConfig
from certagent.config.remote import RemoteConfig
from certagent.core.doctor import Line, of_access, of_exchange, of_holder, of_inotify, of_kernel, of_server
from certagent.core.policy import Policy
from certagent.core.reaching import Access, Need, by_rights, by_settings, has_modes, unseen
from certagent.core.units import parent
from certagent.posix.as_user import apart
from certagent.posix.directory import opened
from certagent.posix.errors import HostError
from certagent.posix.exchange import exchange
from certagent.posix.locks import held, holding
from certagent.posix.openat import IN_ROOT, open_within
from certagent.posix.owner import running_as
from certagent.posix.responding import FRESH, responds
from certagent.process.finding import find
from certagent.sandbox.confining import landlock_abi

SECCOMP = "/proc/sys/kernel/seccomp/actions_avail"
INSTANCES = "/proc/sys/fs/inotify/max_user_instances"
RIGHTS = {False: os.R_OK, True: os.R_OK | os.W_OK}  # by whether the agent writes there


def needs(config: Config) -> Iterator[Need]:
    """Every path that the agent must reach by its configuration."""
    for p in config.policies:
        write = p.enforce == "repair" or any(w.authorities for w in p.wants)
        yield Need(path=parent(p.path), why=f"certs directory {p.path}", write=write, of_directory=p.path)
        if p.roots:
            yield Need(path=p.roots, why="roots of ui")
    yield Need(path=config.settings.state_dir, why="agent.state_dir", write=True)
    yield Need(path=parent(config.settings.socket), why="agent.socket", write=True)
    for a in config.authorities.values():
        made = a.options
        if isinstance(made, LocalConfig):
            place = made.directory if not made.create or os.path.isdir(made.directory) else parent(made.directory)
            yield Need(path=place, why=f"authority.{a.name}.directory", write=made.create)
        elif isinstance(made, RemoteConfig):
            yield from _of_remote(f"authority.{a.name}", made)


def _of_remote(where: str, made: RemoteConfig) -> Iterator[Need]:
    named = {"tls_roots": made.tls_roots, "issuing_roots": made.issuing_roots}
    named |= {"client_cert": made.client_cert, "client_key": made.client_key, **made.secrets}
    for key, path in named.items():
        if path.startswith("/"):
            yield Need(path=path, why=f"{where}.{key}")
    for key in ("outbox", "inbox", "writable", "readable"):
        value = made.options.get(key) or ()
        for path in (value,) if isinstance(value, str) else value:
            yield Need(path=path, why=f"{where}.{key}", write=key != "readable")
    yield from (Need(path=word, why=f"{where}.command") for word in made.options.get("command", [])[:1])


class View:
    """How the agent's unit sees paths: by its own mount namespace while it runs, else by the unit's settings."""

    def __init__(self, unit: str, says: dict[str, str], user: str) -> None:
        """Opens the root of the running agent, where this user may."""
        self._unit, self._says, self._root = unit, says, -1
        self._ids: tuple[int, int] | None = None
        with suppress(KeyError):
            account = pwd.getpwnam(user)
            self._ids = account.pw_uid, account.pw_gid
        if (pid := int(says.get("MainPID") or 0)) > 0:
            with suppress(OSError):
                self._root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    @property
    def seen(self) -> bool:
        """Whether the agent's own view can be looked at."""
        return self._root >= 0

    def judge(self, need: Need) -> Line | None:
        """The line about a path that the agent does not reach; None where it does."""
        if not responds(need.path, FRESH):
            return None  # path.hung says so
        access = self._seen(need) if self.seen else self._by_settings(need)
        return of_access(self._unit, need, access, seen=self.seen)

    def _by_settings(self, need: Need) -> Access:
        access = by_settings(need, self._says)
        return self._allowed(need) if access == "ok" else access

    def _seen(self, need: Need) -> Access:
        try:
            fd = open_within(self._root, need.path, os.O_PATH, IN_ROOT)
        except OSError as error:
            return unseen(error, there=os.path.lexists(need.path))
        try:
            if need.write and os.fstatvfs(fd).f_flag & os.ST_RDONLY:
                return "read-only"
            return self._allowed(need)
        finally:
            os.close(fd)

    def _allowed(self, need: Need) -> Access:
        """Whether the agent's user may use it, by owners and modes; of a certs directory `owned` says that."""
        ids = self._ids
        if ids is None or not has_modes(need, ids[0], os.geteuid()):
            return "ok"
        may = apart(ids, lambda: os.access(need.path, RIGHTS[need.write]))
        return by_rights(may=may, there=os.path.lexists(need.path))

    def close(self) -> None:
        """Close the root."""
        if self.seen:
            os.close(self._root)
            self._root = -1


def owned(policy: Policy, user: str) -> Line | None:
    """Whether the agent's user may change a certs directory; None where it may, or the directory is not there."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        return None
    why = denied_to((account.pw_uid, account.pw_gid), policy.path)
    if why is None:
        return None
    message = f"{policy.path}: {why.cause or f'{user} may not change it'}"
    return Line(
        check="directory", outcome="failed", message=message, remedy=why.advice or f"chown {user} {quote(policy.path)}"
    )


def kernel(config: Config | None, user: str) -> Iterator[Line]:
    """What the kernel and the file systems of the certs directories can do."""
    yield from of_kernel(landlock=landlock_abi(), seccomp=os.path.exists(SECCOMP), pidfd=_pidfd())
    with suppress(OSError, ValueError, KeyError):
        most = _most_instances()
        yield of_inotify(_instances(pwd.getpwnam(user).pw_uid), most, user)
    for policy in config.policies if config else ():
        if responds(policy.path, FRESH) and os.path.isdir(policy.path):
            problem = _exchanges(policy)
            if problem is not None:
                yield of_exchange(policy.path, problem)


def _pidfd() -> bool:
    """Whether the kernel gives a descriptor of a process."""
    with suppress(OSError):
        os.close(os.pidfd_open(os.getpid()))
        return True
    return False


def _most_instances() -> int:
    """How many inotify instances a user may have. Raises OSError and ValueError."""
    with open(INSTANCES) as file:
        return int(file.read())


def _exchanges(policy: Policy) -> str | None:
    """Why two files cannot be exchanged on the file system of a directory, "" if they can; None: it was not tried."""
    above = parent(policy.path)
    try:
        if os.stat(above).st_dev != os.stat(policy.path).st_dev:
            return None
        if os.geteuid() == 0 == policy.owner.uid:
            opened(above, change=True)  # whoever may rename in it would have root write elsewhere
        found: str = apart((policy.owner.uid, policy.owner.gid), lambda: _tried_in(above))
    except (OSError, HostError):
        return None
    return found


def _tried_in(above: str) -> str:
    """Raises OSError where nothing can be made there."""
    with tempfile.TemporaryDirectory(prefix=".certagent-", dir=above) as at:
        return _tried(at)


def _tried(at: str) -> str:
    fds = []
    for name in ("a", "b"):
        os.mkdir(f"{at}/{name}")
        with open(f"{at}/{name}/file", "w"):
            fds.append(os.open(f"{at}/{name}", os.O_RDONLY | os.O_DIRECTORY))
    try:
        return _refused(*fds)
    finally:
        for fd in fds:
            os.close(fd)


def _refused(one: int, other: int) -> str:
    """Why the file of two directories is not exchanged; "" where it was."""
    try:
        exchange("file", one, other)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _instances(uid: int) -> int:
    """How many inotify instances the processes of a user have, as far as they can be seen."""
    return sum(_instances_of(pid, uid) for pid in os.listdir("/proc") if pid.isdigit())


def _instances_of(pid: str, uid: int) -> int:
    """The same of one process; 0 of another user's, and of one that cannot be seen."""
    with suppress(OSError):
        if os.stat(f"/proc/{pid}").st_uid == uid:
            links = [_link(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            return links.count("anon_inode:inotify")
    return 0


def _link(path: str) -> str:
    with suppress(OSError):
        return os.readlink(path)
    return ""


def holders(config: Config, agent: int | None) -> Iterator[Line]:
    """Who manages each certs directory, by the kernel's table of locks."""
    table = held()
    for policy in config.policies:
        with suppress(OSError):
            holder = holding(os.stat(f"{policy.path}/.certagent/lock"), table)
            yield of_holder(policy.path, holder, agent, running_as(holder) if holder else "")


def cockroach(policy: Policy) -> Iterator[Line]:
    """The servers of a directory, and their versions."""
    try:
        info = os.stat(policy.path)
    except OSError:
        return
    for p in find(info.st_dev, info.st_ino, policy.process, policy.owner):
        if p.problem is None:
            yield of_server(policy.path, p)
