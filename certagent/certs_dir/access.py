"""Why a path cannot be used: which user lacks which right on which part of it, and the exact remedy."""

import errno
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from shlex import quote

from certagent.core.obstacles import FLAGS, Fixed, remedy
from certagent.posix.as_user import User, apart
from certagent.posix.closing import close
from certagent.posix.flags import fixed
from certagent.posix.owner import name_of
from certagent.posix.responding import FRESH, responds

HOMES = ("/home", "/root", "/run/user")  # that ProtectHome= of a unit hides, or makes read-only
READING, WRITING = (("read", os.R_OK),), (("write", os.W_OK),)
DROP_IN = "in a drop-in (systemctl edit certagent)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """One clause and one remedy; both "" where nothing more is known than the kernel's word."""

    cause: str = ""
    advice: str = ""


def denied(path: str, code: int | None, *, write: bool = False) -> Denied:
    """Given a directory and the error that its use ended with, return why, as far as the path shows it."""
    try:
        if code == errno.EROFS:
            return _read_only(path)
        return _forbidden(path, name_of(os.geteuid()), write=write) if code in {errno.EACCES, errno.EPERM} else Denied()
    except OSError:
        return Denied()


def denied_to(user: User, path: str) -> Denied | None:
    """Why a user may not change a directory; None where it may, the directory is not there, or we cannot say.

    For commands, which have one thread: another user is a child of ours. Raises HostError where that does not answer.
    """
    if os.geteuid() not in {0, user[0]} or not responds(path, FRESH) or not os.path.isdir(path):
        return None
    found = apart(user, lambda: _denied(path))
    return None if found is None else Denied(**found)


def _denied(path: str) -> dict[str, str] | None:
    """Why this process may not change a directory; None where it may."""
    if os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        return None
    return asdict(denied(path, errno.EACCES, write=True))


def _read_only(path: str) -> Denied:
    home = next((h for h in HOMES if f"{path}/".startswith(f"{h}/")), None)
    setting = f"ProtectHome=false and ReadWritePaths={path}" if home else f"ReadWritePaths={os.path.dirname(path)}"
    return Denied(
        cause=f"{path} is read-only for this process, as the unit or the mount has it",
        advice=f"set {setting} {DROP_IN}, or mount it writable",
    )


def _forbidden(path: str, me: str, *, write: bool) -> Denied:
    """Why the agent's user may not use a directory. Raises OSError."""
    if write and (word := _fixed(path)):
        return Denied(cause=f"{word[0]} is {word[1]}", advice=remedy(path, word[1], below=True))
    parts = (*reversed(PurePosixPath(path).parents), PurePosixPath(path))
    if part := next((p for p in parts if not _may(p, os.X_OK)), None):
        return Denied(cause=f"{me} may not enter {part} ({_shown(part)})", advice=_entry(str(part), path, me))
    rights = (*READING, *WRITING) if write else READING
    if lacks := next((word for word, right in rights if not _may(path, right)), None):
        return Denied(cause=f"{me} may not {lacks} {path} ({_shown(path)})", advice=_own(path, me, lacks[0]))
    return Denied()


def _fixed(path: str) -> tuple[str, Fixed] | None:
    """The certs-dir, or what of its staging area is needed first, where a flag forbids any change of it."""
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        parts = (("", path), (".certagent", f"{path}/.certagent"), (".certagent/lock", f"{path}/.certagent/lock"))
        found = [(shown, word) for part, shown in parts if (word := fixed(fd, part)) in FLAGS]
    finally:
        close(fd)
    return found[0] if found else None


def _entry(part: str, path: str, me: str) -> str:
    if part in HOMES and not stat.S_IMODE(os.stat(part).st_mode):
        return f"set ProtectHome=false {DROP_IN}: the unit hides {part}"
    return _own(path, me, "x") if part == path else f"chmod o+x {quote(part)}"


def _own(path: str, me: str, right: str) -> str:
    """What gives a user a right on a directory that should be its own."""
    return f"chmod u+{right} {quote(path)}" if os.stat(path).st_uid == os.geteuid() else f"chown {me} {quote(path)}"


def _may(path: str | PurePosixPath, right: int) -> bool:
    return os.access(path, right, effective_ids=True)


def _shown(path: str | PurePosixPath) -> str:
    info = os.stat(path)
    return f"owner {name_of(info.st_uid)}, mode {stat.S_IMODE(info.st_mode):04o}"
