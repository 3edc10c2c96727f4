"""The catalogue of log events, and their two forms: JSON lines, and text for a terminal.

Names and fields are an interface.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TextIO

from certagent.core.findings import Finding
from certagent.core.spelling import printable
from certagent.core.words import withheld

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of event."""

    level: Level
    meaning: str
    remedy: str = ""
    fields: tuple[str, ...] = ()


ABOUT = ("code", "severity")
EVENTS: dict[str, Event] = {
    "agent.started": Event("info", "the agent started"),
    "agent.stopping": Event("info", "the agent is stopping"),
    "config.loaded": Event("info", "a configuration was loaded"),
    "config.rejected": Event(
        "error", "a changed configuration has mistakes; the old one stays in force", "certagent config check"
    ),
    "converged": Event(
        "info", "one pass of the loop did something: what it did and what is pending", fields=("actions", "severity")
    ),
    "finding.appeared": Event("warning", "a problem appeared", "the remedy of the finding", ABOUT),
    "finding.changed": Event(
        "warning", "a finding changed its severity or message", "the remedy of the finding", ABOUT
    ),
    "finding.cleared": Event("info", "a problem was resolved", fields=ABOUT),
    "mode.repaired": Event(
        "warning", "the mode of a key was repaired; one line a minute and key", "find out what changed it"
    ),
    "mode.repair-failed": Event("error", "the mode of a key could not be repaired", "see the reason"),
    "issue.started": Event("info", "a request to an authority started"),
    "ca.created": Event(
        "warning", "an embedded CA was created", "keep a backup of its directory; no other host knows this CA"
    ),
    "issue.succeeded": Event("info", "an authority issued a certificate; it is staged"),
    "issue.failed": Event(
        "warning", "a request to an authority failed, or its answer was unusable", "certagent history"
    ),
    "issue.waiting": Event("info", "an authority accepted the request and issues later; the key is kept until then"),
    "issue.reminder": Event(
        "warning",
        "a person has not answered the request yet",
        "put the certificate into the inbox that the reason names",
    ),
    "issue.refused": Event("error", "an authority refused the request", "check the policy of the CA"),
    "window.known": Event("info", "a CA named a renewal window"),
    "window.unknown": Event("info", "a CA named no renewal window; certagent uses its own rule"),
    "pair.installed": Event("info", "a pair was installed"),
    "pair.refused": Event(
        "error",
        "a staged pair did not pass the pre-install checks; the old pair stays",
        "certagent explain renewal.refused",
    ),
    "pair.adopted": Event("info", "a pair that certagent did not issue was adopted"),
    "pair.revoked": Event(
        "error",
        "a certificate is revoked; it is never installed again, and certagent requests a new one with a new key",
    ),
    "pair.rolled-back": Event("warning", "an earlier pair was restored", "see the log of the process"),
    "swap.recovered": Event("warning", "an interrupted swap was finished or undone"),
    "reload.sent": Event("info", "a SIGHUP was sent; the result is not verified yet"),
    "reload.failed": Event("error", "a SIGHUP could not be sent", "see the reason"),
    "reload.proven": Event("info", "a process was verified to serve what is on disk"),
    "reload.unproven": Event("warning", "a process still serves something else", "see the log of the process"),
    "process.appeared": Event("info", "a process that uses the directory was found"),
    "process.gone": Event("info", "a process that used the directory ended"),
    "watch.rearmed": Event("warning", "a watched directory was replaced; the new one is watched"),
    "clock.jumped": Event("warning", "the wall clock jumped; everything is checked again"),
    "ledger.failed": Event(
        "error",
        "attempts cannot be recorded; nothing new is issued until they can",
        "free disk space or repair state_dir",
    ),
    "action.failed": Event("error", "an action failed", "see the reason"),
    "command.received": Event("info", "an operator's command was accepted"),
    "command.declined": Event(
        "warning",
        "an operator's command was cancelled; it is not carried out later",
        "see the reason; then repeat the command",
    ),
    "directory.retired": Event("info", "a certs directory is no longer managed"),
}
LEVELS: dict[str, Level] = {"ok": "info", "info": "info", "warning": "warning", "critical": "error"}
SECRET = "PRIVATE KEY"  # noqa: S105 - the mark of what must never be logged


def safe(value: Any) -> Any:
    """A value that is safe to log: no secret, no control character, no lone surrogate."""
    if not isinstance(value, str):
        return value
    if SECRET in value:
        return "[redacted]"
    return printable(value)


def log_form(stream: TextIO) -> Literal["json", "text"]:
    """Text on a terminal, else JSON lines."""
    return "text" if stream.isatty() else "json"


class Log:
    """Writes events; never raises for a write."""

    def __init__(self, stream: TextIO, form: Literal["json", "text"], now: Callable[[], datetime]) -> None:
        """`now` stamps each line."""
        self._stream, self._form, self._now = stream, form, now
        self._guard = threading.Lock()

    def emit(
        self, name: str, *, certs_dir: str = "", file: str = "", reason: str = "", remedy: str = "", **fields: Any
    ) -> None:
        """Write one event. Raises KeyError for a name or a field that the catalogue does not have."""
        about = {"certs_dir": certs_dir, "file": file, "reason": reason, "remedy": remedy}
        row = row_of(name, self._now(), os.getpid(), about, fields)
        with self._guard, suppress(OSError, ValueError):
            self._stream.write((json.dumps(row) if self._form == "json" else _text(row)) + "\n")
            self._stream.flush()


def row_of(name: str, at: datetime, pid: int, about: Mapping[str, str], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Given an event, when and where it was, what it is about and its own fields, return what is written of it.

    Raises KeyError for a name or a field that the catalogue does not have.
    """
    event = EVENTS[name]
    if unknown := set(fields) - set(event.fields):
        raise KeyError(f"{name} has no field {sorted(unknown)}")
    stamp = at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
    row = {"ts": stamp, "level": level_of(name, fields), "event": name, **about, "pid": pid, **fields}
    row["reason"] = withheld(row["reason"])
    row["remedy"] = row["remedy"] or event.remedy
    return {key: safe(value) for key, value in row.items()}


def level_of(name: str, fields: Mapping[str, Any]) -> Level:
    """The level of an event; that of a finding that appears or changes follows its severity."""
    if name in {"finding.appeared", "finding.changed"}:
        return LEVELS[fields["severity"]]
    return EVENTS[name].level


def _text(row: dict[str, Any]) -> str:
    remedy = f" ({row['remedy']})" if row["remedy"] and row["level"] != "info" else ""
    what = " ".join(filter(None, (row["event"], row.get("code", ""), row["file"])))
    return f"{row['ts'][11:19]} {row['level']:<7} {what}: {row['reason']}{remedy}"


def changes(before: tuple[Finding, ...], after: tuple[Finding, ...]) -> list[tuple[str, Finding]]:
    """Given the findings of two passes, return what appeared, changed and cleared.

    A finding is known by code and file.
    """
    old, new = ({(f.code, f.file): f for f in group} for group in (before, after))
    found = [
        ("finding.appeared" if key not in old else "finding.changed", f)
        for key, f in new.items()
        if key not in old or old[key].severity != f.severity or old[key].message != f.message
    ]
    return found + [("finding.cleared", f) for key, f in old.items() if key not in new]
