"""The SQLite file of the ledger: which commits are synced, and how its file is opened, read and closed.

What is promised, and how it is kept:

- An attempt is on the disk before it is made: its commit is synced (`synced`). So is what decides later that a pair is
  ours, or must never be installed again, and that an attempt failed, with the moment of the next one. With a
  write-ahead log that is one sync for each commit; a rollback journal took five. Rows that belong together are one
  commit.
- That an attempt succeeded is not synced on its own: the next synced commit takes it along, and the kernel within half
  a minute. A killed process loses none of it. A power cut that comes before may lose the newest successes, never one
  without those after it. The attempt then counts as interrupted, and what it left on the disk is found there.
- Other processes read while this one writes: a reader sees the last commit and waits for nobody.
- A full disk stops neither a repair nor the start. Where the log or its index finds no room, the file is used with a
  rollback journal, as before, where every commit is synced. A log that a killed process left on a disk that is full
  now is read with its index in memory; others cannot read until there is room again (`arrange`).
- At rest the file is in rollback mode: `close` ends the log, so that a read-only verb needs no other file and makes
  none. A killed process leaves `-wal` and `-shm`, with the mode and the owner of the ledger; whoever opens it
  next finds every commit.

Rejected: journal_mode=persist with synchronous=normal, three syncs a commit; synchronous=off for endings, which can
damage a file with a rollback journal; endings kept in memory until the next attempt, which a killed process would lose;
locking_mode=exclusive for everything, where nobody else could read.
"""

import errno
import os
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from certagent.posix.room import FULL, shortage

OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
PAGES = 250  # of the log, 1 MiB: then its pages are moved into the file
CACHE = 256  # KiB of pages in memory, of each open ledger; SQLite's own choice is 2 MiB
WITHOUT_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
Statement = tuple[str, Sequence[Any]]
Rows = list[tuple[Any, ...]]


class Database:
    """One open file; safe to use from several threads. Every method may raise sqlite3.Error."""

    def __init__(self, base: sqlite3.Connection, path: str = "") -> None:
        """Use `writing`, `reading` or `empty`."""
        self._base, self._path = base, path
        self._guard = threading.Lock()
        self._log = False  # whether there is a write-ahead log
        self._alone = False  # its index is in memory, so nobody else can read

    @classmethod
    def writing(cls, path: str) -> "Database":
        """Open or make the file, 0600. Raises OSError, too."""
        os.close(os.open(path, OPEN, 0o600))
        found = cls(_connected(path), path)
        try:
            found.prepare()
        except BaseException:
            found.close()
            raise
        return found

    @classmethod
    def reading(cls, path: str) -> "Database":
        """Open for reading only."""
        return cls(sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False))

    @classmethod
    def empty(cls) -> "Database":
        """In memory."""
        return cls(sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None))

    def prepare(self) -> None:
        """Read it for the first time, and arrange what commits go through."""
        try:
            self.rows("pragma user_version")
        except sqlite3.OperationalError:  # a log was left, and there is no room for its index
            self.isolate()
        self.arrange()
        with self._guard:
            self._small()

    def arrange(self) -> None:
        """Use a write-ahead log where the file system can have one, else a rollback journal; where neither, stay."""
        if self._log and not self._alone:
            return
        if not self._alone:
            try:
                self._begin()
            except sqlite3.Error:
                self.isolate()
        if self._alone:
            with suppress(sqlite3.Error):
                self._end()

    def isolate(self) -> None:
        """Open it with the log's index in memory."""
        with self._guard:
            self._base.close()
            self._base = _connected(self._path)
            self._base.execute("pragma locking_mode = exclusive")
            try:
                self._base.execute("pragma user_version")  # the first access decides where the index is
            except sqlite3.Error:
                self._base.close()
                self._base = _connected(self._path)
                raise
            self._small()
            self._alone = True

    def _small(self) -> None:
        """Keep few pages in memory; said after the first access, which may fail where the disk is full."""
        self._base.execute(f"pragma cache_size = -{CACHE}")

    def _begin(self) -> None:
        """Go over to a log, and see whether anything can be written."""
        with self._guard:
            self._mode("wal")
            self._base.execute("begin immediate")
            self._base.execute("rollback")
            self._base.execute(f"pragma wal_autocheckpoint = {PAGES}")

    def _end(self) -> None:
        """Move the log into the file, go over to a rollback journal, and let others read."""
        with self._guard:
            self._mode("truncate")
            self._base.execute("pragma locking_mode = normal")
            self._base.execute("pragma user_version")  # the lock is released by the next access
            self._alone = False

    def _mode(self, mode: str) -> None:
        [found] = self._base.execute(f"pragma journal_mode = {mode}").fetchone()
        self._log = found == "wal"

    def rows(self, sql: str, *values: Any) -> Rows:
        """Run one statement that reads."""
        with self._guard:
            return self._base.execute(sql, values).fetchall()

    def commit(self, statements: Sequence[Statement], *, synced: bool) -> list[Rows]:
        """Run these in one transaction; return the rows of each. `synced`: it is on the disk when this returns."""
        with self._guard:
            safety = "full" if synced or not self._log else "normal"
            self._base.execute(f"pragma synchronous = {safety}")
            with self._base:
                self._base.execute("begin immediate")
                return [self._base.execute(sql, values).fetchall() for sql, values in statements]

    def close(self) -> None:
        """End the log and close the file; where others read it now, the log stays."""
        with self._guard:
            with suppress(sqlite3.Error):
                self._base.execute("pragma busy_timeout = 0")
                self._mode("truncate")
            with suppress(sqlite3.Error):
                self._base.close()


def _connected(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=5, check_same_thread=False, isolation_level=None)


def without_room(path: str, error: Exception) -> str:
    """Given a file and what its use raised, return that its file system is full or read-only, with the remedy, or "".

    An error that SQLite itself did not raise says nothing of the disk: the directory may not respond.
    """
    if isinstance(error, OSError):
        asked = error.errno in FULL | {errno.EROFS}
    else:
        asked = getattr(error, "sqlite_errorcode", 0) & 0xFF in WITHOUT_ROOM
    return shortage(os.path.dirname(path)) if asked else ""
