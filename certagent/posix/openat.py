"""openat2: open a path that may not leave a directory, or a process's root. The kernel resolves it; we never do.

Rejected: realpath and a comparison of prefixes, which a link put there in between turns into a lie. Where there is no
openat2 (Linux before 5.6; a unit with RestrictSUIDSGID=, whose filter cannot look into its argument) each component is
opened by the fd of the one before, links are read, never followed, and `..` goes back along the fds that were opened.
"""

import ctypes
import errno
import os
import stat

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
    opened = [os.dup(directory)]
    try:
        parts, links = _split(opened, path, in_root=in_root), 0
        while parts:
            part = parts.pop(0)
            if part == "..":
                _back(opened, in_root=in_root)
                continue
            opened.append(os.open(part, STEP, dir_fd=opened[-1]))
            if stat.S_ISLNK(os.fstat(opened[-1]).st_mode):
                target = os.readlink("", dir_fd=opened[-1])
                os.close(opened.pop())
                links += 1
                if links > MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                parts = _split(opened, target, in_root=in_root) + parts
        if flags & os.O_PATH:
            return os.dup(opened[-1])
        return os.open(f"/proc/self/fd/{opened[-1]}", flags | os.O_CLOEXEC)
    finally:
        for fd in opened:
            os.close(fd)


def _split(opened: list[int], path: str, *, in_root: bool) -> list[str]:
    """The components of a path; an absolute one begins at the root again."""
    if path.startswith("/"):
        _refuse(unless=in_root)
        while len(opened) > 1:
            os.close(opened.pop())
    return [part for part in path.split("/") if part not in {"", "."}]


def _back(opened: list[int], *, in_root: bool) -> None:
    if len(opened) > 1:
        os.close(opened.pop())
    else:
        _refuse(unless=in_root)


def _refuse(*, unless: bool) -> None:
    if not unless:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
