"""Open a certs-dir by its path: as root a link is followed only to a directory of the link's owner.

The owner of a certs-dir may often write the directory above it, and could put a link there: root would install keys in
/etc/ssl, or in another user's certs-dir. The kernel has no rule for whose links are followed, so each component
is opened by the fd of the one before. Rejected: realpath and a check of the owners, which a race can invalidate; and
no links at all, since /var or the certs-dir itself may be one.
"""

import errno
import os

from certagent.posix.closing import close
from certagent.posix.openat import End, walked
from certagent.posix.responding import required

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def open_directory(path: str) -> int:
    """The fd of a directory. Raises OSError; one that does not respond is not touched."""
    required(path)
    if os.geteuid() != 0:
        return os.open(path, DIRECTORY)
    end = _followed(path)
    try:
        fd = os.open(f"/proc/self/fd/{end.fd}", DIRECTORY)
    finally:
        close(end.fd)
    try:
        _permit(path, os.fstat(fd).st_uid, end)
    except BaseException:
        close(fd)
        raise
    return fd


def _permit(path: str, owner: int, end: End) -> None:
    """Raise OSError if a link on the way is neither root's nor the owner's."""
    if strange := end.makers - {0, owner}:
        why = f"a link owned by uid {min(strange)} leads to a directory of uid {owner}; root does not follow it"
        raise OSError(errno.EACCES, why, path)


def _followed(path: str) -> End:
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        return walked(root, os.path.abspath(path), in_root=True)
    finally:
        close(root)


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


def opened(path: str) -> tuple[int, int]:
    """Device and inode of a certs-dir, by its open descriptor: no link is followed that `open_directory` does not.

    Raises OSError.
    """
    fd = open_directory(path)
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
