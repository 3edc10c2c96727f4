"""A bounded pool for jobs that may wait for other systems: a CA, a probe, the child that sends a signal.

The deciding thread never waits for a job. A running job is a fact of the next observation. Its result is put into the
inbox before the job counts as ended, so no observation can miss both. Rejected: asyncio, which would put every
file operation on the loop that must not wait.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from certagent.core.facts import InFlight

WORKERS = 4
POOLS = {"issue": "ca", "window": "ca", "reload": "signal"}  # everything else: "look"


class Jobs:
    """Runs each (kind, subject) at most once at a time.

    `done(kind, subject, result, error)` is called in the job's thread when one ends, and must not wait.
    """

    def __init__(self, done: Callable[[str, str, Any, Exception | None], None]) -> None:
        """Three pools: a CA that hangs takes no probe's place, and neither that of a signal."""
        self._pools = {name: ThreadPoolExecutor(WORKERS, thread_name_prefix=name) for name in ("ca", "signal", "look")}
        self._running: dict[tuple[str, str], InFlight] = {}
        self._lock = threading.Lock()
        self._done = done

    def submit(self, fact: InFlight, work: Callable[[], Any]) -> bool:
        """Start the work unless the same is in flight; say whether it was started."""
        key = (fact.kind, fact.subject)
        with self._lock:
            if key in self._running:
                return False
            self._running[key] = fact
        try:
            self._pools[POOLS.get(fact.kind, "look")].submit(self._run, key, fact, work)
        except RuntimeError:  # no thread available: the pool keeps the job and would run it unexpectedly later
            with self._lock:
                del self._running[key]
            return False
        return True

    def _run(self, key: tuple[str, str], fact: InFlight, work: Callable[[], Any]) -> None:
        with self._lock:
            if self._running.get(key) is not fact:
                return
        result, error = None, None
        try:
            result = work()
        except Exception as caught:  # noqa: BLE001 - a job's failure is a fact, whatever it is
            error = caught
        self._done(*key, result, error)
        with self._lock:
            del self._running[key]
        self._done(*key, None, None)

    def in_flight(self) -> tuple[InFlight, ...]:
        """What runs now."""
        with self._lock:
            return tuple(self._running.values())

    def stop(self) -> None:
        """Take no more; what runs ends by its own deadline."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
