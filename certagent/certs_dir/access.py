"""Why a path cannot be used: which user lacks which right on which part of it, and the exact remedy."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from shlex import quote

from certagent.certs_dir.mounts import read_only_mount
from certagent.core.obstacles import FLAGS, Fixed, remedy
from certagent.posix.as_user import User, apart
from certagent.posix.closing import close
from certagent.posix.flags import fixed
from certagent.posix.owner import name_of
from certagent.posix.responding import FRESH, responds
from certagent.posix.rights import barrier, may, shown

HOMES = ("/home", "/root", "/run/user")  # that ProtectHome= of a unit hides, or makes read-only
READING, WRITING = (("read", os.R_OK),), (("write", os.W_OK),)
DROP_IN = "in a drop-in (systemctl edit certagent)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """One clause and one remedy; both "" where nothing more is known than the kernel's word.

    `code`: the kernel's error that a change ends with.
    """

    cause: str = ""
    advice: str = ""
    code: int = errno.EACCES


def denied(path: str, code: int | None, *, write: bool = False) -> Denied:
    """Given a directory and the error that its use ended with, return why, as far as the path shows it."""
    try:
        if code == errno.EROFS:
            return _read_only(path)
        return _forbidden(path, name_of(os.geteuid()), write=write) if code in {errno.EACCES, errno.EPERM} else Denied()
    except OSError:
        return Denied()


def denied_to(user: User, path: str) -> Denied | None:
    """Why a user cannot change a directory; None where it can, the directory is not there, or we cannot say.

    For commands, which have one thread: another user is a child of ours. Raises HostError where that does not answer.
    """
    if os.geteuid() not in {0, user[0]} or not responds(path, FRESH) or not os.path.isdir(path):
        return None
    found = apart(user, lambda: _denied(path))
    return None if found is None else Denied(**found)


def _denied(path: str) -> dict[str, str | int] | None:
    """Why this process cannot change a directory; None where it can."""
    found = denied(path, errno.EACCES, write=True)
    if found.cause or not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        return asdict(found)
    return None


def _read_only(path: str) -> Denied:
    """The mount, or the unit whose settings make one; the mount's own command comes first where it is no unit's."""
    home = next((h for h in HOMES if f"{path}/".startswith(f"{h}/")), None)
    setting = f"ProtectHome=false and ReadWritePaths={path}" if home else f"ReadWritePaths={os.path.dirname(path)}"
    by_unit = f"set {setting} {DROP_IN}"
    mount = read_only_mount(path)
    if mount is None or mount.point in {"/", *HOMES}:  # as ProtectSystem= and ProtectHome= make them
        cause = f"{path} is read-only for this process, as the unit or the mount has it"
        return Denied(cause=cause, advice=f"{by_unit}, or mount it writable", code=errno.EROFS)
    cause = f"{path} is read-only: the mount at {mount.point} is"
    advice = f"{mount.writable}; where only the unit makes it read-only, {by_unit}"
    return Denied(cause=cause, advice=advice, code=errno.EROFS)


def _forbidden(path: str, me: str, *, write: bool) -> Denied:
    """Why the agent's user may not use a directory. Raises OSError."""
    if part := barrier(path):
        return Denied(cause=f"{me} may not enter {part} ({shown(part)})", advice=_entry(part, path, me))
    if write and (word := _fixed(path)):
        advice = remedy(path, word[1], below=True)
        return Denied(cause=f"{word[0]} is {word[1]}", advice=advice, code=errno.EPERM)
    if write and os.statvfs(path).f_flag & os.ST_RDONLY:  # no owner and no mode makes it writable
        return _read_only(path)
    rights = (*READING, *WRITING) if write else READING
    if lacks := next((word for word, right in rights if not may(path, right)), None):
        return Denied(cause=f"{me} may not {lacks} {path} ({shown(path)})", advice=_own(path, me, lacks[0]))
    if write and (shut := next(_closed_staging(path), None)):
        advice = f"chown -R {me} {quote(f'{path}/.certagent')}"
        if os.lstat(shut).st_uid == os.geteuid():
            advice = f"chmod u+rw{'x' if os.path.isdir(shut) else ''} {quote(shut)}"
        return Denied(cause=f"{me} may not change {shut} ({shown(shut)})", advice=advice)
    return Denied()


def _closed_staging(path: str) -> Iterator[str]:
    """What of the staging area this process may not change: the area itself, or what is directly in it.

    The agent corrects the mode of an area of its own.
    """
    area, me = f"{path}/.certagent", os.geteuid()
    if not os.path.isdir(area):
        return
    uid = os.lstat(area).st_uid
    if uid != me and (uid != os.stat(path).st_uid or not may(area, os.R_OK | os.W_OK | os.X_OK)):
        yield area
        return
    for entry in sorted(os.listdir(area)) if may(area, os.R_OK | os.X_OK) else ():
        part = f"{area}/{entry}"
        with suppress(FileNotFoundError):
            right = os.R_OK | os.W_OK | (os.X_OK if stat.S_ISDIR(os.lstat(part).st_mode) else 0)
            if not os.path.islink(part) and not may(part, right):
                yield part


def _fixed(path: str) -> tuple[str, Fixed] | None:
    """The certs-dir, or what of its staging area is needed first, where a flag forbids any change of it."""
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        parts = (("", path), (".certagent", f"{path}/.certagent"), (".certagent/lock", f"{path}/.certagent/lock"))
        found = [(whole, word) for part, whole in parts if (word := fixed(fd, part)) in FLAGS]
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
