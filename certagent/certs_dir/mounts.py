"""Whether an entry of a directory is a mount point: a rename cannot replace a file that is bind-mounted by itself.

Read from /proc/self/mountinfo, because a bind mount from the same file system has the same device. Rejected: openat2
with RESOLVE_NO_XDEV for every file, ten thousand system calls where this is one read.
"""

import os
import re

MOUNTINFO = "/proc/self/mountinfo"
ESCAPED = re.compile(rb"\\([0-7]{3})")


def mount_below(directory: int) -> str | None:
    """Given a directory fd, return the name of an entry that is a mount, as decoded by the file system; else None."""
    try:
        path = os.fsencode(os.readlink(f"/proc/self/fd/{directory}"))
        with open(MOUNTINFO, "rb") as file:
            return mount_in(path, file.read())
    except OSError:
        return None


def mount_in(directory: bytes, mountinfo: bytes) -> str | None:
    """Given a directory's path and the kernel's table, return the name of an entry that is a mount, else None."""
    points = (line.split(b" ", 5)[4] for line in mountinfo.splitlines())
    decoded = (ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), point) for point in points)
    names = (point.removeprefix(directory + b"/") for point in decoded if point.startswith(directory + b"/"))
    return next((os.fsdecode(name) for name in names if b"/" not in name), None)
