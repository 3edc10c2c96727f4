"""The newest starts of the agent, in the ledger's file, and whether it was stopped after each.

The table is made at the first start, so that an older program can still use the file. A start is not synced: a killed
process loses nothing, and after a power cut no crash has to be explained.
"""

from contextlib import suppress
from datetime import UTC, datetime

from certagent.core.restarts import Start
from certagent.posix.errors import HostError
from certagent.state.ledger import Ledger

KEPT = 20
SCHEMA = "create table if not exists starts (id integer primary key, at real, stopped integer)"
THERE = "select 1 from sqlite_master where type = 'table' and name = 'starts'"
INSERT = "insert into starts (at, stopped) values (?, 0) returning id"
FORGET = "delete from starts where id not in (select id from starts order by id desc limit ?)"


class Starts:
    """Of one agent. A start that cannot be written is written later."""

    def __init__(self, ledger: Ledger) -> None:
        """Nothing is read yet."""
        self._ledger = ledger
        self._owed: datetime | None = None
        self._row: int | None = None  # of this process
        self._read: tuple[Start, ...] = ()

    def begin(self, at: datetime) -> None:
        """Record that this process started."""
        self._owed = at
        self.settle()

    def settle(self) -> None:
        """Write what is owed, as far as the disk lets."""
        if self._owed is None:
            return
        with suppress(HostError):
            inserted = (INSERT, (self._owed.timestamp(),))
            _, [(row,)], _ = self._ledger.write((SCHEMA, ()), inserted, (FORGET, (KEPT,)), synced=False)
            self._owed, self._row = None, int(row)

    def end(self) -> None:
        """Record that this process was stopped."""
        if self._row is not None:
            with suppress(HostError):
                self._ledger.write(("update starts set stopped = 1 where id = ?", (self._row,)), synced=False)

    def all(self) -> tuple[Start, ...]:
        """What is recorded, oldest first; while the ledger cannot be read, what was read last."""
        self.settle()
        with suppress(HostError):
            there = self._ledger.execute(THERE)
            rows = self._ledger.execute("select at, stopped from starts order by id") if there else []
            self._read = tuple(Start(at=datetime.fromtimestamp(at, UTC), stopped=bool(done)) for at, done in rows)
        return self._read
