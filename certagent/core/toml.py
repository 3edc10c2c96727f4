"""Text for a TOML file, from values that others chose: every value is quoted, every comment stays on its line.

A process may call itself cockroach and pass anything, a certificate may contain any name: none of it can end a string,
a comment or a table. Rejected: `json.dumps`, whose surrogate pairs TOML refuses, and tomli-w, which writes no comments.
"""

import re
from collections.abc import Iterable

from certagent.core.spelling import printable

BARE = re.compile(r"[A-Za-z0-9_-]+")
WORD = 0x10000


def writable(text: str) -> bool:
    """Whether TOML can hold it: a byte of a file name that is not UTF-8 cannot be written."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def string(text: str) -> str:
    """A basic string. `text` must be writable."""
    return '"' + "".join(_escaped(c) for c in text) + '"'


def strings(texts: Iterable[str]) -> str:
    """A list of basic strings in one line."""
    return f"[{', '.join(map(string, texts))}]"


def key(text: str) -> str:
    """A key: bare where TOML allows that, else quoted."""
    return text if BARE.fullmatch(text) else string(text)


def comment(text: str = "", indent: int = 0) -> str:
    """One line of comment, whatever the text contains."""
    return f"# {' ' * indent}{printable(text)}".rstrip()


def _escaped(character: str) -> str:
    if character in {'"', "\\"}:
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04X}" if code < WORD else f"\\U{code:08X}"
