"""Attempts are durable, and a newer ledger is refused."""

import os
import sqlite3
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certagent.core.facts import Adopted, Attempt, Window
from certagent.posix.errors import HostError
from certagent.state.ledger import Ledger
from certagent.state.renewing import begin_renewing
from certagent.state.rows import written
from certagent.state.statements import PER_SUBJECT

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the ledger goes."""
    return str(tmp_path / "ledger.db")


def test_ledger_attempt_survives_the_process(path: str) -> None:
    """A recorded attempt is there for the next process, to the microsecond; the file is created with 0600."""
    tried = Attempt("issue", "node", NOW, "failed", "because", authority="house", retry_at=NOW + timedelta(hours=1))
    Ledger.writing(path).attempt("/certs", tried)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert Ledger.writing(path).attempts("/certs") == (tried,)
    assert Ledger.writing(path).attempts("/other") == ()


ABOUT = [
    Attempt("issue", "node", NOW, "retry", "a person decides", authority="house", retry_at=NOW + timedelta(hours=1)),
    Attempt("install", "node", NOW, "ok", "a sound pair is staged", fingerprint="abc"),
    Attempt("rollback", "node", NOW, "failed", "disk full", fingerprint="abc"),
    Attempt("reload", "1:1", NOW, "presumed", "seen for the first time", material="def"),
    Attempt("command", "node", NOW, "refused", "nobody issues it", command="renew"),
    Attempt("window", "node", NOW, "refused", "it has no windows", fingerprint="abc"),
]


@pytest.mark.parametrize("tried", ABOUT, ids=[a.kind for a in ABOUT])
def test_ledger_attempt_of_each_kind_round_trip(path: str, tried: Attempt) -> None:
    """Its subject has a field of its own, and one column in the schema."""
    ledger = Ledger.writing(path)
    ledger.attempt("/certs", tried)
    assert ledger.attempts("/certs") == (tried,)
    assert [row["digest"] for row in ledger.history("/certs", "", 9)] == [tried.about]


SPAN = "2026-11-25T12:00:00+00:00/2026-11-26T12:00:00+00:00"
START, END = NOW + timedelta(days=1), NOW + timedelta(days=2)


@pytest.mark.parametrize(
    ("reason", "window"),
    [
        (SPAN, Window(START, END)),
        (f"{SPAN} a b", Window(START, END, "a b")),
        ("rubbish", None),
        (f"{SPAN[:25]}/rubbish", None),
    ],
)
def test_ledger_window_is_read_from_its_reason(path: str, reason: str, window: Window | None) -> None:
    """As every version wrote it; an unreadable one is ignored."""
    ledger = Ledger.writing(path)
    row = ledger.attempt("/certs", Attempt("window", "node", NOW, fingerprint="abc"))
    ledger.finish(row, "ok", reason)
    [found] = ledger.attempts("/certs")
    assert (found.window, found.reason, found.fingerprint) == (window, reason, "abc")
    assert window is None or written(window) == reason


def test_ledger_attempt_is_recorded_before_and_closed_after(path: str) -> None:
    """An attempt is recorded before it is made, and closed after; its subject stays unless a new one is given."""
    ledger = Ledger.writing(path)
    row = ledger.attempt("/certs", Attempt("install", "node", NOW, fingerprint="abc"))
    ledger.finish(row, "ok", "sound")
    assert [("ok", "sound", "abc")] == [(a.outcome, a.reason, a.about) for a in ledger.attempts("/certs")]


def test_ledger_attempt_open_after_crash_is_closed(path: str) -> None:
    """Asked is not issued, sent is not reloaded; that the agent ended is told apart from a CA's failure."""
    ledger = Ledger.writing(path)
    for kind in ("issue", "install", "rollback", "reload", "window"):
        ledger.attempt("/certs", Attempt(kind, "node", NOW))  # type: ignore[arg-type]
    ledger.close_interrupted()
    ledger.attempt("/certs", Attempt("issue", "ui", NOW, "failed", "unreachable"))
    ledger.attempt("/certs", Attempt("issue", "ui", NOW, "failed", interrupted=True))
    assert [("failed", True)] * 3 + [("unproven", False), ("failed", False), ("failed", False), ("failed", True)] == [
        (a.outcome, a.interrupted) for a in ledger.attempts("/certs")
    ]
    assert {"failed", "unproven"} == {a["outcome"] for a in ledger.history("", "", 9)}


def test_ledger_subjects_do_not_hide_each_other(path: str) -> None:
    """A process that is reloaded every minute leaves the attempts of a pair readable."""
    ledger = Ledger.writing(path)
    ledger.attempt("/certs", Attempt("issue", "node", NOW, "failed", "first"))
    for n in range(100):
        ledger.attempt("/certs", Attempt("reload", "1:1", NOW + timedelta(minutes=n), "ok"))
    found = ledger.attempts("/certs")
    assert "first" in {a.reason for a in found}
    assert len(found) < 100


