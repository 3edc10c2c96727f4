"""APScheduler and signals -> one queue. A callback only puts. The only importer of APScheduler.

It only speeds things up: the monotonic timeout of each wait guarantees that the loop runs; a backward clock step stalls
it. Its log messages are dropped: they do not help an operator and would be mixed with the JSON lines.
"""

import ctypes
import logging
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import TypeVar

from apscheduler.schedulers.background import BackgroundScheduler

JUMP = 5.0
STA_UNSYNC = 0x40
BATCH = 10_000
T = TypeVar("T")
logging.getLogger("apscheduler").addHandler(logging.NullHandler())


def drained(queue: "SimpleQueue[T]", timeout: float) -> list[T]:
    """Everything that is put into a queue, the first awaited for so many seconds at most."""
    try:
        found = [queue.get(timeout=timeout)]
    except Empty:
        return []
    with suppress(Empty):
        while len(found) < BATCH:
            found.append(queue.get_nowait())
    return found


class Wake:
    """What makes the main loop turn."""

    def __init__(self, rescan: float) -> None:
        """`rescan` in seconds: the longest wait."""
        self.queue: SimpleQueue[str] = SimpleQueue()
        self.rescan = rescan
        self._scheduler: BackgroundScheduler | None = None
        self._asked: datetime | None = None  # of the scheduler

    def put(self, reason: str) -> None:
        """Make the loop turn."""
        self.queue.put(reason)

    def signals(self) -> None:
        """SIGHUP reads the configuration again, SIGTERM and SIGINT stop."""
        signal.signal(signal.SIGHUP, lambda *_: self.queue.put("config"))
        signal.signal(signal.SIGTERM, lambda *_: self.queue.put("stop"))
        signal.signal(signal.SIGINT, lambda *_: self.queue.put("stop"))

    def at(self, when: datetime | None) -> None:
        """Ask APScheduler for a wake at that moment: a hint, on top of the queue's timeout.

        Each question wakes its thread, so the same one is asked once.
        """
        if self._scheduler is None:
            self._scheduler = BackgroundScheduler(
                timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": BATCH}
            )  # a thread that has queued its event but not ended yet must not suppress the next one
            try:
                self._scheduler.start()
            except RuntimeError:  # no thread available: the timeout of the queue is the guarantee
                self._scheduler = None
                return
        if when == self._asked:
            return
        self._asked = when
        if when is None:
            with suppress(Exception):
                self._scheduler.remove_job("wake")
            return
        self._scheduler.add_job(self.queue.put, "date", run_date=when, args=["due"], id="wake", replace_existing=True)

    def wait(self, timeout: float) -> list[str]:
        """Wait for a reason, at most that many seconds (monotonic) and at most one rescan.

        Return the reasons without repeats.
        """
        return list(dict.fromkeys(drained(self.queue, min(timeout, self.rescan))))

    def stop(self) -> None:
        """End the scheduler's thread."""
        if self._scheduler is not None:
            self._scheduler.remove_all_jobs()  # one that falls due while it stops ends its thread with an error
            self._scheduler.shutdown(wait=False)


class ClockWatch:
    """Sees the wall clock jump against the boot clock."""

    def __init__(self) -> None:
        """Starts from now."""
        self._offset = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def jumped(self) -> float | None:
        """By how many seconds the wall clock jumped since the last call; None under five."""
        offset = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        jump, self._offset = offset - self._offset, offset
        return jump if abs(jump) > JUMP else None


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


_LIBC = ctypes.CDLL(None)


def clock_synchronised() -> bool:
    """The kernel's word on the clock (adjtimex)."""
    state = _Timex()
    return bool(_LIBC.adjtimex(ctypes.byref(state)) >= 0 and not state.status & STA_UNSYNC)
