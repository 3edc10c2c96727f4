"""Where a setting stands in a TOML file, and what a line that is not TOML probably means: tomllib tells neither.

Rejected: a parser that keeps positions (tomlkit). It would be one more dependency of the resident agent, for messages.
"""

import re
from collections import Counter
from collections.abc import Mapping

PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
DOTTED = rf"{PART}(?:\s*\.\s*{PART})*"
HEADER = re.compile(rf"\s*\[(\[?)\s*({DOTTED})\s*\]\]?\s*(?:#.*)?")
KEY = re.compile(rf"\s*({DOTTED})\s*=\s*(.*)")
PLACE = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)
BOOLEAN = re.compile(r"(yes|no|on|off|true|false|y|n)\b", re.IGNORECASE)
DURATION = re.compile(r"\d+ ?[A-Za-z]")
NUMBERS = re.compile(r"\d+\.\d+\.")
CURLY = re.compile("[\u201c\u201d\u201e\u2018\u2019]")


def lines_of(text: str) -> dict[str, int]:
    """Given a TOML text, return the line of every table and key, from 1, by the path that errors call it by."""
    found: dict[str, int] = {}
    tables: Counter[str] = Counter()
    table = ""
    for number, line in enumerate(text.split("\n"), 1):
        if header := HEADER.fullmatch(line.rstrip("\r")):
            parts = _parts(header[2])
            table = _table(parts, tables, another=bool(header[1]))
            for known in (table, parts[0]):
                found.setdefault(known, number)
        elif key := KEY.match(line):
            found.setdefault(".".join(filter(None, (table, *_parts(key[1])))), number)
    return found


def _parts(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(PART, dotted)]


def _table(parts: list[str], tables: Counter[str], *, another: bool) -> str:
    """The path of a table, with the number of each table of an array that it is in."""
    path = ""
    for n, part in enumerate(parts, 1):
        path = f"{path}.{part}" if path else part
        if another and n == len(parts):
            tables[path] += 1
        if tables[path]:
            path = f"{path}[{tables[path] - 1}]"
    return path


def placed(file: str, error: str, lines: Mapping[str, int]) -> str:
    """Given an error that begins with the path of its key, return it with the file and the line: "FILE:3: key: ..."."""
    path = error.partition(": ")[0]
    while path and path not in lines:
        path = path.rpartition(".")[0]
    return f"{file}:{lines[path]}: {error}" if path else f"{file}: {error}"


def not_toml(file: str, problem: str, text: str) -> str:
    """Given what tomllib says of a text, return the message: the line, and what to write instead where that is known.

    No value is repeated: it may be a secret in the wrong place.
    """
    found = PLACE.fullmatch(problem)
    if found is None or not found[2]:
        return f"{file}: not valid TOML: {found[1] if found else problem}"
    line = text.split("\n")[int(found[2]) - 1]
    return f"{file}:{found[2]}: not valid TOML: {_meant(found[1], line)}"


def not_utf8(file: str, error: UnicodeDecodeError) -> str:
    """Given why bytes are not text, return the message: the line, its key, and what to do. No value is repeated."""
    before, after = error.object[: error.start], error.object[error.start :]
    line = (before.split(b"\n")[-1] + after.split(b"\n")[0]).decode("utf-8", "replace")
    key = KEY.match(line)
    where = f"{key[1]}: " if key else ""
    number = before.count(b"\n") + 1
    what = "a character is not UTF-8; save the file as UTF-8 (it may be Latin-1), or write the character again"
    return f"{file}:{number}: not valid TOML: {where}{what}"


def _meant(problem: str, line: str) -> str:
    key = KEY.match(line)
    name, value = (key[1], key[2]) if key else (line.strip(), "")
    said = (
        (problem.startswith("Cannot"), f"{name} stands twice, or as a value and as a table"),
        (line.lstrip()[:1] == ";" or line.lstrip()[:2] == "//", "a comment begins with #"),
        (CURLY.search(line), 'write straight quotation marks: "'),
        (BOOLEAN.match(value), f"{name}: write true or false, in lower case and without quotation marks"),
        (DURATION.match(value), f'{name}: put it in quotation marks, as in "30d"'),
        (value[:1] in {'"', "'"}, f"{name}: a quotation mark or a comma is missing"),
        (value and (value[0] not in "[{0123456789" or NUMBERS.match(value)), f"{name}: put text in quotation marks"),
    )
    return next((sentence for holds, sentence in said if holds), problem)
