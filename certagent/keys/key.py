"""A private key as a file in memory: it is copied from and to the disk by the kernel, never through our own memory."""

import errno
import os
import stat
from typing import Self

from certagent.posix.closing import close
from certagent.posix.errors import IrregularFileError

LIMIT = 1 << 20  # bytes of a key file
UNABLE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})  # of sendfile, on a file system that lacks it


class Key:
    """What a key file had when it was read, or a key that is new; whether it is a key at all, a child finds out."""

    __slots__ = ("_fd",)

    def __init__(self) -> None:
        """Nothing yet. Raises OSError."""
        self._fd = -1
        self._fd = os.memfd_create("key", os.MFD_CLOEXEC)

    @classmethod
    def of(cls, data: bytes) -> Self:
        """A key whose bytes are known."""
        key = cls()
        os.pwrite(key.fileno(), data, 0)
        return key

    @classmethod
    def read(cls, fd: int) -> Self:
        """What a file has, at most a mebibyte; closes the fd. Raises OSError, IrregularFileError."""
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise IrregularFileError(errno.EINVAL, "not a regular file")
            key = cls()
            if _copied(fd, key.fileno(), LIMIT + 1) > LIMIT:
                raise IrregularFileError(errno.EFBIG, f"larger than {LIMIT} bytes")
        finally:
            close(fd)
        return key

    def write(self, fd: int) -> None:
        """Write it to a file that is empty. Raises OSError."""
        _copied(self._fd, fd, LIMIT)

    def fileno(self) -> int:
        """Its descriptor, which ends with this value."""
        return self._fd

    def __len__(self) -> int:
        """The bytes of the file; one without any is true as well."""
        return os.fstat(self._fd).st_size

    def __bool__(self) -> bool:
        return True

    def __del__(self) -> None:
        close(self._fd)


def _copied(source: int, target: int, most: int) -> int:
    """Copy from the beginning of one file to the end of another; return how much. Raises OSError."""
    at = 0
    while at < most and (part := _some(source, target, at, most - at)):
        at += part
    return at


def _some(source: int, target: int, at: int, most: int) -> int:
    try:
        return os.sendfile(target, source, at, most)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
    return os.write(target, os.pread(source, most, at))
