"""The ledger's file behind one thread: what hangs makes every call fail, and nobody wait."""

import os
import sqlite3
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certagent.core.facts import Attempt
from certagent.posix.errors import HostError
from certagent.posix.owner import name_of
from certagent.state.database import Database
from certagent.state.directory import StateDirectory
from certagent.state.ledger import Ledger
from certagent.state.patient import PatientDatabase
from tests.system.hanging import Deaf

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def test_state_directory_is_made_locked_and_its_ledger_opened(tmp_path: Path) -> None:
    """A second agent is told whose the first one is; what is recorded is in the file afterwards."""
    first, second = (StateDirectory(str(tmp_path / "state")) for _ in range(2))
    first.open()
    me = name_of(os.geteuid())
    with pytest.raises(HostError, match=f"another certagent .pid {os.getpid()}, which runs as {me}. already manages"):
        second.open()
    row = first.ledger.attempt("/certs", Attempt("issue", "node", NOW))
    first.ledger.finish(row, "failed", "no")
    first.ledger.close()
    assert [a.reason for a in Ledger.looking(f"{tmp_path}/state/ledger.db").attempts("/certs")] == ["no"]


def test_database_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    """Why is raised each time, until it can be opened; then everything works."""
    tried: list[bool] = []

    def opened() -> Database:
        tried.append(True)
        if len(tried) < 3:
            raise HostError("not yet")
        return Database.writing(str(tmp_path / "x.db"))

    base = PatientDatabase(str(tmp_path), opened)
    for _ in range(2):
        with pytest.raises(HostError, match="not yet"):
            base.open()
    base.open()
    base.commit((("create table t (x)", ()), ("insert into t values (?)", (7,))), synced=True)
    assert base.rows("select x from t") == [(7,)]
    with pytest.raises(sqlite3.Error):
        base.rows("select nothing")
    base.close()
    base.close()


def test_question_that_cannot_be_asked_harms_nobody_else(tmp_path: Path) -> None:
    """A byte that is no text, as any user may send it, and a call that waits behind it: each gets its own answer."""
    base = PatientDatabase(str(tmp_path), lambda: Database.writing(str(tmp_path / "x.db")))
    base.open()
    thread = base._thread
    with pytest.raises(UnicodeEncodeError):
        base.rows("select ?", "\ud800")
    assert base.rows("select ?", 7) == [(7,)]
    with pytest.raises(UnicodeEncodeError):
        base.commit((("create table t (x)", ()), ("insert into t values (?)", ("\ud800",))), synced=True)
    base.commit((("create table t (x)", ()), ("insert into t values (?)", (7,))), synced=True)
    assert base.rows("select x from t") == [(7,)]
    assert base._thread is thread
    base.close()


def test_database_that_was_never_opened_closes() -> None:
    """An agent that never had its state directory ends as any other."""

    def never() -> Database:
        raise AssertionError

    PatientDatabase("/", never).close()


def test_many_threads_share_one_database(tmp_path: Path) -> None:
    """Each gets its own answer."""
    state = StateDirectory(str(tmp_path / "state"))
    state.open()
    rows: list[int] = []

    def record(number: int) -> None:
        rows.append(state.ledger.attempt(f"/{number}", Attempt("install", "node", NOW)))

    threads = [threading.Thread(target=record, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(rows) == list(range(1, 21))
    state.ledger.close()


@pytest.mark.root
@pytest.mark.slow
def test_hung_state_directory_fails_at_once_and_what_is_owed_is_written_later(tmp_path: Path) -> None:
    """An issuance raises, an installation is owed, what was recorded is still known; then all of it is in the file."""
    state = StateDirectory(str(tmp_path))
    state.open()
    ledger = state.ledger
    known = ledger.attempt("/certs", Attempt("reload", "1:2", NOW))
    recorded = ledger.attempts("/certs")
    with Deaf(tmp_path):
        with pytest.raises(HostError, match="has not responded since"):
            ledger.attempt("/certs", Attempt("issue", "node", NOW))
        begin = time.monotonic()
        owed = ledger.attempt("/certs", Attempt("install", "node", NOW))
        with pytest.raises(HostError):
            ledger.attempts("/certs")
        assert time.monotonic() - begin < 2
        assert [a.kind for a in ledger.with_owed("/certs", recorded)] == ["reload", "install"]
        ledger.finish(owed, "ok", "done")
    ledger.settle()
    assert [(a.kind, a.outcome) for a in ledger.attempts("/certs")] == [("reload", "asked"), ("install", "ok")]
    assert known == 1
    ledger.close()
