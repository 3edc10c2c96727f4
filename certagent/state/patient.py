"""The ledger's file behind one thread with a deadline: a state directory that never answers must not stop the agent.

While it does not respond every call fails immediately, as on a full disk: what may be owed is owed, and nothing is made
that has to be recorded before. A statement that was under way is not taken back, since nobody can say whether it was
carried out; it may then be in the ledger twice. The file is opened by the same thread, so an agent also starts while
its state directory hangs.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import TypeVar

from certagent.posix.errors import HostError
from certagent.posix.responding import FRESH, responds
from certagent.state.database import Database, Rows, Statement

DEADLINE = 5.0  # seconds for one statement, the look at the directory before it included
T = TypeVar("T")


class _Call:
    """What one caller waits for."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work
        self.done = threading.Event()
        self.given_up = False
        self.error: BaseException | None = None


class PatientDatabase(Database):
    """A database that is opened and used by a thread of its own."""

    def __init__(self, directory: str, opened: Callable[[], Database]) -> None:
        """Touches nothing. `opened` may wait for the directory; it raises HostError where it cannot be used."""
        self._directory, self._opened = directory, opened
        self._found: Database | None = None
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        self._running_since: float | None = None  # monotonic, of the call that runs
        self._silent_since: datetime | None = None
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Open it now, unless it does not respond. Raises HostError."""
        with suppress(sqlite3.OperationalError):
            self._asked(lambda _base: None)

    def rows(self, sql: str, *values: object) -> Rows:
        """Run one statement that reads."""
        return self._asked(lambda base: base.rows(sql, *values))

    def commit(self, statements: Sequence[Statement], *, synced: bool) -> list[Rows]:
        """Run these in one transaction."""
        return self._asked(lambda base: base.commit(statements, synced=synced))

    def arrange(self) -> None:
        """Use a write-ahead log where the file system can have one."""
        self._asked(lambda base: base.arrange())

    def close(self) -> None:
        """Close the file, where it was opened and responds."""
        if self._found is not None:
            with suppress(sqlite3.Error, HostError):
                self._asked(lambda base: base.close())

    def _asked(self, work: Callable[[Database], T]) -> T:
        """Have the thread do it; sqlite3.OperationalError where it is not done in time."""
        found: list[T] = []
        call = _Call(lambda: found.append(work(self._base_now())))
        self._begin()
        self._calls.put(call)
        while not call.done.wait(0.0 if self._hangs() else DEADLINE / 10):
            if self._hangs():
                call.given_up = True
                raise self._silent()
        if call.error is not None:
            raise call.error
        self._silent_since = None
        return found[0]

    def _base_now(self) -> Database:
        """In the thread: the open database. Raises what opening it raises."""
        if not responds(self._directory, FRESH):
            raise self._silent()
        if self._found is None:
            self._found = self._opened()
        return self._found

    def _hangs(self) -> bool:
        since = self._running_since
        return since is not None and time.monotonic() - since > DEADLINE

    def _silent(self) -> sqlite3.OperationalError:
        self._silent_since = since = self._silent_since or datetime.now(UTC)
        return sqlite3.OperationalError(f"{self._directory} has not responded since {since:%Y-%m-%d %H:%M:%S} UTC")

    def _begin(self) -> None:
        with self._start:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            call = self._calls.get()
            if not call.given_up:
                self._running_since = time.monotonic()
                try:
                    call.work()
                except Exception as error:  # noqa: BLE001 - who asked gets it; calls that wait here need this thread
                    call.error = error
                finally:
                    self._running_since = None
                    call.done.set()
