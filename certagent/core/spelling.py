"""The one spelling of names that others chose: control characters and bytes that are no UTF-8 are escaped.

File names, users and the words of certificates go to terminals, logs and documents by this spelling alone. Rejected:
Python's codec `unicode_escape`, which a process that has become another user may no longer be able to load.
"""

from typing import Any

SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
SURROGATES = range(0xDC80, 0xDD00)  # how Python keeps a byte of a file name that is not UTF-8
OFFSET = 0xDC00
BYTE, WORD = 0x100, 0x10000


def printable(text: str) -> str:
    """Given a text, return it in one line; what is printable already stays as it is."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def quoted(text: str) -> str:
    """The same in quotation marks."""
    return f"'{printable(text)}'"


def spelled(value: Any) -> Any:
    """Given a document, return it with every text in that spelling."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(k): spelled(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [spelled(v) for v in value]
    return value


def _escaped(character: str) -> str:
    code = ord(character)
    if character in SHORT:
        return SHORT[character]
    if code in SURROGATES:
        code -= OFFSET
    return f"\\x{code:02x}" if code < BYTE else f"\\u{code:04x}" if code < WORD else f"\\U{code:08x}"
