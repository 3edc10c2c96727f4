"""The staging area `.certagent`, and reading and writing in it by directory fd as the owner of the certs-dir."""

import errno
import os
import stat
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256

from certagent import x509
from certagent.posix.directory import open_directory
from certagent.posix.errors import HostError
from certagent.posix.owner import acting_as, privileged

AREA, STAGED, OLD, REFUSED, INTENT, LOCK = ".certagent", "staged", "old", "refused", "intent", "lock"
PENDING = "pending"
PRIVATE = 0o700
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
LIMIT = 1 << 20
GUARDS: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)  # by path: one thread at a time in its area
Ids = tuple[int | None, int | None]


def digest(data: bytes | None) -> str:
    """SHA-256; "" for None."""
    return "" if data is None else sha256(data).hexdigest()


def matched(cert: bytes | None, key: bytes | None) -> bool:
    """Whether a key belongs to the first certificate."""
    if cert is None or key is None:
        return False
    try:
        return x509.parse_certificates(cert)[0].spki == x509.parse_key(key)[0]
    except x509.X509Error:
        return False


def read(directory: int, name: str) -> bytes | None:
    """The bytes of a regular file, at most one mebibyte; None if there is none."""
    try:
        fd = os.open(name, READ, dir_fd=directory)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read(LIMIT) if stat.S_ISREG(os.fstat(fd).st_mode) else None


def write(directory: int, name: str, data: bytes) -> None:
    """Create a file with mode 0600 and sync it to disk; then give it its name by a rename."""
    temporary = f".{name}.new"
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=directory)
    fd = os.open(temporary, CREATE, 0o600, dir_fd=directory)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)


def remove(directory: int, name: str) -> None:
    """Remove a file that may be gone already."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def finish(directory: int, name: str, mode: int, owner: Ids) -> None:
    """Give a staged file its final owner, then its final mode: no other user can read it at any moment."""
    fd = os.open(name, READ, dir_fd=directory)
    try:
        info = os.fstat(fd)
        uid, gid = final_owner(info, name, owner)
        with privileged():
            if (uid, gid) != (info.st_uid, info.st_gid):
                os.fchown(fd, uid, gid)
            os.fchmod(fd, mode)
        os.fsync(fd)
    finally:
        os.close(fd)


def final_owner(info: os.stat_result, name: str, owner: Ids) -> tuple[int, int]:
    """Given a staged file and whom it is for, return its uid and gid. HostError unless it is a file of one name."""
    if info.st_nlink != 1 or not stat.S_ISREG(info.st_mode):
        raise HostError(
            f"cannot install {name}: the staged file is not a regular file with one link; remove {AREA}/{STAGED}/{name}"
        )
    return (info.st_uid if owner[0] is None else owner[0]), (info.st_gid if owner[1] is None else owner[1])


class Area:
    """The open directories of one operation: the certs-dir and its staging area."""

    def __init__(self, live: int, area: int) -> None:
        """Fds that the caller closes."""
        self.live = live
        self.area = area

    @contextmanager
    def sub(self, path: str) -> Iterator[int]:
        """A sub-directory of the area, 0700, made where it is missing."""
        for depth in range(1, path.count("/") + 2):
            part = "/".join(path.split("/")[:depth])
            with suppress(FileExistsError):
                os.mkdir(part, PRIVATE, dir_fd=self.area)
        fd = os.open(path, DIRECTORY | os.O_NOFOLLOW, dir_fd=self.area)
        try:
            yield fd
        finally:
            os.close(fd)

    def listed(self, path: str) -> list[str]:
        """The names in a sub-directory, sorted; none where it is missing."""
        try:
            fd = os.open(path, DIRECTORY | os.O_NOFOLLOW, dir_fd=self.area)
        except OSError:
            return []
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def numbers(self, path: str) -> list[int]:
        """The names in a sub-directory that are numbers as we write them, in order."""
        return sorted(int(n) for n in self.listed(path) if n.isascii() and n.isdigit() and n[0] != "0")

    def drop(self, path: str) -> None:
        """Remove a sub-directory and the files in it."""
        for name in self.listed(path):
            remove(self.area, f"{path}/{name}")
        with suppress(FileNotFoundError):
            os.rmdir(path, dir_fd=self.area)


def exists(path: str, below: str = "") -> bool:
    """Whether a certs-dir has an area, and that directory in it."""
    return os.path.isdir(f"{path}/{AREA}/{below}")


@contextmanager
def opened(path: str, *, make: bool = True) -> Iterator[Area]:
    """The area of a certs-dir, acting as its owner. Raises HostError."""
    try:
        live = open_directory(path)
    except OSError as error:
        raise HostError(f"cannot open {path}: {error.strerror}", error.errno) from error
    try:
        info = os.fstat(live)
        with acting_as(info.st_uid, info.st_gid):
            area = _area(path, live, info.st_uid, make=make)
            try:
                yield Area(live, area)
            finally:
                os.close(area)
    finally:
        os.close(live)


def _area(path: str, live: int, owner: int, *, make: bool) -> int:
    area = _found(path, live, make=make)
    try:
        if _is_open_to_others(path, os.fstat(area), {owner, os.geteuid()}):
            os.fchmod(area, PRIVATE)
    except BaseException:
        os.close(area)
        raise
    return area


def _is_open_to_others(path: str, info: os.stat_result, owners: set[int]) -> bool:
    """Given an area and its permitted owners, return whether its mode is wrong. HostError if its owner is wrong."""
    if info.st_uid not in owners:
        raise HostError(f"cannot use {path}/{AREA}: owned by uid {info.st_uid}; remove it")
    return stat.S_IMODE(info.st_mode) != PRIVATE


def _found(path: str, live: int, *, make: bool) -> int:
    try:
        return _made(live) if make else _entered(live)
    except OSError as error:
        raise _unusable(path, error) from error


def _made(live: int) -> int:
    with suppress(FileExistsError):
        os.mkdir(AREA, PRIVATE, dir_fd=live)
    return _entered(live)


def _entered(live: int) -> int:
    return os.open(AREA, DIRECTORY | os.O_NOFOLLOW, dir_fd=live)


def _unusable(path: str, error: OSError) -> HostError:
    """Why the area cannot be used; the owner has to remove a link or a file in its place."""
    hint = "; it must be a directory of the owner" if error.errno in {errno.ENOTDIR, errno.ELOOP} else ""
    return HostError(f"cannot use {path}/{AREA}: {error.strerror}{hint}", error.errno)
