"""The log: each event is one entry of systemd's journal, one JSON line, or one line of text."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal, TextIO

from certagent import __version__
from certagent.core.findings import Finding
from certagent.core.spelling import printable
from certagent.core.words import withheld
from certagent.events.catalogue import EVENTS, Level, level_of
from certagent.events.journal import Journal, entry
from certagent.events.volume import Volume

Form = Literal["journal", "json", "text"]
SECRET = "PRIVATE KEY"  # noqa: S105 - the mark of what must never be logged


def safe(value: Any) -> Any:
    """A value that is safe to log: no secret, no control character, no lone surrogate."""
    if not isinstance(value, str):
        return value
    if SECRET in value:
        return "[redacted]"
    return printable(value)


def log_form(stream: TextIO, environ: Mapping[str, str]) -> Form:
    """Text on a terminal; native entries where systemd connected the stream to its journal; else JSON lines."""
    if stream.isatty():
        return "text"
    with suppress(OSError, ValueError):
        info = os.fstat(stream.fileno())
        if environ.get("JOURNAL_STREAM") == f"{info.st_dev}:{info.st_ino}":  # systemd.exec(5)
            return "journal"
    return "json"


class Log:
    """Writes events; never raises for a write, and never waits long for one."""

    def __init__(self, stream: TextIO, form: Form, now: Callable[[], datetime], journal: Journal | None = None) -> None:
        """`now` stamps each line. What the journal does not take goes to the stream, as JSON."""
        self._stream, self._form, self._now = stream, form, now
        self._journal = journal or (Journal() if form == "journal" else None)
        self._guard, self._volume = threading.Lock(), Volume()
        self._host = socket.gethostname()

    def emit(
        self,
        name: str,
        level: Level | None = None,
        *,
        certs_dir: str = "",
        file: str = "",
        reason: str = "",
        remedy: str = "",
        **fields: Any,
    ) -> None:
        """Write one event. Raises KeyError for a name or a field that the catalogue does not have.

        `level`: another one than that of the catalogue.
        """
        about = {"certs_dir": certs_dir, "file": file, "reason": reason, "remedy": remedy}
        row = row_of(name, self._now(), about, fields) | {"host": safe(self._host), "pid": os.getpid()}
        if level is not None:
            row["level"] = level
        with self._guard:
            for each in self._volume.admitted(row, time.monotonic()):
                self._write(each)

    def settle(self) -> None:
        """Write what was left out for a minute and is not repeated any more."""
        with self._guard:
            for each in self._volume.due(time.monotonic()):
                self._write(each)

    def _write(self, row: dict[str, Any]) -> None:
        if self._form == "journal" and self._journal and self._journal.send(entry(row, sentence(row))):
            return
        with suppress(OSError, ValueError):
            self._stream.write((text(row) if self._form == "text" else json.dumps(row)) + "\n")
            self._stream.flush()


def row_of(name: str, at: datetime, about: Mapping[str, str], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Given an event, when it was, what it is about and its own fields, return what is written of it.

    Nothing empty is. Raises KeyError for a name or a field that the catalogue does not have.
    """
    event = EVENTS[name]
    if unknown := set(fields) - set(event.fields):
        raise KeyError(f"{name} has no field {sorted(unknown)}")
    stamp = at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
    row = {"ts": stamp, "level": level_of(name, fields), "event": name, **about, **fields, "version": __version__}
    row["reason"] = withheld(row["reason"])
    row["remedy"] = row["remedy"] or event.remedy
    return {key: safe(value) for key, value in row.items() if value != ""}


def sentence(row: Mapping[str, Any]) -> str:
    """An event for people, without its time: the directory, what happened to which file, and what to do."""
    said, file = row.get("reason", ""), row.get("file", "")
    known = file and (said.startswith(file) or file == row.get("certs_dir"))  # it is named already
    what = " ".join(filter(None, (row["event"], row.get("code", ""), "" if known else file)))
    remedy = f" ({row['remedy']})" if "remedy" in row and row["level"] != "info" else ""
    more = f" ({row['left_out']} more in the last minute)" if row.get("left_out") else ""
    where = f"{row['certs_dir']}: " if "certs_dir" in row else ""
    return f"{where}{what}: {said}{remedy}{more}"


def text(row: Mapping[str, Any]) -> str:
    """The same with date, time, zone and level, for a terminal."""
    return f"{row['ts'][:10]} {row['ts'][11:19]}Z {row['level']:<7} {sentence(row)}"


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
