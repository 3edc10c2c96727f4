"""A certs-dir by its path: as root no link is followed that leads somewhere else than to its maker's own directory.

The owner of a certs-dir may often write the directory above it, and could put a link there: root would install keys in
/etc/ssl, or in the certs-dir of somebody else. The kernel has no rule for whose links are followed, so each component
is opened by the fd of the one before. Rejected: realpath and a look at the owners, which a race turns into a lie; and
no links at all, since /var and the certs-dir itself may well be one.
"""

import errno
import os
import stat
from collections import deque

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_LINKS = 40


def open_directory(path: str) -> int:
    """The fd of a directory. Raises OSError."""
    if os.geteuid() != 0:
        return os.open(path, DIRECTORY)
    at, makers = _walked(os.path.abspath(path))
    try:
        fd = os.open(f"/proc/self/fd/{at}", DIRECTORY)
    finally:
        os.close(at)
    owner = os.fstat(fd).st_uid
    if strange := makers - {0, owner}:
        os.close(fd)
        why = f"a link owned by uid {min(strange)} leads to a directory of uid {owner}; root does not follow it"
        raise OSError(errno.EACCES, why, path)
    return fd


def _walked(path: str) -> tuple[int, set[int]]:
    """The end of an absolute path as an fd to look at, and who made the links on the way. Raises OSError."""
    rest, makers, links = deque(path.split("/")), set[int](), 0
    at = os.open("/", LOOK)
    try:
        while rest and links <= MOST_LINKS:
            fd = os.open(rest.popleft() or ".", LOOK, dir_fd=at)
            info = os.fstat(fd)
            if not stat.S_ISLNK(info.st_mode):
                os.close(at)
                at = fd
                continue
            target, links = os.readlink("", dir_fd=fd), links + 1
            os.close(fd)
            makers.add(info.st_uid)
            rest.extendleft(reversed(target.split("/")))
            if target.startswith("/"):
                os.close(at)
                at = os.open("/", LOOK)
    except OSError:
        os.close(at)
        raise
    if rest:
        os.close(at)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    return at, makers


def stat_key(path: str) -> tuple[int, int, int] | None:
    """What changes when a file changes, or its mode and with it who may read it; None where nothing can be seen."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_ino, info.st_ctime_ns, info.st_size


def identity(path: str) -> tuple[int, int] | None:
    """Device and inode of what stands at a path now, links followed; None where nothing can be seen."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino
