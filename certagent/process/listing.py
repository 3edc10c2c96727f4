"""The names of all processes of the host, read once for all certs directories that ask in the same moment."""

import os
import threading
import time
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Every process and its name as the kernel has it, and when the reading began (monotonic)."""

    began: float
    names: tuple[tuple[int, str], ...]


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
                self._newest = Listing(began=time.monotonic(), names=tuple(_names()))
            return self._newest


def listed(oldest: float) -> tuple[float, timedelta]:
    """When a listing that is not older than that (monotonic) was begun, and how long ago that is."""
    began = LISTINGS.since(oldest).began
    return began, timedelta(seconds=max(0.0, time.monotonic() - began))


def _names() -> list[tuple[int, str]]:
    return [(int(name), comm(name)) for name in os.listdir("/proc") if name.isdigit()]


def comm(pid: str) -> str:
    """The name of a process as the kernel has it, "" of one that is gone."""
    try:
        fd = os.open(f"/proc/{pid}/comm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 64).rstrip(b"\n").decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(fd)


LISTINGS = Listings()  # of this process