def test_ledger_adopted_issued_quarantined_once(path: str) -> None:
    """Adopted, issued and quarantined pairs, each once."""
    ledger = Ledger.writing(path)
    for _ in range(2):
        ledger.adopt("/certs", Adopted("node", "f1", "want"), NOW)
        ledger.own("/certs", Adopted("node", "f2", "want"), NOW)
        ledger.quarantine("/certs", "f3", NOW)
    assert ledger.adopted("/certs") == (Adopted("node", "f1", "want"), Adopted("node", "f2", "want"))
    assert (ledger.issued("/certs"), ledger.quarantined("/certs")) == (frozenset({"f2"}), frozenset({"f3"}))


def test_ledger_knows_leaves_since_it_renews_by_the_grid(path: str) -> None:
    """A leaf of an earlier version counts as known since then: its point of the grid may be over. Recorded once."""
    ledger = Ledger.writing(path)
    ledger.own("/certs", Adopted("node", "old", "want"), NOW)
    assert [None] == [a.at for a in ledger.adopted("/certs")]
    for days in (5, 6):
        begin_renewing(ledger.database, NOW + timedelta(days=days))
    ledger.own("/certs", Adopted("node", "new", "want"), NOW + timedelta(days=7))
    for known in (ledger, Ledger.looking(path)):
        assert [NOW + timedelta(days=days) for days in (5, 7)] == [a.at for a in known.adopted("/certs")]


def test_ledger_newer_schema_is_refused(path: str) -> None:
    """A ledger of a newer program is not touched, and the remedy is to update."""
    base = sqlite3.connect(path)
    base.execute("pragma user_version = 99")
    base.close()
    with pytest.raises(HostError, match="update certagent"):
        Ledger.writing(path)


def test_ledger_garbage_is_error_with_remedy(path: str) -> None:
    """A file that is not a ledger is named, and left as it is."""
    Path(path).write_bytes(b"garbage" * 1000)
    with pytest.raises(HostError, match=r"cannot .*ledger"):
        Ledger.writing(path)
    assert Path(path).read_bytes() == b"garbage" * 1000


def test_ledger_read_only_query_changes_nothing(path: str) -> None:
    """A status query without a daemon makes no file, and can write nothing."""
    assert Ledger.looking(path).attempts("/certs") == ()
    assert not os.path.exists(path)
    Ledger.writing(path)
    with pytest.raises(HostError):
        Ledger.looking(path).attempt("/certs", Attempt("issue", "node", NOW))


def full(ledger: Ledger) -> None:
    """No page more: what SQLite itself calls a full disk."""
    pages = ledger.execute("pragma page_count")[0][0]
    ledger.execute(f"pragma max_page_count = {pages}")
    for size in (500, 1):
        with suppress(HostError):
            while True:
                ledger.attempt("/elsewhere", Attempt("issue", "x" * size, NOW))
    assert "full" in (ledger.problem or "")


def test_ledger_full_disk_defers_signals_refuses_issuance(path: str) -> None:
    """A signal is written later and counts immediately, an issuance is refused; all is written when there is space."""
    ledger = Ledger.writing(path)
    row = ledger.attempt("/certs", Attempt("install", "node", NOW, fingerprint="abc"))
    full(ledger)
    with pytest.raises(HostError, match="full"):
        ledger.attempt("/certs", Attempt("issue", "node", NOW))
    sent = ledger.attempt("/certs", Attempt("reload", "1:1", NOW, reason="x" * 5000))
    ledger.finish(sent, "unproven", "y" * 5000)
    ledger.finish(row, "ok", "z" * 5000)
    expected = [("install", "ok", "abc"), ("reload", "unproven", "")]
    assert expected == [(a.kind, a.outcome, a.about) for a in ledger.attempts("/certs")]
    assert expected[:1] != [(a.kind, a.outcome, a.about) for a in Ledger.looking(path).attempts("/certs")]
    with pytest.raises(HostError):
        ledger.settle()
    ledger.execute("pragma max_page_count = 100000")
    ledger.settle()
    assert ledger.problem is None
    for found in (ledger, Ledger.looking(path)):
        assert expected == [(a.kind, a.outcome, a.about) for a in found.attempts("/certs")]
    ledger.finish(sent, "ok", "proven")
    assert [a.reason for a in Ledger.looking(path).attempts("/certs")][1] == "proven"


