"""statx: the flags that keep even root from replacing a file, as `chattr` sets them, and mount points.

Asked of the kernel because a rename fails by them only when it is too late; the file is not opened for it.
"""

import ctypes
import os
from typing import Literal

Fixed = Literal["", "immutable", "append-only", "mount point"]
NO_FOLLOW, EMPTY_PATH = 0x100, 0x1000
ATTRIBUTES, LENGTH = 8, 256  # the offset of stx_attributes, and the size of struct statx
FLAGS: tuple[tuple[int, Fixed], ...] = ((0x10, "immutable"), (0x20, "append-only"), (0x2000, "mount point"))
_LIBC = ctypes.CDLL(None, use_errno=True)


def fixed(directory: int, name: str = "") -> Fixed:
    """Why an entry of a directory (without a name: the directory itself) cannot be replaced; "" if nothing is known."""
    call, found = getattr(_LIBC, "statx", None), ctypes.create_string_buffer(LENGTH)
    if call is None or call(directory, os.fsencode(name), NO_FOLLOW | EMPTY_PATH, 0, found) != 0:
        return ""
    return fixed_by(int.from_bytes(found.raw[ATTRIBUTES : ATTRIBUTES + 8], "little"), itself=not name)


def fixed_by(attributes: int, *, itself: bool) -> Fixed:
    """Given stx_attributes of statx(2), return the first that keeps a file from being replaced.

    `itself`: they are of the directory that is worked in, where being a mount point forbids nothing.
    """
    flags = FLAGS[:-1] if itself else FLAGS
    return next((word for bit, word in flags if attributes & bit), "")
