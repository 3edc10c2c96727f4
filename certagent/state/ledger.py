"""Attempts and history: SQLite in the state directory, every row durable before the attempt is made (database.py).

If an attempt cannot be written (a full disk), it is kept in memory and written later. Only an issuance is not made
then: a signal or a repair must not wait for a disk. A newer schema is refused, never downgraded. An attempt that a
crash left open is closed at the next start as not verified or failed.
"""

import os
import sqlite3
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from certagent.core.facts import Adopted, Attempt
from certagent.posix.errors import HostError
from certagent.state.database import Database, Rows, Statement, without_room
from certagent.state.ownership import closed
from certagent.state.renewing import KNOWN, THERE, UNKNOWN
from certagent.state.rows import attempt_of, ended, moment, outcome_of, row_of, shown
from certagent.state.statements import (
    ATTEMPTS,
    FAILURES,
    FORGET_FAILURES,
    INSERT,
    KEEP,
    PER_SUBJECT,
    RECENT,
    SCHEMA,
    Caps,
    adopting,
    owning,
    pruning,
)

VERSION = 1
MOST_OWED = 1000  # attempts that could not be written, whose later rows are remembered
CRASHED = "the agent stopped before the result was known"


class Ledger:
    """One file; safe to use from several threads."""

    def __init__(self, base: Database, path: str) -> None:
        """Use `writing` or `looking`."""
        self.path = path
        self._guard = threading.Lock()
        self.database = self._base = base
        self.changes = 0  # grows with every write: what was read before may be old
        self.problem: str | None = None  # of the last write
        self._owed: dict[int, tuple[str, Attempt]] = {}  # by row; negative if it has none yet
        self._rows: dict[int, int] = {}  # the rows that they got later
        self._bad: dict[tuple[str, str], datetime] = {}  # quarantined when, and not written yet
        self._last = 0
        self.caps = Caps()

    @classmethod
    def writing(cls, path: str) -> "Ledger":
        """Open or make the file, 0600. Raises HostError with the remedy."""
        try:
            return _prepared(cls(Database.writing(path), path))
        except (OSError, sqlite3.Error) as error:
            why = without_room(path, error)
            raise HostError(f"cannot open the ledger {path}: {why or closed(path, error, write=True)}") from error

    @classmethod
    def looking(cls, path: str) -> "Ledger":
        """Open for reading only; an empty ledger if there is no file. Raises HostError."""
        try:
            return _prepared(cls(Database.reading(path) if _there(path) else Database.empty(), path))
        except (OSError, sqlite3.Error) as error:
            raise HostError(f"cannot read the ledger {path}: {closed(path, error, write=False)}") from error

    def execute(self, sql: str, *values: Any) -> Rows:
        """Run one statement that reads. Raises HostError."""
        try:
            return self._base.rows(sql, *values)
        except sqlite3.Error as error:
            raise HostError(self._unusable(error)) from error

    def commit(self, *statements: Statement, synced: bool) -> list[Rows]:
        """Run these in one transaction. Raises HostError. `synced` False: nothing is promised of it (database.py)."""
        try:
            return self._base.commit(statements, synced=synced)
        except sqlite3.Error as error:
            raise HostError(self._unusable(error)) from error
        finally:
            self.changes += 1

    def _unusable(self, error: sqlite3.Error) -> str:
        short = without_room(self.path, error)
        return f"cannot use the ledger {self.path}: {short or f'{error}; free disk space or repair it'}"

    def write(self, *statements: Statement, synced: bool = True) -> list[Rows]:
        """As `commit`, and remember the problem."""
        try:
            found = self.commit(*statements, synced=synced)
        except HostError as error:
            self.problem = str(error)
            raise
        self.problem = None
        return found

    def close(self) -> None:
        """Close the file; nothing can be written afterwards."""
        self._base.close()

    def close_interrupted(self) -> None:
        """Close what a crash left open; the caller must have locked the state directory. Raises HostError."""
        broken = "case when kind in ('issue', 'install', 'rollback') then 'interrupted' else 'failed' end"
        outcome = f"case kind when 'reload' then 'unproven' else {broken} end"
        sql = f"update attempts set outcome = {outcome}, reason = ? where outcome = 'asked'"  # noqa: S608 - our own words
        self.write((sql, (CRASHED,)))

    def attempt(self, directory: str, a: Attempt) -> int:
        """Record an attempt, durably; return its row. What cannot be written is owed, an issuance raises HostError."""
        try:
            return self._insert(directory, a)
        except HostError:
            if a.kind == "issue":
                raise
        with self._guard:
            self._last -= 1
            self._owed[self._last] = (directory, a)
            return self._last

    def _insert(self, directory: str, a: Attempt) -> int:
        [[(row,)]] = self.write((INSERT, (directory, *row_of(a))), synced=_promised(a))
        return int(row)

    def finish(self, row: int, outcome: str, reason: str, digest: str = "", retry_at: datetime | None = None) -> None:
        """Say how an attempt ended ("interrupted": by this process); a digest replaces the one recorded before.

        What cannot be written is owed.
        """
        ending = (outcome, reason, digest, retry_at)
        with self._guard:
            row = row if row in self._owed else self._rows.get(row, row)
            if (owed := self._owed.get(row)) is not None:
                self._owed[row] = (owed[0], ended(owed[1], *ending))
                self.changes += 1
                return
        try:
            self._update(row, *ending)
        except HostError:
            directory, attempt = self._read(row)
            self._owed[row] = (directory, ended(attempt, *ending))
            self.changes += 1

    def _update(self, row: int, outcome: str, reason: str, digest: str, retry_at: datetime | None) -> None:
        retry = retry_at.timestamp() if retry_at else None
        kept = "digest = coalesce(nullif(?, ''), digest)"
        sql = f"update attempts set outcome = ?, reason = ?, {kept}, retry_at = ? where id = ?"  # noqa: S608 - our own words
        self.write((sql, (outcome, reason, digest, retry, row)), synced=_lasts(outcome, retry_at))

    def _read(self, row: int) -> tuple[str, Attempt]:
        sql = "select directory, kind, subject, at, outcome, reason, digest, retry_at from attempts where id = ?"
        directory, *fields = self.execute(sql, row)[0]
        return str(directory), attempt_of(*fields)

    def settle(self) -> None:
        """Write what is owed, where anything could not be written; otherwise nothing. Raises HostError."""
        if self.problem is None and not self._owed and not self._bad:
            return
        self.write((f"pragma user_version = {VERSION}", ()))  # whether anything can be written at all
        with suppress(sqlite3.Error):
            self._base.arrange()
        for row, (directory, attempt) in sorted(self._owed.items(), reverse=True):
            if row < 0:
                self._rows[row] = self._insert(directory, attempt)
                self._rows.pop(row + MOST_OWED, None)
            else:
                self._update(row, outcome_of(attempt), attempt.reason, attempt.about, attempt.retry_at)
            with self._guard:
                _, ended = self._owed.pop(row)
                if ended != attempt:  # it ended while it was written
                    self._owed[self._rows.get(row, row)] = (directory, ended)
        for (directory, fingerprint), at in tuple(self._bad.items()):
            self._quarantine(directory, fingerprint, at)
            self._bad.pop((directory, fingerprint))

    def attempts(self, directory: str) -> tuple[Attempt, ...]:
        """The newest attempts of every kind and subject of a directory, oldest first."""
        rows = self.execute(ATTEMPTS, directory, RECENT, PER_SUBJECT)
        return self.with_owed(directory, tuple(replace(attempt_of(*fields), row=row) for row, *fields in rows))

    def with_owed(self, directory: str, recorded: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
        """Given attempts that are in the file, return them with what could not be written yet, oldest first."""
        owed = {row: attempt for row, (where, attempt) in tuple(self._owed.items()) if where == directory}
        later = [attempt for row, attempt in sorted(owed.items(), reverse=True) if row < 0]
        return (*(replace(owed.get(a.row, a), row=a.row) for a in recorded), *later)

    def last(self) -> int:
        """The newest row, 0 if there is none."""
        return int(self.execute("select coalesce(max(id), 0) from attempts")[0][0])

    def issued(self, directory: str) -> frozenset[str]:
        """Fingerprints that this agent asked for."""
        sql = "select fingerprint from issued where directory = ? order by at desc limit ?"
        return frozenset(fingerprint for (fingerprint,) in self.execute(sql, directory, RECENT))

    def adopted(self, directory: str) -> tuple[Adopted, ...]:
        """What was wanted of the pairs that others made, as first seen, and of our own; since when each is known."""
        rows = self.execute(KNOWN if self.execute(THERE) else UNKNOWN, directory)
        return tuple(Adopted(stem, mark, want, moment(at)) for stem, mark, want, at in rows)

    def adopt(self, directory: str, adopted: Adopted, at: datetime) -> None:
        """Remember what was wanted of a pair; of each name the newest few."""
        self.write(*adopting(directory, adopted, at), *self.caps.due("adopted", directory))

    def own(self, directory: str, adopted: Adopted, at: datetime) -> None:
        """Record a certificate as issued by this agent, and what was wanted of it."""
        self.write(*owning(directory, adopted, at), *self.caps.due("adopted", directory))

    def quarantined(self, directory: str) -> frozenset[str]:
        """Fingerprints that were rolled back."""
        rows = self.execute("select fingerprint from quarantined where directory = ?", directory)
        return frozenset(str(r[0]) for r in rows) | {bad for where, bad in self._bad if where == directory}

    def quarantine(self, directory: str, fingerprint: str, at: datetime) -> None:
        """Never install this one again. What cannot be written is owed."""
        try:
            self._quarantine(directory, fingerprint, at)
        except HostError:
            self._bad[directory, fingerprint] = at

    def _quarantine(self, directory: str, fingerprint: str, at: datetime) -> None:
        row = (directory, fingerprint, at.timestamp())
        self.write(("insert or ignore into quarantined values (?, ?, ?)", row))

    def history(self, directory: str, subject: str, limit: int) -> list[dict[str, Any]]:
        """The newest attempts as JSON-able rows, newest first; "" for every directory or subject.

        `id` gives their order; what could not be written yet has a negative one.
        """
        sql = (
            "select id, directory, kind, subject, at, replace(outcome, 'interrupted', 'failed'), reason, digest"
            " from attempts where ? in ('', directory) and ? in ('', subject) order by id desc limit ?"
        )
        owed = [
            (row, where, a.kind, a.subject, a.at.timestamp(), a.outcome, a.reason, a.about)
            for row, (where, a) in sorted(self._owed.items())
            if row < 0 and directory in ("", where) and subject in ("", a.subject)
        ]
        return shown([*owed, *self.execute(sql, directory, subject, limit)][:limit])

    def newest(self, before: datetime | None = None) -> datetime | None:
        """When the newest attempt was; with `before`, the newest not after that."""
        limit = before.timestamp() if before else 1e12
        return moment(self.execute("select max(at) from attempts where at <= ?", limit)[0][0])

    def prune(self, now: datetime) -> None:
        """Forget what is older than 400 days, and all but the newest of a leaf that lives for minutes."""
        end = (now - KEEP).timestamp()
        ends = {"attempts": end, "issued": end, "quarantined": 0.0}
        old = (pruning(table, end) for table, end in ends.items())
        self.write(*old, (FORGET_FAILURES, (FAILURES,)), synced=False)


def _promised(attempt: Attempt) -> bool:
    """Whether it has to be on the disk before it is made. To ask a CA once more when to renew harms nobody."""
    return attempt.kind != "window" and (attempt.outcome == "asked" or _lasts(attempt.outcome, attempt.retry_at))


def _lasts(outcome: str, retry_at: datetime | None) -> bool:
    """Whether what follows depends on the ending: a failure delays the next attempt, an interruption does not."""
    return outcome in {"failed", "refused", "retry"} or retry_at is not None


def _there(path: str) -> bool:
    """Whether there is a file. Raises OSError where that cannot be seen: hidden is not empty."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


def _prepared(ledger: Ledger) -> Ledger:
    try:
        _prepare(ledger)
    except BaseException:
        ledger.close()
        raise
    return ledger


def _prepare(ledger: Ledger) -> None:
    version = int(ledger.execute("pragma user_version")[0][0])
    if version > VERSION:
        message = f"cannot use the ledger {ledger.path}: its version is {version}, this program supports {VERSION}"
        raise HostError(f"{message}; update certagent")
    if version == 0:
        statements = (*SCHEMA, f"pragma user_version = {VERSION}")
        ledger.commit(*((sql, ()) for sql in statements), synced=True)
