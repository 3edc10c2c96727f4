"""Single files of the staging area and of the certs-dir, by directory fd: read, write, remove, finish."""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import TypeVar

from certagent.certs_dir.reading import read_fd
from certagent.keys import Key, examined
from certagent.posix.closing import close
from certagent.posix.errors import HostError, IrregularFileError

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
NOT_A_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EISDIR})
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
ASIDE = ".odd"  # the end of a name that was given to something that stood in the place of our file
T = TypeVar("T")
Ids = tuple[int | None, int | None]


def digest(data: bytes | Key | None) -> str:
    """SHA-256; "" for None. Raises HostError where a key cannot be examined."""
    if isinstance(data, Key):
        return examined(data).digest
    return "" if data is None else sha256(data).hexdigest()


def read(directory: int, name: str) -> bytes | None:
    """The bytes of a regular file, at most one mebibyte; None if there is none.

    Raises OSError where that is not known: what could not be read is not absent.
    """
    return _taken(directory, name, read_fd)


def read_key(directory: int, name: str) -> Key | None:
    """The same of a key."""
    return _taken(directory, name, Key.read)


def _taken(directory: int, name: str, take: Callable[[int], T]) -> T | None:
    try:
        return take(os.open(name, READ, dir_fd=directory))
    except IrregularFileError:
        return None
    except OSError as error:
        if error.errno in NOT_A_FILE:
            return None
        raise


def readable(directory: int, name: str) -> bytes | None:
    """The same; None also for a file that cannot be read twice in a row. Raises OSError for want of resources."""
    return _twice(lambda: read(directory, name))


def readable_key(directory: int, name: str) -> Key | None:
    """The same of a key."""
    return _twice(lambda: read_key(directory, name))


def _twice(look: Callable[[], T | None]) -> T | None:
    for _ in range(2):
        try:
            return look()
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise
    return None


def write(directory: int, name: str, data: bytes | Key) -> None:
    """Create a file with mode 0600 and sync it to disk; then give it its name by a rename. A failure leaves nothing."""
    temporary = f".{name}.new"
    remove(directory, temporary)
    try:
        _fill(os.open(temporary, CREATE, 0o600, dir_fd=directory), data)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise
    os.fsync(directory)


def _fill(fd: int, data: bytes | Key) -> None:
    """Write, sync and close."""
    try:
        if isinstance(data, Key):
            data.write(fd)
        rest = memoryview(b"" if isinstance(data, Key) else data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
    finally:
        close(fd)


def remove(directory: int, name: str) -> None:
    """Remove a file that may be gone already. A directory in its place is renamed: nothing in it is ours to remove."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        if not is_directory(directory, name):
            raise
        put_aside(directory, name)


def is_directory(directory: int, name: str) -> bool:
    """Whether a name leads to a directory; a link is none."""
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except OSError:
        return False


def put_aside(directory: int, name: str) -> None:
    """Rename what is in the place of a file of certagent, to a name that is not taken."""
    plain = name.lstrip(".")
    taken = set(os.listdir(directory))
    free = next(n for number in range(len(taken) + 1) if (n := f"{plain}{number or ''}{ASIDE}") not in taken)
    os.rename(name, free, src_dir_fd=directory, dst_dir_fd=directory)


def finish(directory: int, name: str, mode: int, owner: Ids) -> None:
    """Give a staged file its final owner, then its final mode: no other user can read it at any moment."""
    fd = os.open(name, READ, dir_fd=directory)
    try:
        info = os.fstat(fd)
        uid, gid = final_owner(info, name, owner)
        if (uid, gid) != (info.st_uid, info.st_gid):
            os.fchown(fd, uid, gid)
        os.fchmod(fd, mode)
        os.fsync(fd)
    finally:
        close(fd)


def final_owner(info: os.stat_result, name: str, owner: Ids) -> tuple[int, int]:
    """Given a staged file and whom it is for, return its uid and gid. HostError unless it is a file of one name."""
    if info.st_nlink != 1 or not stat.S_ISREG(info.st_mode):
        problem = "the staged file is not a regular file with one link"
        raise HostError(f"cannot install {name}: {problem}; remove .certagent/staged/{name}")
    return (info.st_uid if owner[0] is None else owner[0]), (info.st_gid if owner[1] is None else owner[1])
