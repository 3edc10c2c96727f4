"""Whether something below a directory is a mount of its own: a single-file bind mount cannot be replaced by a rename.

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
        below = os.fsencode(os.readlink(f"/proc/self/fd/{directory}")) + b"/"
        with open(MOUNTINFO, "rb") as file:
            data = file.read()
    except OSError:
        return None
    points = (line.split(b" ", 5)[4] for line in data.splitlines())
    decoded = (ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), point) for point in points)
    names = (point.removeprefix(below) for point in decoded if point.startswith(below))
    return next((os.fsdecode(name) for name in names if b"/" not in name), None)
