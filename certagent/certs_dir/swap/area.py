"""The staging area `.certagent` and its directories, by fd."""

import errno
import os
import stat
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from certagent.certs_dir.swap.files import put_aside, remove
from certagent.posix.closing import close
from certagent.posix.directory import open_directory
from certagent.posix.errors import HostError
from certagent.posix.owner import name_of
from certagent.posix.responding import FRESH, responds

AREA, STAGED, OLD, REFUSED, INTENT, LOCK = ".certagent", "staged", "old", "refused", "intent", "lock"
PENDING, TAKING = "pending", "taking"  # TAKING: where a generation is copied before it is one
PRIVATE = 0o700
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NO_DIRECTORY = frozenset({errno.ENOTDIR, errno.ELOOP})
NOT_EMPTY = frozenset({errno.ENOTEMPTY, errno.EEXIST})
MOST_DIGITS = 12  # of a generation that we numbered
GUARDS: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)  # by path: one thread at a time in its area


class Area:
    """The open directories of one operation: the certs-dir and its staging area."""

    def __init__(self, path: str, live: int, area: int) -> None:
        """Fds that the caller closes."""
        self.path = path
        self.live = live
        self.area = area

    @contextmanager
    def sub(self, path: str) -> Iterator[int]:
        """A sub-directory of the area, 0700, made where it is missing; a file in its place is renamed."""
        fd = self._entered(path, make=True)
        try:
            yield fd
        finally:
            close(fd)

    @contextmanager
    def found(self, path: str) -> Iterator[int | None]:
        """A sub-directory of the area; None where there is none."""
        try:
            fd = self._entered(path, make=False)
        except OSError as error:
            if error.errno not in {errno.ENOENT, *NO_DIRECTORY}:
                raise
            yield None
            return
        try:
            yield fd
        finally:
            close(fd)

    def _entered(self, path: str, *, make: bool) -> int:
        """One component at a time, and no link is followed."""
        fd = os.dup(self.area)
        for part in filter(None, path.split("/")):
            try:
                below = _made(fd, part) if make else os.open(part, DIRECTORY, dir_fd=fd)
            finally:
                close(fd)
            fd = below
        return fd

    def listed(self, path: str = "") -> list[str]:
        """The names in a sub-directory, sorted; none where there is no such directory."""
        with self.found(path) as fd:
            return [] if fd is None else sorted(os.listdir(fd))

    def numbers(self, path: str) -> list[int]:
        """The names in a sub-directory that are numbers as we write them, in order."""
        names = (n for n in self.listed(path) if n.isascii() and n.isdigit() and n[0] != "0")
        return sorted(int(n) for n in names if len(n) <= MOST_DIGITS)

    def drop(self, path: str) -> None:
        """Remove a sub-directory and the files in it; where something else is in it, it only gets another name."""
        above, _, name = path.rpartition("/")
        with self.found(path) as fd:
            if fd is not None:
                _empty(fd)
        with self.found(above) as fd:
            if fd is not None:
                _remove_empty(fd, name)


def _empty(directory: int) -> None:
    """Remove the files in a directory. Raises OSError."""
    for file in os.listdir(directory):
        remove(directory, file)


def _remove_empty(directory: int, name: str) -> None:
    """Remove a sub-directory that may be gone; one that is not empty, or is a file, gets another name. OSError."""
    try:
        os.rmdir(name, dir_fd=directory)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in {*NOT_EMPTY, *NO_DIRECTORY}:
            raise
        put_aside(directory, name)


def _made(directory: int, name: str) -> int:
    """A directory, made where it is missing; what stands in its place is renamed."""
    try:
        return _entered(directory, name)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in NO_DIRECTORY:
            raise
        put_aside(directory, name)
    with suppress(FileExistsError):
        os.mkdir(name, PRIVATE, dir_fd=directory)
    return _entered(directory, name)


def _entered(directory: int, name: str) -> int:
    return os.open(name, DIRECTORY, dir_fd=directory)


def exists(path: str, below: str = "") -> bool:
    """Whether a certs-dir has an area, and that directory in it."""
    return responds(path, FRESH) and os.path.isdir(f"{path}/{AREA}/{below}")


@contextmanager
def opened(path: str, *, make: bool = True) -> Iterator[Area]:
    """The area of a certs-dir. Raises HostError; SharedError where root must not change it."""
    try:
        live = open_directory(path, change=True)
    except OSError as error:
        raise HostError(f"cannot open {path}: {error.strerror}", error.errno) from error
    try:
        area = _area(path, live, os.fstat(live).st_uid, make=make)
        try:
            yield Area(path, live, area)
        finally:
            close(area)
    finally:
        close(live)


def _area(path: str, live: int, owner: int, *, make: bool) -> int:
    area = _found(path, live, make=make)
    try:
        if _is_open_to_others(path, os.fstat(area), {owner, os.geteuid()}):
            os.fchmod(area, PRIVATE)
    except BaseException:
        close(area)
        raise
    return area


def _is_open_to_others(path: str, info: os.stat_result, owners: set[int]) -> bool:
    """Given an area and its permitted owners, return whether its mode is wrong. HostError if its owner is wrong."""
    if info.st_uid not in owners:
        raise HostError(f"cannot use {path}/{AREA}: it belongs to {name_of(info.st_uid)}", errno.EPERM)
    return stat.S_IMODE(info.st_mode) != PRIVATE


def _found(path: str, live: int, *, make: bool) -> int:
    try:
        if make:
            with suppress(FileExistsError):
                os.mkdir(AREA, PRIVATE, dir_fd=live)
        return _entered(live, AREA)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: str, error: OSError) -> HostError:
    """Why the area cannot be used; the owner has to remove a link or a file in its place."""
    hint = "; it must be a directory of the owner" if error.errno in {errno.ENOTDIR, errno.ELOOP} else ""
    return HostError(f"cannot use {path}/{AREA}: {error.strerror}{hint}", error.errno)
