"""openat2: open a path that must not leave a directory, or a process's root. Only the kernel resolves it.

Rejected: realpath and a comparison of prefixes, which a link created in between can invalidate. Where there is no
openat2 (Linux before 5.6; a unit with RestrictSUIDSGID=, whose filter cannot look into its argument) each component is
opened by the fd of the one before, links are read, never followed, and `..` goes back along the fds that were opened.
"""

import ctypes
import errno
import os
import stat
from collections import deque
from dataclasses import dataclass

from certagent.posix.closing import close

OPENAT2 = 437
NO_MAGICLINKS, BENEATH, IN_ROOT = 0x02, 0x08, 0x10
STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_LINKS = 40
_LIBC = ctypes.CDLL(None, use_errno=True)


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_within(directory: int, path: str, flags: int, resolve: int) -> int:
    """Given a directory fd, a path and how it may be resolved, return a new fd. Raises OSError."""
    how = _How(flags | os.O_CLOEXEC, 0, resolve)
    fd = int(_LIBC.syscall(OPENAT2, directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how)))
    if fd >= 0:
        return fd
    code = ctypes.get_errno()
    if code == errno.ENOSYS:
        return walk(directory, path, flags, in_root=bool(resolve & IN_ROOT))
    raise OSError(code, os.strerror(code))


def walk(directory: int, path: str, flags: int, *, in_root: bool) -> int:
    """The same, one component at a time; with `in_root` absolute paths and `..` stay in, else they are refused."""
    end = walked(directory, path, in_root=in_root)
    if flags & os.O_PATH:
        return end.fd
    try:
        return os.open(f"/proc/self/fd/{end.fd}", flags | os.O_CLOEXEC)
    finally:
        close(end.fd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One directory, link or file on the way of a path, by its open descriptor."""

    path: str
    uid: int
    gid: int
    mode: int  # with the type, as in st_mode
    fixed: bool = False  # on a file system that is mounted read-only
    listed: bool = False  # an access control list names further users


@dataclass(frozen=True, slots=True)
class End:
    """The end of a path: an fd for examining it, which the caller closes, and each component of the way, links too."""

    fd: int
    way: tuple[Component, ...]

    @property
    def makers(self) -> frozenset[int]:
        """The owners of the links on the way."""
        return frozenset(c.uid for c in self.way if stat.S_ISLNK(c.mode))


class NoEntryError(PermissionError):
    """A path leads through a directory that is closed to us. `way`: each component as far as it."""

    def __init__(self, error: PermissionError, way: tuple[Component, ...]) -> None:
        super().__init__(error.errno, error.strerror, way[-1].path)
        self.way = way


def walked(directory: int, path: str, *, in_root: bool) -> End:
    """Follow a path from a directory fd, one component at a time. Raises OSError, NoEntryError."""
    way = _Way(directory, in_root=in_root)
    try:
        parts = deque(way.components(path))
        while parts:
            if target := way.step(parts.popleft()):
                parts.extendleft(reversed(way.components(target)))
        return way.end()
    except PermissionError as error:
        raise NoEntryError(error, way.found) from error
    finally:
        way.close()


class _Way:
    """The directories that were opened so far, each by the fd of the one before: `..` goes back along them."""

    def __init__(self, directory: int, *, in_root: bool) -> None:
        self._found, self._links = [_component("/", directory)], 0
        self._opened, self._in_root = [os.dup(directory)], in_root
        self._names = ["/"]  # the path of each that is open

    @property
    def found(self) -> tuple[Component, ...]:
        """Each component so far, links too."""
        return tuple(self._found)

    def components(self, path: str) -> list[str]:
        """The components of a path or of a link's target; an absolute one begins at the root again."""
        if path.startswith("/"):
            self._stay(within=self._in_root)
            while len(self._opened) > 1:
                self._pop()
        return [part for part in path.split("/") if part not in {"", "."}]

    def step(self, part: str) -> str:
        """Take one component; return the target where it is a link, which is then not followed.

        Raises OSError: ELOOP after too many links, and whatever the kernel says.
        """
        if part == "..":
            self._back()
            return ""
        fd = os.open(part, STEP, dir_fd=self._opened[-1])
        self._opened.append(fd)
        self._names.append(os.path.join(self._names[-1], part))
        found = _component(self._names[-1], fd)
        self._found.append(found)
        if not stat.S_ISLNK(found.mode):
            return ""
        self._links += 1
        if self._links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), found.path)
        target = os.readlink("", dir_fd=fd)
        self._pop()
        return target

    def _back(self) -> None:
        self._stay(within=self._in_root or len(self._opened) > 1)
        if len(self._opened) > 1:
            self._pop()

    def _pop(self) -> None:
        self._names.pop()
        close(self._opened.pop())

    def _stay(self, *, within: bool) -> None:
        if not within:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    def end(self) -> End:
        """Where it led so far."""
        return End(os.dup(self._opened[-1]), self.found)

    def close(self) -> None:
        """Close what was opened on the way."""
        for fd in self._opened:
            close(fd)


def _component(path: str, fd: int) -> Component:
    info = os.fstat(fd)
    link = stat.S_ISLNK(info.st_mode)
    fixed = not link and bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY)
    listed = not link and bool(info.st_mode & stat.S_IWGRP) and _has_list(fd)
    return Component(path=path, uid=info.st_uid, gid=info.st_gid, mode=info.st_mode, fixed=fixed, listed=listed)


def _has_list(fd: int) -> bool:
    """Whether a file has an access control list, whose rights the mode of its group stands for."""
    try:
        return bool(os.getxattr(f"/proc/self/fd/{fd}", "system.posix_acl_access"))
    except OSError:
        return False
