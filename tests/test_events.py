"""The log: stable names and fields, one line each, and never a secret."""

import io
import json
import re
from datetime import UTC, datetime

import pytest

from certagent.core.catalogue import CERT_SAN, FINDINGS
from certagent.core.findings import Finding, Severity
from certagent.events import EVENTS, Log, changes, row_of

NOW = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
FIELDS = {"ts", "level", "event", "certs_dir", "file", "reason", "host", "pid", "version"}


def logged(form: str = "json", **fields: object) -> str:
    stream = io.StringIO()
    Log(stream, form, lambda: NOW).emit(fields.pop("name", "pair.installed"), **fields)  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize("name", EVENTS)
def test_event_has_the_common_fields(name: str) -> None:
    """Every event of the catalogue is one JSON line with the common fields and its own."""
    own = {field: "warning" if field == "severity" else 1 for field in EVENTS[name].fields}
    row = json.loads(logged(name=name, certs_dir="/c", file="node", reason="r", **own))
    assert set(row) - {"remedy"} == FIELDS | set(own)
    assert ("remedy" in row) == bool(EVENTS[name].remedy)
    assert (row["ts"], row["event"]) == ("2026-11-24T12:00:00.123Z", name)
    assert row["level"] in {"info", "warning", "error"}


PLACEHOLDER = re.compile(r"\b(as|see|of) the (finding|reason|message)\b(?! names)|\bTODO\b|[<{}>]", re.IGNORECASE)


@pytest.mark.parametrize("name", EVENTS)
def test_event_remedy_is_no_placeholder(name: str) -> None:
    """What the catalogue has for an event without a remedy of its own says what to do, or it has nothing."""
    assert PLACEHOLDER.search(EVENTS[name].remedy) is None


@pytest.mark.parametrize("code", FINDINGS)
def test_finding_remedy_is_no_placeholder(code: str) -> None:
    """A finding that is given no remedy of its own says what to do all the same."""
    remedy = FINDINGS[code].found("node.crt", "m").remedy
    assert remedy
    assert PLACEHOLDER.search(remedy) is None


def test_event_unknown_name_or_field_is_mistake() -> None:
    """A name or field outside the catalogue cannot be logged."""
    with pytest.raises(KeyError):
        logged(name="no.such.event")
    with pytest.raises(KeyError):
        logged(surprise=1)


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[31mb", "\udcff", "\r{}", "\x00"])
def test_event_line_cannot_be_injected(text: str) -> None:
    """Newlines, escapes and undecodable bytes of file names stay inside one line, in both forms."""
    for form in ("json", "text"):
        line = logged(form, file=text, reason=text)
        assert line.count("\n") == 1
        assert line[:-1].isprintable()


def test_event_text_names_finding_code() -> None:
    """`explain` takes the code; without a file the line has no gap."""
    told = logged("text", name="finding.appeared", code="key.mode", severity="critical", file="node.key", reason="r")
    assert told.startswith("2026-11-24 12:00:00Z error   finding.appeared key.mode node.key: r")
    assert logged("text", name="agent.started", reason="r").endswith("info    agent.started: r\n")


def test_event_text_names_directory_and_each_file_once() -> None:
    """With two certs directories a line says which one it is about; a file that the reason names is not repeated."""
    about = {"certs_dir": "/c", "file": "f", "reason": "f is bad"}
    told = logged("text", name="finding.appeared", code="c", severity="info", **about)
    assert told == "2026-11-24 12:00:00Z info    /c: finding.appeared c: f is bad\n"
    assert logged("text", certs_dir="/c", file="/c", reason="r").endswith("info    /c: pair.installed: r\n")


def test_event_without_empty_fields() -> None:
    """What is empty is left out."""
    assert not {"", None} & set(json.loads(logged(name="agent.started", reason="r")).values())
    assert "certs_dir" not in json.loads(logged(name="agent.started"))


def test_event_level_may_be_another_one() -> None:
    """What the agent is about to mend itself is no error."""
    stream = io.StringIO()
    Log(stream, "json", lambda: NOW).emit("finding.appeared", "info", code="c", severity="critical")
    row = json.loads(stream.getvalue())
    assert (row["level"], row["severity"]) == ("info", "critical")


def test_event_with_private_key_is_not_written() -> None:
    """A text that holds a private key is not written."""
    key = "-----BEGIN PRIVATE KEY-----\nMIGH"
    assert "MIGH" not in logged(reason=f"cannot parse {key}")
    assert "redacted" in logged(reason=key)


def test_event_log_on_full_disk_raises_nothing() -> None:
    """A log that cannot be written raises nothing."""
    stream = io.StringIO()
    stream.close()
    Log(stream, "json", lambda: NOW).emit("agent.started")


def finding(severity: Severity = "warning", message: str = "m", file: str = "node.crt") -> Finding:
    return CERT_SAN.found(file, message, severity)


CHANGES = [
    ("nothing new", (finding(),), (finding(),), []),
    ("appears", (), (finding(),), ["finding.appeared"]),
    ("clears", (finding(),), (), ["finding.cleared"]),
    ("gets worse", (finding(),), (finding("critical"),), ["finding.changed"]),
    ("says something else", (finding(),), (finding(message="n"),), ["finding.changed"]),
    ("another file's", (finding(),), (finding(file="ui.crt"),), ["finding.appeared", "finding.cleared"]),
]


@pytest.mark.parametrize(("label", "before", "after", "names"), CHANGES, ids=[r[0] for r in CHANGES])
def test_finding_is_logged_on_change_only(
    label: str, before: tuple[Finding, ...], after: tuple[Finding, ...], names: list[str]
) -> None:
    """A finding is logged when it appears, changes and clears, not in every reconcile."""
    assert names == [name for name, _ in changes(before, after)], label


def test_event_level_follows_severity() -> None:
    """A critical finding is an error in the log, an info is not."""
    levels = [
        json.loads(logged(name="finding.appeared", code="c", severity=s))["level"]
        for s in ("info", "warning", "critical")
    ]
    assert levels == ["info", "warning", "error"]


def test_event_row_is_made_of_its_arguments() -> None:
    """Time, directory and facts are arguments; the catalogue's remedy is used unless another one is given."""
    about = {"certs_dir": "/c", "file": "node", "reason": "r", "remedy": ""}
    row = row_of("reload.unproven", NOW, about, {})
    assert ("2026-11-24T12:00:00.123Z", "warning") == (row["ts"], row["level"])
    assert "see the log of the process" == row["remedy"]
    assert "do this" == row_of("reload.unproven", NOW, about | {"remedy": "do this"}, {})["remedy"]


def test_log_withholds_the_words_of_a_ca() -> None:
    """A journal has more readers than root and the agent's user: it says who answered, and not what."""
    line = logged(reason="cannot sign: https://ca answered 403: «you sent hvs.abc»")
    assert ("hvs.abc" in line, "answered 403: (withheld" in line) == (False, True)
