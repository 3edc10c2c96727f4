"""`status` for people: it fits the terminal, names what a person needs at 3 am, and says each cause once."""

import io
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from certagent.cli.showing import grouped, painted, wrapped
from certagent.cli.status_text import short, text
from certagent.core.catalogue import AGENT_DOWN
from certagent.core.decide import decide
from certagent.core.facts import Attempt, CertFile, Snapshot
from certagent.core.policy import Policy
from certagent.core.status import document
from certagent.core.view import Planned
from tests.core.building import DAY, NOW, file, leaf, pair, policy, process, revocation, served, snapshot, want

AGENT = {"pid": 7, "started": (NOW - DAY).isoformat(), "version": "0.2.0", "config": "/c.toml", "config_problem": None}
RULES = policy(want("ca"), want("node"), want("client.root"))
PAIRS = (pair("ca"), pair("node"), pair("client.root"))


def shown(*found: Snapshot, rules: Policy = RULES, daemon: Any = AGENT) -> dict[str, Any]:
    """The document, of a directory each."""
    names = [replace(rules, path=f"/certs{n or ''}") for n in range(len(found))]
    parts = [Planned(policy=p, snapshot=s, plan=decide(p, s, NOW)) for p, s in zip(names, found, strict=True)]
    return document(parts, NOW, daemon)


def attempt(kind: Any, days: float, outcome: Any = "ok", **changes: Any) -> Attempt:
    return Attempt(kind, "node", NOW - days * DAY, outcome, **{"reason": "renewal is due", **changes})


def test_status_names_host_agent_issuer_names_and_last_renewal() -> None:
    """Which host, which agent, who issued it, for which names, when and by whom it was renewed."""
    history = (attempt("issue", 3, authority="house"), attempt("install", 3, fingerprint="node-1"))
    told = text(shown(snapshot(*PAIRS, attempts=history)), 80)
    for line in (
        "db1: info, agent pid 7, up 1 d, certagent 0.2.0",
        "    by CN=house",
        "    serial 1",
        "    names DNS:db1.example.com, IP:10.0.0.5",
        "    last renewal 3 d ago (2026-11-21 12:00Z) by house: installed",
    ):
        assert line in told.split("\n"), told


def test_status_shows_how_a_renewal_failed() -> None:
    """The newest attempt, with its reason; one that runs is not called failed."""
    for outcome, words in (("failed", "failed: it says no"), ("refused", "refused: it says no"), ("asked", "running")):
        history = (attempt("issue", 3, outcome, authority="house", reason="it says no"),)
        assert f"by house: {words}" in text(shown(snapshot(*PAIRS, attempts=history)), 120)


def test_status_shows_a_pair_that_was_rolled_back() -> None:
    """Which certificate is quarantined, when and why; a later installation ends that."""
    history = (
        attempt("install", 5, fingerprint="node-1"),
        attempt("install", 3, fingerprint="bad-certificate"),
        attempt("rollback", 2, fingerprint="node-1", reason="every handshake failed"),
    )
    seen = snapshot(*PAIRS, attempts=history, quarantined=frozenset({"bad-certificate"}))
    told = text(shown(seen), 120)
    assert "rolled back 2 d ago (2026-11-22 12:00Z): bad-certific is quarantined; every handshake failed" in told
    assert "restored" in told
    later = replace(seen, attempts=(*history, attempt("install", 1, fingerprint="node-3")))
    assert "rolled back" not in text(shown(later), 120)


def test_status_shows_every_ca_of_a_bundle() -> None:
    """By the key of each: a bundle with the old and the new CA is told from one with the old alone."""
    old, new = leaf("ca", not_after=NOW + 900 * DAY), leaf("ca", 2, not_after=NOW + 3000 * DAY, subject="CN=new")
    both = pair("ca", old)
    assert both.cert is not None
    both = replace(both, cert=replace(both.cert, chain=(new,)))
    lines = [line for line in text(shown(snapshot(both, *PAIRS[1:])), 120).split("\n") if "CA key" in line]
    assert len(lines) == 2
    assert len({line.split(":")[0] for line in lines}) == 2
    assert "CN=new, until in 8 y 80 d" in lines[1]


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_status_fits_the_terminal(columns: int) -> None:
    """Every line, where no single word is longer."""
    long = replace(leaf(not_after=NOW - DAY), issuer="CN=An Issuing CA of a Company, O=With a Long Name, C=DE")
    seen = snapshot(pair("ca"), pair(cert=long), pair("client.root"), processes=(process(),), served=(served("x"),))
    told = text(shown(seen, daemon=None), columns)
    assert max(map(len, told.split("\n"))) <= columns, told


def test_wrapped_line_breaks_no_word() -> None:
    """A path can still be copied."""
    assert wrapped("  remedy: chown root /a/very/long/path", 20, 2) == ["  remedy: chown root", "    /a/very/long/path"]
    assert wrapped("short", 20) == ["short"]


def row(file: str, message: str, remedy: str = "certagent renew NAME") -> dict[str, str]:
    stem = file.removesuffix(".crt")
    text = {"message": message.replace("FILE", file), "remedy": remedy.replace("NAME", stem)}
    return {"code": "cert.missing", "severity": "critical", "file": file, **text}


