"""Which paths are on a file system that may not answer: a network's, FUSE, and whatever is not known to be local.

The kernel's table of mounts is read again only after it changed, which poll tells. Links on the way are followed by
readlink, and no component below such a mount is touched.
"""

import os
import re
import select
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

MOUNTINFO = "/proc/self/mountinfo"
ESCAPED = re.compile(r"\\([0-7]{3})")
MOST_LINKS = 40
LOCAL = frozenset({
    "bcachefs", "binfmt_misc", "bpf", "btrfs", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs",
    "efivarfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fusectl", "hugetlbfs", "iso9660", "jfs", "mqueue",
    "nilfs2", "nsfs", "ntfs3", "overlay", "proc", "pstore", "ramfs", "reiserfs", "rootfs", "rpc_pipefs", "securityfs",
    "selinuxfs", "squashfs", "sysfs", "tmpfs", "tracefs", "udf", "vfat", "xfs", "zfs",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One row of the kernel's table."""

    point: str
    options: str  # of this mount
    kind: str
    everywhere: str  # options of the file system, wherever it is mounted


def mounted(mountinfo: str) -> Iterator[Mount]:
    """Given the kernel's table, yield its rows; of one point the last row covers the others."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        here, there = before.split(" "), after.split(" ")
        point = ESCAPED.sub(lambda found: chr(int(found[1], 8)), here[4])
        yield Mount(point=point, options=here[5], kind=there[0], everywhere=there[-1])


def hanging_points(mountinfo: str) -> frozenset[str]:
    """Given the kernel's table, return the mount points whose file system is not known to be local."""
    kinds = {mount.point: mount.kind for mount in mounted(mountinfo)}
    return frozenset(point for point, kind in kinds.items() if kind not in LOCAL)


def hanging_point(path: str, points: frozenset[str], root: str = "") -> str | None:
    """Given an absolute path and such mount points, return the first on its way, or one below it; None: all is local.

    `root`: what stands before each path, where it is another process's.
    """
    if not points:
        return None
    here, parts, links = "/", deque(_parts(path)), 0
    while here not in points and parts:
        part = parts.popleft()
        if part == "..":
            here = os.path.dirname(here)
            continue
        step = os.path.join(here, part)
        target = "" if step in points else _target(root + step)
        if not target:
            here = step
            continue
        links += 1
        if links > MOST_LINKS:
            return None  # the kernel refuses it
        here = "/" if target.startswith("/") else here
        parts.extendleft(reversed(_parts(target)))
    if here in points:
        return here
    return next((p for p in points if p.startswith(f"{here.rstrip('/')}/")), None)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in {"", "."}]


def _target(path: str) -> str:
    """Where a link leads; "" of everything else."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


class Mounts:
    """The table of this process."""

    def __init__(self) -> None:
        """Opens the table, and reads nothing yet."""
        self._lock = threading.Lock()
        self._fd, self._poll = _opened(), select.poll()
        if self._fd is not None:
            self._poll.register(self._fd, select.POLLPRI)
        self._table: bytes | None = None
        self._points: frozenset[str] = frozenset()

    def hanging(self, path: str) -> str | None:
        """The mount that a path needs and that may not answer; None where there is none."""
        return hanging_point(os.path.abspath(path), self._current())

    def table(self) -> bytes:
        """The table as the kernel prints it: the same object until it changes."""
        with self._lock:
            return self._read()

    def _current(self) -> frozenset[str]:
        with self._lock:
            self._read()
            return self._points

    def _read(self) -> bytes:
        if self._fd is not None and (self._poll.poll(0) or self._table is None):
            with suppress(OSError):
                self._table = _read(self._fd)
                self._points = hanging_points(os.fsdecode(self._table))
        return self._table or b""


def _opened() -> int | None:
    """The table; None where /proc is not mounted: nothing is known of mounts then."""
    try:
        return os.open(MOUNTINFO, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _read(fd: int) -> bytes:
    os.lseek(fd, 0, os.SEEK_SET)
    found = b""
    while part := os.read(fd, 1 << 16):
        found += part
    return found


MOUNTS = Mounts()  # of this process
