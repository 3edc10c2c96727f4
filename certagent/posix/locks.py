"""One agent per directory, by a kernel flock that no crash leaves behind."""

import errno
import fcntl
import os
import re
import stat
from contextlib import suppress

from certagent.posix.closing import close
from certagent.posix.directory import open_directory
from certagent.posix.errors import HostError
from certagent.posix.owner import running_as

TABLE = "/proc/locks"
ROW = re.compile(r"FLOCK +ADVISORY +WRITE +(\d+) +([0-9a-f]+):([0-9a-f]+):(\d+) ")
OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def lock(path: str, what: str, directory: int | None = None) -> int:
    """Hold a lock file until its fd is closed; return the fd. HostError names the holder."""
    fd = os.open(path, OPEN, 0o600, dir_fd=directory)
    try:
        _lock(fd, what)
    except BaseException:
        close(fd)
        raise
    return fd


def _lock(fd: int, what: str) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise HostError(f"cannot lock {what}: its lock is not a regular file; remove it", errno.EINVAL)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise HostError(f"another certagent{_holder(fd)} already manages {what}", error.errno) from error
    with suppress(OSError):  # a full disk: the lock holds without its holder's name
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)


def _holder(fd: int) -> str:
    """Who holds a lock, by the pid in its file; as whom, where the kernel's table knows that process as the holder."""
    said = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
    if not said:
        return ""
    user = ""
    with suppress(OSError):  # in another container it is a stranger's pid here
        if str(holding(os.fstat(fd), held())) == said and (found := running_as(said)):
            user = f", which runs as {found}"
    return f" (pid {said}{user})"


def held() -> dict[tuple[int, int, int], int]:
    """The kernel's table of such locks: who holds which file, by device and inode. Raises OSError."""
    with open(TABLE, encoding="ascii", errors="replace") as file:
        return {(int(m[2], 16), int(m[3], 16), int(m[4])): int(m[1]) for line in file if (m := ROW.search(line))}


def holding(info: os.stat_result, table: dict[tuple[int, int, int], int]) -> int:
    """Given a file and that table, return the pid of who holds it, 0 if nobody does."""
    return table.get((os.major(info.st_dev), os.minor(info.st_dev), info.st_ino), 0)


def unlock(fd: int) -> None:
    """Release a lock without closing its file, which may wait for its file system."""
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)


def lock_directory(path: str) -> int:
    """The same for a directory in which nothing may be written. HostError where another process holds it."""
    try:
        fd = open_directory(path, change=True)
    except OSError as error:
        raise HostError(f"cannot open {path}: {error.strerror}", error.errno) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        close(fd)
        raise HostError(f"another process already uses {path}", error.errno) from error
    except BaseException:
        close(fd)
        raise
    return fd
