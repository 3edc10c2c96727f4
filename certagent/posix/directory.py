"""Open a certs-dir by its path: root changes only one that root alone can write, component by component.

Whoever may write the directory, or one above it, could have root install keys in /etc/ssl, restrict a file that is not
a key, or read one that is. So root changes nothing there. The kernel has no rule for whose links are followed, so each
component is opened by the fd of the one before, and judged by that fd. Rejected: to act with the owner's effective ids,
as in earlier versions, since every operation that forgets it is root's; realpath and a check of the owners, which a
race can invalidate; and no links at all, since /var or the certs-dir itself may be one.
"""

import errno
import os

from certagent.posix.closing import close
from certagent.posix.errors import HostError
from certagent.posix.openat import Component, End, NoEntryError
from certagent.posix.responding import required
from certagent.posix.trusted import Flaw, followed, shared

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class SharedError(HostError):
    """Root changes nothing in a directory that others can write, or lead elsewhere. `uid`: whose it is."""

    def __init__(self, path: str, found: Flaw, uid: int) -> None:
        super().__init__(f"root changes nothing in {path}: {found.clause}", errno.EPERM)
        self.flaw, self.uid = found, uid


def open_directory(path: str, *, change: bool = False) -> int:
    """The fd of a directory. Raises OSError; one that does not respond is not touched.

    `change`: to change something in it. Then SharedError where we are root and others could change it, too.
    """
    required(path)
    if os.geteuid() != 0:
        return os.open(path, DIRECTORY)
    try:
        end = followed(path)
    except NoEntryError as error:
        if change:
            _require_own(path, error.way)
        raise
    try:
        if change:
            _require_own(path, end.way)
        _permit(path, end)
        return os.open(f"/proc/self/fd/{end.fd}", DIRECTORY)
    finally:
        close(end.fd)


def _require_own(path: str, way: tuple[Component, ...]) -> None:
    """Raise SharedError if others than root can write a component."""
    if found := shared(way):
        raise SharedError(path, found, way[-1].uid or found.uid)


def _permit(path: str, end: End) -> None:
    """Raise OSError if a link on the way is neither root's nor the owner's."""
    owner = end.way[-1].uid
    if strange := end.makers - {0, owner}:
        why = f"a link owned by uid {min(strange)} leads to a directory of uid {owner}; root does not follow it"
        raise OSError(errno.EACCES, why, path)


def sync_directory(path: str) -> None:
    """See to it that what was made, renamed or removed in a directory survives a power cut. Raises OSError."""
    fd = os.open(path, DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def stat_key(path: str) -> tuple[int, int, int] | None:
    """A mark that changes with a file's content or mode; None if the file cannot be examined."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_ino, info.st_ctime_ns, info.st_size


def opened(path: str, *, change: bool = False) -> tuple[int, int]:
    """Device and inode of a certs-dir, by its open descriptor: no link is followed that `open_directory` does not.

    Raises OSError, SharedError.
    """
    fd = open_directory(path, change=change)
    try:
        info = os.fstat(fd)
        return info.st_dev, info.st_ino
    finally:
        os.close(fd)


def identity(path: str) -> tuple[int, int] | None:
    """Device and inode of the file at a path, links followed; None if it cannot be examined."""
    try:
        required(path)
        info = os.stat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino
