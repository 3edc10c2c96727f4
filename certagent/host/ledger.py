"""Attempts and history: SQLite in the state directory, every row durable before the attempt is made.

A newer schema is refused, never downgraded. An attempt that a crash left open is closed at the next start: sent is not reloaded, asked is not issued.
"""

import fcntl
import os
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from certagent.core.facts import Adopted, Attempt
from certagent.host.errors import HostError

VERSION = 1
SCHEMA = """
create table attempts (id integer primary key, directory text, kind text, subject text, at real, outcome text, reason text, digest text, retry_at real);
create index attempts_of on attempts (directory, id);
create table issued (directory text, stem text, fingerprint text, at real, primary key (directory, fingerprint));
create table adopted (directory text, stem text, fingerprint text, want text, at real, primary key (directory, stem, fingerprint));
create table quarantined (directory text, fingerprint text, at real, primary key (directory, fingerprint));
"""
RECENT = 500
CRASHED = "the agent stopped before it was known how this ended"


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


class Ledger:
    """One file; safe to use from several threads."""

    def __init__(self, path: str) -> None:
        """Opens or makes it, 0600; raises HostError with the remedy."""
        self.path = path
        self._guard = threading.Lock()
        self._lock: int | None = None
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            self._base = sqlite3.connect(path, timeout=5, check_same_thread=False, isolation_level=None)
            self._base.execute("pragma synchronous = full")
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise HostError(f"cannot open the ledger {path}: {error}; repair or move it away") from error

    def _prepare(self) -> None:
        version = int(self._base.execute("pragma user_version").fetchone()[0])
        if version > VERSION:
            raise HostError(f"cannot use the ledger {self.path}: it is of version {version}, newer than this program's {VERSION}; update certagent")
        if version == 0:
            self._base.executescript(f"begin; {SCHEMA} pragma user_version = {VERSION}; commit;")

    def _do(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            with self._guard:
                return self._base.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise HostError(f"cannot use the ledger {self.path}: {error}") from error

    def lock_state(self, directory: str) -> int:
        """Hold the state directory until the process ends; close what a crash left open. HostError names the holder."""
        fd = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "another process"
            os.close(fd)
            raise HostError(f"cannot use {directory}: pid {holder} does; one agent uses a state directory", error.errno) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock = fd
        self._do("update attempts set outcome = case kind when 'reload' then 'unproven' else 'failed' end, reason = ? where outcome = 'asked'", CRASHED)
        return fd

    def attempt(self, directory: str, a: Attempt) -> int:
        """Record an attempt, durably; return its row."""
        retry = a.retry_at.timestamp() if a.retry_at else None
        values = (directory, a.kind, a.subject, a.at.timestamp(), a.outcome, a.reason, a.digest, retry)
        sql = "insert into attempts (directory, kind, subject, at, outcome, reason, digest, retry_at) values (?, ?, ?, ?, ?, ?, ?, ?) returning id"
        return int(self._do(sql, *values)[0][0])

    def finish(self, row: int, outcome: str, reason: str, digest: str = "", retry_at: datetime | None = None) -> None:
        """Say how an attempt ended."""
        retry = retry_at.timestamp() if retry_at else None
        self._do("update attempts set outcome = ?, reason = ?, digest = case ? when '' then digest else ? end, retry_at = ? where id = ?", outcome, reason, digest, digest, retry, row)

    def attempts(self, directory: str, since: datetime | None) -> tuple[Attempt, ...]:
        """The newest attempts of a directory, oldest first."""
        sql = "select kind, subject, at, outcome, reason, digest, retry_at from attempts where directory = ? and at >= ? order by id desc limit ?"
        rows = self._do(sql, directory, since.timestamp() if since else 0, RECENT)
        return tuple(Attempt(k, s, datetime.fromtimestamp(at, UTC), o, r, d, _time(retry)) for k, s, at, o, r, d, retry in reversed(rows))

    def issued(self, directory: str) -> frozenset[str]:
        """Fingerprints that this agent asked for."""
        return frozenset(str(r[0]) for r in self._do("select fingerprint from issued where directory = ?", directory))

    def add_issued(self, directory: str, stem: str, fingerprint: str, at: datetime) -> None:
        """Remember a fingerprint as ours."""
        self._do("insert or ignore into issued values (?, ?, ?, ?)", directory, stem, fingerprint, at.timestamp())

    def adopted(self, directory: str) -> tuple[Adopted, ...]:
        """The pairs that others made, as first seen."""
        return tuple(Adopted(*r) for r in self._do("select stem, fingerprint, want from adopted where directory = ? order by at", directory))

    def adopt(self, directory: str, adopted: Adopted, at: datetime) -> None:
        """Remember a pair as somebody else's."""
        self._do("insert or ignore into adopted values (?, ?, ?, ?, ?)", directory, adopted.stem, adopted.fingerprint, adopted.want, at.timestamp())

    def quarantined(self, directory: str) -> frozenset[str]:
        """Fingerprints that were rolled back."""
        return frozenset(str(r[0]) for r in self._do("select fingerprint from quarantined where directory = ?", directory))

    def quarantine(self, directory: str, fingerprint: str, at: datetime) -> None:
        """Never install this one again."""
        self._do("insert or ignore into quarantined values (?, ?, ?)", directory, fingerprint, at.timestamp())

    def history(self, directory: str | None, limit: int) -> list[dict[str, Any]]:
        """The newest attempts as JSON-able rows, newest first."""
        sql = "select directory, kind, subject, at, outcome, reason, digest from attempts where ? in ('', directory) order by id desc limit ?"
        names = ("certs_dir", "kind", "subject", "at", "outcome", "reason", "digest")
        rows = [dict(zip(names, r, strict=True)) for r in self._do(sql, directory or "", limit)]
        for row in rows:
            at = datetime.fromtimestamp(row["at"], UTC)
            row["at"] = at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
        return rows

    def newest(self) -> datetime | None:
        """When the newest attempt was."""
        return _time(self._do("select max(at) from attempts")[0][0])

    def prune(self, keep: timedelta, now: datetime) -> None:
        """Forget attempts older than that."""
        self._do("delete from attempts where at < ?", (now - keep).timestamp())
