"""Whether an entry of a directory is a mount point: a rename cannot replace a file that is bind-mounted by itself.

Read from /proc/self/mountinfo, because a bind mount from the same file system has the same device. Rejected: openat2
with RESOLVE_NO_XDEV for every file, ten thousand system calls where this is one read.
"""

import os
import re
from collections.abc import Mapping
from functools import lru_cache

from certagent.posix.mounts import MOUNTS

ESCAPED = re.compile(rb"\\([0-7]{3})")


def mount_below(directory: int) -> str | None:
    """Given a directory fd, return the name of an entry that is a mount, as decoded by the file system; else None."""
    try:
        return mount_in(os.fsencode(os.readlink(f"/proc/self/fd/{directory}")), MOUNTS.table())
    except OSError:
        return None


def mount_in(directory: bytes, mountinfo: bytes) -> str | None:
    """Given a directory's path and the kernel's table, return the name of an entry that is a mount, else None."""
    return _entries(mountinfo).get(directory)


@lru_cache(maxsize=1)
def _entries(mountinfo: bytes) -> Mapping[bytes, str]:
    """The first mount point in each directory that has one, by the directory."""
    found: dict[bytes, str] = {}
    for line in mountinfo.splitlines():
        point = ESCAPED.sub(lambda octal: bytes([int(octal[1], 8)]), line.split(b" ", 5)[4])
        above, _, name = point.rpartition(b"/")
        found.setdefault(above, os.fsdecode(name))
    return found