def test_findings_of_one_cause_are_one() -> None:
    """The same sentence about several files; another sentence, or another remedy, is another finding."""
    rows = [row("node.crt", "FILE is missing"), row("ui.crt", "FILE is missing"), row("client.a.crt", "FILE is odd")]
    assert [files for _, files in grouped(rows)] == [["node.crt", "ui.crt"], ["client.a.crt"]]
    seen = snapshot(pair("ca"))
    told = text(shown(seen), 120)
    assert "critical cert.missing client.root.crt, node.crt: FILE is missing" in told, told


def test_finding_about_the_host_is_said_once() -> None:
    """Not once for each directory; of one directory it stands there."""
    down = AGENT_DOWN.found("", "no agent answers")
    seen = snapshot(*PAIRS, degraded=(down,))
    for several in ((seen,), (seen, seen, seen)):
        assert text(shown(*several), 80).count("agent.down") == 1


def test_status_shows_revocation_if_asked_about() -> None:
    """The status and its age, as soon as a responder was asked; nothing while OCSP is off."""
    assert "revocation: good, 0 s ago" in text(shown(snapshot(*PAIRS, revocations=(revocation("node-1", "good"),))), 80)
    assert "revocation" not in text(shown(snapshot(*PAIRS)), 80)


def test_status_names_addresses_that_keep_a_file_unverified() -> None:
    """Each address once, with its unverified files; what no handshake shows is explained once."""
    rules = policy(want("ca"), want("node"))
    for outcome, lines in (("unreachable", ["  not yet verified by 127.0.0.1:26257: node"]), ("served", [])):
        answer = served("node-1" if outcome == "served" else "", outcome=outcome)
        found = snapshot(pair("ca"), pair("node"), processes=(process(command="cockroach start"),), served=(answer,))
        told = text(shown(found, rules=rules), 120).split("\n")
        assert [line for line in told if "not yet verified" in line] == lines
        assert told.count("  reload sent: no handshake shows whether cockroach uses the file") == 1
        assert "  cockroach start (pid 100, user cockroach): serving 127.0.0.1:26257" in told


def test_status_says_how_old_no_process_is() -> None:
    """A server that started a moment ago may not have been looked for yet; without an agent nobody searches again."""
    line = "  no process used the directory 12 s ago; the agent searches every 30 s"
    nobody = snapshot(*PAIRS, processes_at=NOW - timedelta(seconds=12))
    assert line in text(shown(nobody), 120).split("\n")
    running = replace(nobody, processes=(process(),))
    for other in (shown(nobody, daemon=None), shown(replace(nobody, processes_at=None)), shown(running)):
        assert "no process used" not in text(other, 120)


def test_short_status_is_one_line() -> None:
    """For a prompt, a list of hosts, or a message: the worst codes first."""
    told = short(shown(snapshot(pair("ca"), pair(cert=leaf(not_after=NOW - DAY)), pair("client.root"))))
    assert told.startswith("db1: critical; cert.expired renewal.overdue; node expires 1 d ago; next: ")
    assert "\n" not in told
    assert short({"host": "", "severity": "unknown", "now": NOW.isoformat(), "daemon": None, "certs_dirs": []}) == (
        "certagent: unknown"
    )


class Terminal(io.StringIO):
    """A terminal in memory."""

    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_only() -> None:
    """None in a file, with NO_COLOR, or on a dumb terminal; a word inside a sentence has none."""
    told = "db1: critical, agent\n\n/certs: warning\n  critical a.b f: a warning: critical to us\n  info x: y"
    red, yellow = "\x1b[1;31mcritical\x1b[0m", "\x1b[33mwarning\x1b[0m"
    expected = f"db1: {red}, agent\n\n/certs: {yellow}\n  {red} a.b f: a warning: critical to us\n  info x: y"
    assert painted(told, Terminal(), {"TERM": "xterm"}) == expected
    assert painted(told, io.StringIO(), {"TERM": "xterm"}) == told
    for plain in ({}, {"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}):
        assert painted(told, Terminal(), plain) == told


CONFIG = """[agent]
state_dir = "{base}/state"
socket = "{base}/s"
[[certs_dir]]
path = "{base}/certs"
owner = "{owner}"
names = ["localhost"]
"""


@pytest.mark.slow
@pytest.mark.usefixtures("usual_umask")
def test_watched_status_is_shown_again(tmp_path: Path) -> None:
    """Until Ctrl-C, whose exit code is the usual one."""
    file = tmp_path / "c.toml"
    file.write_text(CONFIG.format(base=tmp_path, owner=tmp_path.owner()))
    heeding = ["env", "--default-signal=INT"]  # a shell's job in the background ignores it, and so would its children
    command = [*heeding, sys.executable, "-m", "certagent", "status", "--short", "--watch", "10ms", "-c", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        lines = [watching.stdout.readline() for _ in range(3)]
        watching.send_signal(2)
        watching.stdout.read()
    assert (watching.returncode, len(set(lines))) == (130, 1), lines
    assert ": critical; " in lines[0]


@pytest.mark.parametrize(("kind", "word"), [("", "missing"), ("irregular", "unusable"), ("unparsable", "unusable")])
def test_status_text_file_that_is_there_is_not_missing(kind: Literal["", "irregular", "unparsable"], word: str) -> None:
    """A FIFO, a directory or an unparsable file has the name: the row says that it cannot be used."""
    there = CertFile(file("node.crt"), "", None, (), "why", kind)
    without = replace(pair(), cert=there if kind else None)
    told = text(shown(snapshot(pair("ca"), without)), 120)
    assert ["node", word] in [line.split() for line in told.splitlines()]
