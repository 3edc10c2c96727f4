"""The names of all processes of the host, read once for all certs directories that ask in the same moment."""

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Every name of a process as the kernel has it, with those of that name, and when the reading began (monotonic)."""

    began: float
    names: Sequence[tuple[str, Sequence[int]]]


class Listings:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        """Reads nothing yet."""
        self._lock = threading.Lock()
        self._newest: Listing | None = None

    def since(self, oldest: float) -> Listing:
        """A listing whose reading began at that moment (monotonic) or later; who waits for one shares it."""
        with self._lock:
            if self._newest is None or self._newest.began < oldest:
                self._newest = Listing(began=time.monotonic(), names=_names())
            return self._newest


def listed(oldest: float) -> tuple[float, timedelta]:
    """When a listing that is not older than that (monotonic) was begun, and how long ago that is."""
    began = LISTINGS.since(oldest).began
    return began, timedelta(seconds=max(0.0, time.monotonic() - began))


def _names() -> list[tuple[str, list[int]]]:
    """Optimised: relative to an open /proc, and each name is decoded once."""
    found: dict[bytes, list[str]] = {}
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for pid in os.listdir(proc):
            if pid.isdigit():
                found.setdefault(_comm(proc, pid), []).append(pid)
    finally:
        os.close(proc)
    return [(_decoded(name), [int(pid) for pid in pids]) for name, pids in found.items()]


def comm(pid: str) -> str:
    """The name of a process as the kernel has it, "" of one that is gone."""
    return _decoded(_comm(None, f"/proc/{pid}"))


def _decoded(name: bytes) -> str:
    return name.rstrip(b"\n").decode("utf-8", "replace")


def _comm(proc: int | None, pid: str) -> bytes:
    try:
        fd = os.open(f"{pid}/comm", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    except OSError:
        return b""
    try:
        return os.read(fd, 64)
    except OSError:
        return b""
    finally:
        os.close(fd)


LISTINGS = Listings()  # of this process
