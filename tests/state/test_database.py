"""The ledger's file: what is synced, what a killed process leaves, who reads meanwhile, and disks without room."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certagent.core.facts import Attempt
from certagent.posix.errors import HostError
from certagent.state.ledger import Ledger

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ASKED = Attempt("install", "node", NOW, fingerprint="abc")
HEAD = """
import os, signal, sys
from datetime import timedelta
from certagent.core.facts import Adopted, Attempt
from certagent.state.ledger import Ledger
from certagent.state.loaded import LoadedFiles
from tests.state.test_database import ASKED, NOW
ledger = Ledger.writing(sys.argv[1])
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the ledger goes."""
    return str(tmp_path / "ledger.db")


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A script of its own process, which has opened the ledger."""
    command = [sys.executable, "-c", HEAD + script, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def killed(script: str, path: str) -> None:
    """A process that is killed after the script."""
    done = run(f"{script}\nos.kill(os.getpid(), signal.SIGKILL)", path)
    assert done.returncode == -signal.SIGKILL, done.stderr


def others(path: str) -> set[str]:
    """The files that have something in them, besides the ledger."""
    place = Path(path).parent
    return {p.name for p in place.iterdir() if p.stat().st_size} - {Path(path).name}


def test_ledger_of_killed_process_is_whole(path: str) -> None:
    """Not even an ending that was not synced is lost; its files have the ledger's mode; a looker sees all of it."""
    killed('ledger.finish(ledger.attempt("/certs", ASKED), "ok", "done")', path)
    left = others(path)
    assert left >= {"ledger.db-wal"}
    assert {0o600} == {os.stat(Path(path).parent / name).st_mode & 0o777 for name in left}
    for ledger in (Ledger.looking(path), Ledger.writing(path), Ledger.looking(path)):
        assert ["ok"] == [a.outcome for a in ledger.attempts("/certs")]


def test_ledger_at_rest_is_one_file(path: str) -> None:
    """A closed ledger is read without its directory being written to, and by what knows no write-ahead log."""
    ledger = Ledger.writing(path)
    ledger.attempt("/certs", ASKED)
    ledger.close()
    assert others(path) == set()
    before = {p: p.stat().st_mtime_ns for p in (Path(path), Path(path).parent)}
    assert len(Ledger.looking(path).attempts("/certs")) == 1
    assert before == {p: p.stat().st_mtime_ns for p in before}
    base = sqlite3.connect(path)
    assert base.execute("pragma journal_mode").fetchone() == ("delete",)
    base.close()


def test_ledger_closed_twice_and_used_is_an_error(path: str) -> None:
    """What comes after the end is refused as every other failure is."""
    ledger = Ledger.writing(path)
    ledger.close()
    ledger.close()
    with pytest.raises(HostError, match="ledger"):
        ledger.attempt("/certs", Attempt("issue", "node", NOW))


def test_ledger_is_read_while_it_is_written(path: str) -> None:
    """Another process sees each attempt as soon as it is recorded, and stops no write by a read that it has begun."""
    ledger = Ledger.writing(path)
    ledger.attempt("/certs", ASKED)
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    reader.execute("begin")
    assert reader.execute("select count(*) from attempts").fetchone() == (1,)
    ledger.attempt("/certs", ASKED)
    assert ledger.problem is None
    looked = run('print(len(Ledger.looking(sys.argv[1]).attempts("/certs")))', path)
    assert looked.stdout == "2\n", looked.stderr
    ledger.close()  # the reader is still there: the log stays, for it and for the next agent
    assert reader.execute("select count(*) from attempts").fetchone() == (1,)
    reader.close()
    assert len(Ledger.writing(path).attempts("/certs")) == 2


def test_ledger_transaction_that_fails_leaves_nothing(path: str) -> None:
    """Rows that belong together are all there or none is."""
    ledger = Ledger.writing(path)
    row = "insert into quarantined values ('/certs', 'f', 0)"
    with pytest.raises(HostError, match="UNIQUE"):
        ledger.write((row, ()), (row, ()))
    assert ledger.quarantined("/certs") == frozenset()
    ledger.write((row, ()))
    assert ledger.quarantined("/certs") == {"f"}


def test_ledger_without_shared_memory_uses_rollback_journal(path: str) -> None:
    """Where the index of the log cannot be made, as on some network file systems, it works as without a log."""
    os.mkdir(f"{path}-shm")
    for number in (1, 2):
        ledger = Ledger.writing(path)
        ledger.attempt("/certs", ASKED)
        assert len(Ledger.looking(path).attempts("/certs")) == number
        assert others(path) == {"ledger.db-shm"}
        ledger.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def fill(place: Path) -> Path:
    """Take every block that is left."""
    ballast = place / "ballast"
    with suppress(OSError), open(ballast, "ab", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return ballast


def until_full(ledger: Ledger) -> None:
    for _ in range(200):
        ledger.attempt("/certs", Attempt("issue", "node", NOW))


@pytest.mark.root
@pytest.mark.parametrize("kept", ["-shm", ""])
def test_ledger_of_killed_process_opens_on_full_disk(small: Path, kept: str) -> None:
    """Everything is known, what cannot be written is owed, and an issuance is refused; with room all is as ever.

    Also where the index of the log was removed, and no room is left for a new one.
    """
    path = str(small / "ledger.db")
    killed('ledger.finish(ledger.attempt("/certs", ASKED), "ok", "done")', path)
    if not kept:
        os.unlink(f"{path}-shm")
    ballast = fill(small)
    ledger = Ledger.writing(path)
    assert ["ok"] == [a.outcome for a in ledger.attempts("/certs")]
    with pytest.raises(HostError, match="full"):
        until_full(ledger)
    ledger.attempt("/certs", Attempt("reload", "1:1", NOW, material="m" * 9999))
    ballast.unlink()
    ledger.settle()
    assert ledger.problem is None
    looking = Ledger.looking(path)
    assert "reload" in {a.kind for a in looking.attempts("/certs")}
    looking.close()
    ledger.close()


SYNCED = {
    'ledger.attempt("/certs", ASKED)': 1,
    'ledger.attempt("/certs", Attempt("issue", "node", NOW, "failed", retry_at=NOW))': 1,
    'ledger.attempt("/certs", Attempt("install", "node", NOW, "refused"))': 1,
    'ledger.attempt("/certs", Attempt("reload", "1:1", NOW, "ok"))': 0,
    'ledger.attempt("/certs", Attempt("window", "node", NOW))': 0,
    'ledger.finish(1, "ok", "done")': 0,
    'ledger.finish(1, "unproven", "sent")': 0,
    'ledger.finish(1, "failed", "no route to host")': 1,
    'ledger.finish(1, "ok", "a window", retry_at=NOW)': 1,
    'ledger.finish(1, "refused", "never")': 1,
    'ledger.own("/certs", Adopted("node", "f", "want"), NOW)': 1,
    'ledger.adopt("/certs", Adopted("node", "other", "want"), NOW)': 1,
    'ledger.quarantine("/certs", "f", NOW)': 1,
    'LoadedFiles(ledger, "/certs").remember("m", {"node": b"x"}, NOW)': 0,
}


def test_ledger_syncs_what_is_promised_once(path: str, tmp_path: Path) -> None:
    """An attempt before it is made, what is ours, what is banned, and failures: one sync of the log each.

    Of the endings only those cost one that delay the next attempt. The first commit of all makes the log.
    """
    marked = [f'os.path.exists("/mark{n}"); {call}' for n, call in enumerate([*SYNCED, "ledger.close()"])]
    first = 'ledger.attempt("/certs", Attempt("issue", "node", NOW))'
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync,msync,stat,newfstatat,statx", "-o", str(trace)]
    script = "\n".join([HEAD, first, *marked])
    subprocess.run([*command, sys.executable, "-c", script, path], check=True, timeout=60)
    parts = re.split(r"\"/mark\d+\"", trace.read_text())[1:-1]
    found = {call: len(re.findall(r"sync\(\d+<[^>]*>", part)) for call, part in zip(SYNCED, parts, strict=True)}
    assert found == SYNCED
