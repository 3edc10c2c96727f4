"""Read a path that may be on a network mount in a background thread, so that a hung mount cannot block the loop.

This is the one way to read such a path: authorities' files, roots, the configuration, and what watches them. The thread
waits until every path answers a child that touches it (responding.py), for as long as that takes; the last result
counts. Where a mount hangs between the two, the thread is left behind, one for each reading at most. Rejected: the
pools of jobs, which a few hung paths would fill; a process for each reading, which costs more than the rest.
"""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Generic, TypeVar

from certagent.posix.responding import TOUCHERS

T = TypeVar("T")


class BackgroundReader(Generic[T]):
    """Reads again and again, once at a time; what it found last is remembered.

    `read` raises nothing. `changed` is called in the thread, after something else was found, and must not wait.
    """

    def __init__(
        self,
        what: str,
        read: Callable[[], T],
        changed: Callable[[], None],
        paths: Callable[[], Iterable[str]] = lambda: (),
    ) -> None:
        """Reads nothing yet. `what` is said where it hangs; `paths`: what has to answer before a reading begins."""
        self.what, self._read, self._changed, self._paths = what, read, changed, paths
        self._lock = threading.Lock()
        self._found: list[T] = []
        self._since: datetime | None = None
        self._again = False
        self._known = threading.Event()

    def begin(self, now: datetime) -> None:
        """Read, or where a reading runs, read once more after it: it may have begun before what is to be seen."""
        with self._lock:
            if self._since is not None:
                self._again = True
                return
            self._since = now
        try:
            threading.Thread(target=self._run, name="background-reader", daemon=True).start()
        except RuntimeError:  # no thread available: try again in the next pass
            self._since = None

    def _run(self) -> None:
        try:
            self._reading()
        except BaseException:
            with self._lock:
                self._since, self._again = None, False
            raise

    def _reading(self) -> None:
        more = True
        while more:
            for path in self._paths():
                TOUCHERS.wait(path)
            try:
                before, self._found = self._found, [self._read()]
            finally:
                more = self._ended_one()
            self._known.set()
            if self._found != before:
                self._changed()

    def _ended_one(self) -> bool:
        """A reading has ended, with a result or without; whether another one has been asked for, and begins now."""
        with self._lock:
            more, self._again = self._again, False
            self._since = datetime.now(UTC) if more else None
        return more

    @property
    def found(self) -> T | None:
        """What was found last; None before the first reading ended."""
        with suppress(IndexError):
            return self._found[0]
        return None

    @property
    def since(self) -> datetime | None:
        """When the reading that runs began; None where none does."""
        return self._since

    @property
    def ended(self) -> bool:
        """Whether a reading ever ended."""
        return self._known.is_set()

    def wait(self, seconds: float) -> None:
        """Wait until the first reading ended, at most so long; for callers that may block."""
        self._known.wait(seconds)
