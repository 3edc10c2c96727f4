"""systemd's journal by its native protocol: fields, priorities, ids that never change; one that is full."""

import io
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certagent.events import EVENTS, Log, log_form, message_id
from certagent.events.journal import Journal, entry
from certagent.events.messages import rendered
from tests.public.renew import CATALOGUE
from tests.servers.process import missing

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
EVENTS_PAGE = CATALOGUE.parents[1] / "docs" / "events.md"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    """The receiving end, as journald has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
        own.bind(str(tmp_path / "socket"))
        own.settimeout(5)
        yield own


def fields_of(data: bytes) -> dict[str, str]:
    """An entry as journald takes it apart."""
    found = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + size], data[9 + size :]
        found[name.decode()] = value.decode()
    return found


def received(own: socket.socket) -> dict[str, str]:
    """The next entry, from the datagram or from the sealed file that came with it."""
    data, files, _, _ = socket.recv_fds(own, 1 << 20, 1)
    for fd in files:
        data = os.pread(fd, 1 << 24, 0)
        os.close(fd)
    return fields_of(data)


def sent(path: str, name: str = "finding.appeared", **fields: Any) -> str:
    """Write one event; return what went to the stream instead."""
    stream = io.StringIO()
    Log(stream, "journal", lambda: NOW, Journal(path)).emit(name, **fields)
    return stream.getvalue()


def test_entry_has_native_fields(journal: socket.socket) -> None:
    """What an alert filters by is a field of its own; the message is the sentence for people."""
    about = {"certs_dir": "/c", "file": "node.key", "reason": "the mode is 0644", "remedy": "chmod 0600 node.key"}
    assert sent(journal.getsockname(), code="key.mode", severity="critical", **about) == ""
    found = received(journal)
    assert found.pop("CERTAGENT_VERSION")
    assert found == {
        "MESSAGE": "/c: finding.appeared key.mode node.key: the mode is 0644 (chmod 0600 node.key)",
        "MESSAGE_ID": message_id("finding.appeared"),
        "PRIORITY": "3",
        "SYSLOG_IDENTIFIER": "certagent",
        "CERTAGENT_EVENT": "finding.appeared",
        "CERTAGENT_LEVEL": "error",
        "CERTAGENT_TIMESTAMP": "2026-11-24T12:00:00.000Z",
        "CERTAGENT_DIR": "/c",
        "CERTAGENT_FILE": "node.key",
        "CERTAGENT_REASON": "the mode is 0644",
        "CERTAGENT_REMEDY": "chmod 0600 node.key",
        "CERTAGENT_CODE": "key.mode",
        "CERTAGENT_SEVERITY": "critical",
    }


@pytest.mark.parametrize(("severity", "priority"), [("info", "6"), ("warning", "4"), ("critical", "3")])
def test_entry_priority_follows_severity(severity: str, priority: str, journal: socket.socket) -> None:
    """`journalctl -p err` shows what needs attention, and nothing else."""
    sent(journal.getsockname(), code="c", severity=severity)
    assert received(journal)["PRIORITY"] == priority


def test_entry_too_large_for_a_datagram_is_passed_as_file(journal: socket.socket) -> None:
    """The reason of a large directory is not lost."""
    journal.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    reason = "x" * (5 << 20)
    assert sent(journal.getsockname(), "agent.started", reason=reason) == ""
    assert received(journal)["CERTAGENT_REASON"] == reason


def test_entry_that_the_journal_does_not_take_goes_to_the_stream(tmp_path: Path) -> None:
    """As JSON, whether nobody listens or the journal is busy: nothing is lost, and nobody waits long."""
    assert json.loads(sent(str(tmp_path / "none"), "agent.started", reason="r"))["event"] == "agent.started"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as busy:
        busy.bind(str(tmp_path / "busy"))
        lines = [sent(str(tmp_path / "busy"), "agent.started") for _ in range(400)]
        assert [bool(line) for line in lines[:1]] == [False]
        assert lines[-1] == "" or json.loads(lines[-1])["event"] == "agent.started"


def test_value_with_a_line_break_is_framed() -> None:
    """By its length, as the protocol has it; none of ours has one, but nothing can be injected by one."""
    row = {"event": "agent.started", "level": "info", "reason": "a\nPRIORITY=0"}
    found = fields_of(entry(row, "m"))
    assert (found["PRIORITY"], found["CERTAGENT_REASON"]) == ("6", "a\nPRIORITY=0")


def test_message_ids_are_stable_and_distinct() -> None:
    """They are an interface: a message catalogue and alerts refer to them."""
    assert message_id("pair.installed") == "c60f133fcc2e52d79dd7ce09b525159a"
    assert len({message_id(name) for name in EVENTS}) == len(EVENTS)


def test_form_is_the_journal_where_systemd_connected_the_stream(tmp_path: Path) -> None:
    """By device and inode, as systemd.exec(5) says; a redirected stream is none."""
    with open(tmp_path / "out", "w") as stream:
        info = os.fstat(stream.fileno())
        assert log_form(stream, {"JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino}"}) == "journal"
        assert log_form(stream, {"JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino + 1}"}) == "json"
        assert log_form(stream, {}) == "json"
    assert log_form(io.StringIO(), {"JOURNAL_STREAM": "1:2"}) == "json"
    master, other = os.openpty()
    with open(master, "w") as _, open(other, "w") as terminal:
        assert log_form(terminal, {}) == "text"


def journalctl(*words: str, root: Path) -> str:
    """systemd's own program, with what is installed below a directory."""
    if shutil.which("journalctl") is None:
        missing("journalctl", "apt-get install -y systemd")
    done = subprocess.run(["journalctl", f"--root={root}", *words], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.real
def test_message_catalogue_is_read_by_systemd(tmp_path: Path) -> None:
    """It has every event, by the id that its entries have; `python -m tests.public.renew` writes it."""
    assert CATALOGUE.read_text() == rendered()
    place = tmp_path / "usr/lib/systemd/catalog"
    for directory in (place, tmp_path / "var/lib/systemd/catalog"):
        directory.mkdir(parents=True)
    shutil.copy(CATALOGUE, place)
    journalctl("--update-catalog", root=tmp_path)
    listed = {line.partition(" ")[0] for line in journalctl("--list-catalog", root=tmp_path).splitlines()}
    assert listed == {message_id(name) for name in EVENTS}
    told = journalctl("--dump-catalog", message_id("ledger.failed"), root=tmp_path)
    assert "Subject: Attempts cannot be recorded" in told
    assert "What to do: free disk space" in told


@pytest.mark.real
def test_documented_jq_line_passes_over_what_is_no_json() -> None:
    """systemd writes its own lines into the log of a unit."""
    if shutil.which("jq") is None:
        missing("jq", "apt-get install -y jq")
    (program,) = re.findall(r"jq -R '(.*)'", EVENTS_PAGE.read_text())
    stream = io.StringIO("Started certagent.service - Certificate agent.\n")
    stream.seek(0, io.SEEK_END)
    log = Log(stream, "json", lambda: NOW)
    log.emit("agent.started", reason="r")
    log.emit("ledger.failed", reason="full")
    done = subprocess.run(["jq", "-R", program], input=stream.getvalue(), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["event"] == "ledger.failed"
