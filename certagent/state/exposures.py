"""Keys that others could read again and again, in the ledger's file: known until a person says otherwise.

The table is made when the first key is exposed, so that an older program can still use the file.
"""

import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from certagent.core.facts import Exposure
from certagent.posix.errors import HostError
from certagent.state.database import Statement
from certagent.state.ledger import Ledger

SCHEMA = """
create table if not exists exposed (
  directory text, file text, key text, since real, until real, undone integer, readable real,
  primary key (directory, file, key))
"""
COLUMNS = "file, key, since, until, undone, readable"


class Exposures:
    """Of one certs-dir. What cannot be written is kept in memory and written later."""

    def __init__(self, ledger: Ledger, directory: str) -> None:
        """Nothing is read yet."""
        self._ledger, self._directory = ledger, directory
        self._owed: dict[tuple[str, str], Exposure] = {}
        self._guard = threading.Lock()

    def all(self) -> tuple[Exposure, ...]:
        """Every exposure that nobody has cleared; what is owed is written first. Raises HostError."""
        self.settle()
        known = {(e.file, e.key): e for e in self._read()}
        return tuple((known | self._owed).values())

    def _read(self) -> list[Exposure]:
        if not self._ledger.execute("select 1 from sqlite_master where name = 'exposed'"):
            return []
        rows = self._ledger.execute(f"select {COLUMNS} from exposed where directory = ?", self._directory)  # noqa: S608 - our own words
        return [_exposure(*row) for row in rows]

    def add(self, exposure: Exposure) -> None:
        """Remember an exposure, in place of what was known of that key.

        It is written before the next decision: thousands of a moment are one commit.
        """
        with self._guard:
            self._owed[exposure.file, exposure.key] = exposure
        self._ledger.changes += 1

    def settle(self) -> None:
        """Write what is owed, as far as the disk lets."""
        with self._guard, suppress(HostError):
            if self._owed:
                added = [self._adding(e) for e in self._owed.values()]
                cap = self._ledger.caps.due("exposed", self._directory, len(added))
                self._ledger.write((SCHEMA, ()), *added, *cap)
                self._owed = {}

    def _adding(self, e: Exposure) -> Statement:
        values = (e.since.timestamp(), e.until.timestamp(), e.undone, e.readable.total_seconds())
        return (
            "insert or replace into exposed values (?, ?, ?, ?, ?, ?, ?)",
            (self._directory, e.file, e.key, *values),
        )

    def clear(self, file: str) -> None:
        """Forget every exposure of a file. Raises HostError."""
        with self._guard:
            self._owed = {key: e for key, e in self._owed.items() if e.file != file}
            if self._read():
                self._ledger.write(("delete from exposed where directory = ? and file = ?", (self._directory, file)))
        self._ledger.changes += 1


def _exposure(file: str, key: str, since: float, until: float, undone: int, readable: float) -> Exposure:
    begin, end = datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(until, UTC)
    return Exposure(file=file, key=key, since=begin, until=end, undone=undone, readable=timedelta(seconds=readable))
