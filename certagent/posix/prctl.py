"""Attributes of this process that Python has no call for."""

import ctypes
import os
import resource
from contextlib import suppress

LIBC = ctypes.CDLL(None, use_errno=True)
SET_PDEATHSIG, SET_DUMPABLE, SET_KEEPCAPS, SET_CHILD_SUBREAPER, SET_NO_NEW_PRIVS = 1, 4, 8, 36, 38


def prctl(option: int, value: int) -> None:
    """Set one attribute of this process. Raises OSError."""
    if LIBC.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def close_memory() -> None:
    """No other process of the same user may read this one's memory, and none of it is written to a core file.

    Descriptors of keys and the credentials of CAs are in it. A kernel that cannot do it leaves modes as they are.
    """
    with suppress(OSError):
        prctl(SET_DUMPABLE, 0)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
