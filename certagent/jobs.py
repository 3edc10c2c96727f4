"""A bounded pool for whatever may wait on somebody else: a CA, a probe, the signalling child.

The deciding thread never waits for a job. That one is in flight is a fact of the next observation; how it ended is recorded by the job
itself (ledger, staging area, cache), and a wake makes the loop look again. Rejected: asyncio, which would put every file operation on the
loop that must not wait.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from certagent.core.facts import InFlight

WORKERS = 4


class Jobs:
    """Runs each (kind, subject) at most once at a time. `done(kind, subject, error)` is called when one ends."""

    def __init__(self, done: Callable[[str, str, Exception | None], None]) -> None:
        """`done` runs in the job's thread and must not wait."""
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="job")
        self._probes = ThreadPoolExecutor(WORKERS, thread_name_prefix="probe")
        self._running: dict[tuple[str, str], InFlight] = {}
        self._lock = threading.Lock()
        self._done = done

    def submit(self, fact: InFlight, work: Callable[[], None]) -> bool:
        """Start the work unless the same is in flight; say whether it was started."""
        key = (fact.kind, fact.subject)
        with self._lock:
            if key in self._running:
                return False
            self._running[key] = fact
        pool = self._probes if fact.kind in {"probe", "scan"} else self._pool
        pool.submit(self._run, key, work)
        return True

    def _run(self, key: tuple[str, str], work: Callable[[], None]) -> None:
        error: Exception | None = None
        try:
            work()
        except Exception as caught:  # noqa: BLE001 - a job's failure is a fact, whatever it is
            error = caught
        with self._lock:
            del self._running[key]
        self._done(*key, error)

    def in_flight(self) -> tuple[InFlight, ...]:
        """What runs now."""
        with self._lock:
            return tuple(self._running.values())

    def since(self) -> datetime | None:
        """When the oldest job began."""
        return min((f.since for f in self.in_flight()), default=None)

    def stop(self) -> None:
        """Take no more; what runs ends by its own deadline."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._probes.shutdown(wait=False, cancel_futures=True)
