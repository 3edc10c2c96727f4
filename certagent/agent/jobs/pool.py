"""Bounded threads for jobs that may wait for other systems: a CA, a probe, the child that sends a signal.

The deciding thread never waits for a job. A running job is a fact of the next observation. Its result is put into the
inbox before the job counts as ended, so no observation can miss both. A thread ends with its work: two hundred idle
directories have none, and a job that hangs in the kernel keeps nobody from exiting. Rejected: asyncio, which would put
every file operation on the loop that must not wait; ThreadPoolExecutor, whose threads stay and are waited for at exit.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from certagent.core.facts import InFlight

WORKERS = 4
POOLS = {"issue": "ca", "window": "ca", "reload": "signal", "look": "member"}  # everything else: "probe"
MEMBERS = 2  # looks at members at a time: a certs directory has hundreds of them, and none is in a hurry


class _Pool:
    """At most so many threads at a time; what comes then waits for one of them."""

    def __init__(self, name: str, most: int) -> None:
        self._name, self._most = name, most
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._threads = 0
        self._stopped = False

    def submit(self, work: Callable[[], None]) -> None:
        """Run it as soon as a thread is free. RuntimeError where there is none, and none can be started."""
        with self._lock:
            if self._stopped:
                raise RuntimeError("the pool has ended")
            self._waiting.append(work)
            if self._threads == self._most:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        except RuntimeError:
            with self._lock:
                self._threads -= 1
                if not self._threads and work in self._waiting:
                    self._waiting.remove(work)
                    raise

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                work = self._waiting.popleft()
            work()

    @property
    def busy(self) -> bool:
        """Whether a thread runs."""
        return self._threads > 0

    def stop(self) -> None:
        """Take no more, and forget what waits."""
        with self._lock:
            self._stopped = True
            self._waiting.clear()


class Jobs:
    """Runs each (kind, subject) at most once at a time.

    `done(kind, subject, result, error)` is called in the job's thread when one ends, and must not wait.
    """

    def __init__(self, done: Callable[[str, str, Any, Exception | None], None]) -> None:
        """Four pools: a CA or a member that hangs takes no probe's place, and neither that of a signal."""
        sizes = {"ca": WORKERS, "signal": WORKERS, "probe": WORKERS, "member": MEMBERS}
        self._pools = {name: _Pool(name, most) for name, most in sizes.items()}
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
            self._pools[POOLS.get(fact.kind, "probe")].submit(lambda: self._run(key, fact, work))
        except RuntimeError:  # no thread available
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

    @property
    def busy(self) -> bool:
        """Whether a job runs: also after `stop`, until it has recorded how it ended."""
        return any(pool.busy for pool in self._pools.values())

    def stop(self) -> None:
        """Take no more; what runs ends by its own deadline."""
        for pool in self._pools.values():
            pool.stop()
