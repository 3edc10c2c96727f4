"""renameat2 with RENAME_EXCHANGE: two files of one name, each in its directory, change places in one step."""

import ctypes
import errno
import os

EXCHANGE = 2
_LIBC = ctypes.CDLL(None, use_errno=True)


def exchange(name: str, one: int, other: int) -> None:
    """Given a name that is in both directories, exchange the two. Raises OSError, also where there is no such call."""
    call, file = getattr(_LIBC, "renameat2", None), os.fsencode(name)
    if call is None:  # a C library older than glibc 2.28
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(one, file, other, file, EXCHANGE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
