"""How texts look on a terminal: they fit its width, findings of one cause are one entry, severities have a colour."""

import re
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

NARROW, WIDE = 40, 120
WIDTH = 80  # of what is no terminal
COLOURS = {"critical": "1;31", "FAILED": "1;31", "REFUSED": "1;31", "warning": "33", "unknown": "35", "ok": "32"}
WORDS = "|".join((*COLOURS, "info"))
PLACES = re.compile(rf"^(\s*)({WORDS})\b|(?<=: )({WORDS})(?=$|,)", re.MULTILINE)
Row = Mapping[str, Any]


def width() -> int:
    """The columns of the terminal; of anything else, 80."""
    return max(NARROW, min(WIDE, shutil.get_terminal_size((WIDTH, 24)).columns))


def wrapped(line: str, columns: int, hang: int = 6) -> list[str]:
    """A line that fits, the rest of it further in; names and paths are never broken."""
    if len(line) <= columns:
        return [line]
    indent = " " * (len(line) - len(line.lstrip(" ")) + hang)
    return textwrap.wrap(
        line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns, each as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def grouped(findings: Iterable[Row]) -> list[tuple[Row, list[str]]]:
    """Findings of one cause are one: the same code, severity, sentence and remedy, but for the name of the file."""
    groups: dict[tuple[str, ...], tuple[Row, list[str]]] = {}
    for f in findings:
        key = (f["code"], f["severity"], _general(f, "message"), _general(f, "remedy"))
        groups.setdefault(key, (f, []))[1].append(f["file"])
    return list(groups.values())


def _general(finding: Row, field: str) -> str:
    """A text without the name of the file that it is about."""
    file = finding["file"]
    stem = file.removesuffix(".crt").removesuffix(".key")
    text = str(finding[field])
    return text.replace(file, "FILE").replace(stem, "NAME") if stem else text


def findings_of(findings: Iterable[Row], columns: int) -> list[str]:
    """The findings for people: what holds, and what to do."""
    lines = []
    for first, files in grouped(findings):
        alone = len(files) == 1
        message, remedy = (str(first[k]) if alone else _general(first, k) for k in ("message", "remedy"))
        what = f"{first['code']} {', '.join(filter(None, files))}".strip()
        lines += wrapped(f"  {first['severity']} {what}: {message}", columns)
        lines += wrapped(f"      remedy: {remedy}", columns, 2) if remedy else []
    return lines


def painted(text: str, stream: TextIO, environ: Mapping[str, str]) -> str:
    """With colours on a terminal, unless NO_COLOR (no-color.org) is set or the terminal is dumb."""
    plain = environ.get("NO_COLOR") or environ.get("TERM", "dumb") == "dumb" or not stream.isatty()
    return text if plain else PLACES.sub(_paint, text)


def _paint(found: re.Match[str]) -> str:
    before, word = found[1] or "", found[2] or found[3]
    return f"{before}\x1b[{COLOURS[word]}m{word}\x1b[0m" if word in COLOURS else found[0]
