"""Whether a file system has room: what stands behind "No space left on device", in numbers.

A path that does not answer is not asked: it may be on a mount that hangs.
"""

import errno
import os

from certagent.posix.errors import reason
from certagent.posix.responding import FRESH, responds

LEAST = 64 << 10  # bytes: a pair, or a commit of the ledger, may need as much
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
FREE = "free space there"


def shortage(path: str) -> str:
    """Why the file system of a path takes nothing more: it is full, or read-only; "" where it has room."""
    found = _asked(path)
    if found is None:
        return ""
    if found.f_flag & os.ST_RDONLY:
        return f"the file system of {path} is mounted read-only; remount it"
    size, inodes = _left(found)
    if size >= LEAST and (inodes or not found.f_files):
        return ""
    return f"the file system of {path} is full ({size >> 10} KiB and {inodes} inodes are free); {FREE}"


def told(error: Exception, path: str) -> str:
    """What an error says; where there was no room, with the path and what is left."""
    if getattr(error, "errno", None) not in FULL:
        return str(error)
    found = _asked(path)
    if found is None:
        return str(error)
    size, inodes = _left(found)
    return f"{reason(error)}: {path}: {size >> 10} KiB and {inodes} inodes are free; {FREE}"


def _asked(path: str) -> os.statvfs_result | None:
    """None where it does not answer, or is gone."""
    try:
        return os.statvfs(path) if responds(path, FRESH) else None
    except OSError:
        return None


def _left(found: os.statvfs_result) -> tuple[int, int]:
    """Bytes and inodes for this user: a part may be reserved for root."""
    if os.geteuid() == 0:
        return found.f_bfree * found.f_frsize, found.f_ffree
    return found.f_bavail * found.f_frsize, found.f_favail