def test_quarantine_on_full_disk(path: str) -> None:
    """A pair that was rolled back is quarantined even so."""
    ledger = Ledger.writing(path)
    full(ledger)
    for n in range(200):
        ledger.quarantine("/certs", f"{n}" * 100, NOW)
    assert len(ledger.quarantined("/certs")) == 200
    ledger.execute("pragma max_page_count = 100000")
    ledger.settle()
    assert len(Ledger.looking(path).quarantined("/certs")) == 200


def test_ledger_prunes_after_400_days(path: str) -> None:
    """Rows older than 400 days are deleted."""
    ledger = Ledger.writing(path)
    ledger.attempt("/certs", Attempt("issue", "old", NOW - timedelta(days=401)))
    ledger.attempt("/certs", Attempt("issue", "new", NOW))
    ledger.prune(NOW)
    assert ["new"] == [a.subject for a in ledger.attempts("/certs")]
    assert ledger.newest() == NOW


def test_ledger_history_is_newest_first(path: str) -> None:
    """Newest first, filtered by subject, with times in RFC 3339."""
    ledger = Ledger.writing(path)
    for n, stem in enumerate(["node", "ui", "node"]):
        ledger.attempt("/certs", Attempt("issue", stem, NOW + timedelta(seconds=n), "ok"))
    assert ["2026-11-24T12:00:02.000Z", "2026-11-24T12:00:00.000Z"] == [r["at"] for r in ledger.history("", "node", 10)]
    assert len(ledger.history("/certs", "", 2)) == 2


def test_ledger_keeps_newest_request_of_each_name(path: str) -> None:
    """A leaf that lives for seconds does not fill the ledger, nor push another name's row out."""
    ledger = Ledger.writing(path)
    ledger.adopt("/certs", Adopted("ui", "f", "want"), NOW)
    for number in range(PER_SUBJECT + 5):
        ledger.adopt("/certs", Adopted("node", f"f{number}", "want"), NOW + timedelta(seconds=number))
    found = ledger.adopted("/certs")
    assert [a.fingerprint for a in found if a.stem == "node"] == [f"f{n}" for n in range(5, PER_SUBJECT + 5)]
    assert Adopted("ui", "f", "want") in found


def test_ledger_keeps_what_is_installed_however_many_requests_failed(path: str) -> None:
    """A CA whose answers are never installed does not make the live certificate another tool's."""
    ledger = Ledger.writing(path)
    ledger.own("/certs", Adopted("node", "live", "want"), NOW)
    ledger.attempt("/certs", Attempt("install", "node", NOW, "ok", fingerprint="live"))
    for number in range(3 * PER_SUBJECT):
        ledger.own("/certs", Adopted("node", f"f{number}", "want"), NOW + timedelta(seconds=number))
    newest = {f"f{number}" for number in range(2 * PER_SUBJECT, 3 * PER_SUBJECT)}
    assert ledger.issued("/certs") == {"live", *newest}
    assert {a.fingerprint for a in ledger.adopted("/certs")} == {"live", *newest}


class Full(Ledger):
    """A disk that is full until `insert` is called the second time, while which the attempt ends."""

    inserts, ends = 0, ""

    def _insert(self, directory: str, attempt: Attempt) -> int:
        self.inserts += 1
        if self.inserts == 1:
            raise HostError("database or disk is full")
        row = super()._insert(directory, attempt)
        if self.ends:
            job = threading.Thread(target=self.finish, args=(-1, self.ends, "sent"))
            job.start()
            job.join(60)
        return row


def test_ledger_deferred_attempt_ended_during_write_is_closed(path: str) -> None:
    """An attempt is written late, and ends in the moment of that write: its end is written, too."""
    ledger = Full.writing(path)
    owed = ledger.attempt("/certs", Attempt("reload", "1:1", NOW))
    assert owed == -1
    ledger.ends = "unproven"
    ledger.settle()
    ledger.settle()
    assert ["unproven"] == [a.outcome for a in ledger.attempts("/certs")]
    del ledger
    assert ["unproven"] == [a.outcome for a in Ledger.writing(path).attempts("/certs")]


def test_ledger_forgets_old_failures_of_a_long_outage(path: str) -> None:
    """An outage adds a failure a minute: the newest 500 of each pair stay, and everything else that was done."""
    ledger = Ledger.writing(path)
    ledger.attempt("/certs", Attempt("install", "node", NOW, "ok", fingerprint="first"))
    for n in range(510):
        for stem in ("node", "ui"):
            ledger.attempt("/certs", Attempt("issue", stem, NOW + timedelta(minutes=n), "failed", f"{n}"))
    ledger.prune(NOW + timedelta(days=1))
    rows = ledger.history("/certs", "node", 1000)
    assert (501, "509", "10", "install") == (len(rows), rows[0]["reason"], rows[-2]["reason"], rows[-1]["kind"])
