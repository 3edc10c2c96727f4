"""Whether an entry of a directory is a mount point, and which mount makes a directory read-only.

A rename cannot replace a file that is bind-mounted by itself.

Read from /proc/self/mountinfo, because a bind mount from the same file system has the same device. Rejected: openat2
with RESOLVE_NO_XDEV for every file, ten thousand system calls where this is one read.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from shlex import quote

from certagent.posix.mounts import MOUNTS, mounted

ESCAPED = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOnlyMount:
    """A mount point, and the command that makes it writable."""

    point: str
    writable: str


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


def read_only_mount(path: str) -> ReadOnlyMount | None:
    """Given a directory, return the mount that it is on, if that is read-only; None: it is writable or not known."""
    try:
        return read_only_in(os.path.realpath(path), os.fsdecode(MOUNTS.table()))
    except OSError:
        return None


def read_only_in(path: str, mountinfo: str) -> ReadOnlyMount | None:
    """Given a real path and the kernel's table, return the mount that the path is on, if that is read-only."""
    on = [m for m in mounted(mountinfo) if f"{path}/".startswith(f"{m.point.rstrip('/')}/")]
    if not on:
        return None
    top = max(reversed(on), key=lambda m: len(m.point))  # of one point the last one
    if "ro" in top.everywhere.split(","):
        return ReadOnlyMount(point=top.point, writable=f"mount -o remount,rw {quote(top.point)}")
    if "ro" in top.options.split(","):
        return ReadOnlyMount(point=top.point, writable=f"mount -o remount,bind,rw {quote(top.point)}")
    return None
