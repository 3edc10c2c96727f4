"""PEM blocks as Go's encoding/pem finds them, which is how cockroach reads its files.

Rejected: cryptography's PEM reader. It skips blocks of other types, which cockroach refuses, and refuses what Go skips:
a block with invalid base64, and a BEGIN line without an END.
"""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass

BEGIN, END, DASHES = b"-----BEGIN ", b"\n-----END ", b"-----"


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its type, its content, and its header lines unchanged."""

    kind: bytes
    content: bytes
    headers: bytes


def blocks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Given the bytes of a file, yield type and content of each block. Everything else is skipped."""
    return ((block.kind, block.content) for block in decoded(data))


def pooled(data: bytes) -> Iterator[bytes]:
    """The contents of the blocks that AppendCertsFromPEM uses: certificates without headers (`Comment: ...`)."""
    return (block.content for block in decoded(data) if block.kind == b"CERTIFICATE" and not block.headers)


def decoded(data: bytes) -> Iterator[Block]:
    """Given the bytes of a file, yield each block with its headers."""
    start = 0
    while (end := data.find(END, start)) >= 0:
        found = _block(data, start, end)
        if found is None:
            start = end + len(END)  # this END is spent; the next one may have a BEGIN of its own
            continue
        yield found
        start = _line(data, end + len(END))[1]


def _block(data: bytes, start: int, end: int) -> Block | None:
    """The block that ends at this END line, begun by the last BEGIN line before it."""
    begin = data.rfind(BEGIN, start, end)
    if begin < 0 or (begin > start and data[begin - 1] != ord("\n")):
        return None
    line, body = _line(data, begin + len(BEGIN))
    kind = line.removesuffix(DASHES)
    if kind == line or not _ends(data, end + len(END), kind):
        return None
    headers = body
    while b":" in (found := _line(data, body))[0] and body < end:
        body = found[1]
    if body > headers and end < body:
        return None
    try:
        payload = data[body:end].translate(None, b" \t\r\n") if end > body else b""
        if len(payload) % 4:  # Python ignores an extra =
            return None
        return Block(kind, base64.b64decode(payload, validate=True), data[headers:body])
    except (binascii.Error, ValueError):
        return None


def _ends(data: bytes, at: int, kind: bytes) -> bool:
    """The END line names the same type, and nothing follows on it."""
    trailer = kind + DASHES
    return data.startswith(trailer, at) and not _line(data, at + len(trailer))[0]


def _line(data: bytes, at: int) -> tuple[bytes, int]:
    """The line at a place, without blanks at its end, and where the next one begins."""
    end = data.find(b"\n", at)
    if end < 0:
        return data[at:].rstrip(b" \t"), len(data)
    stop = end - 1 if end > at and data[end - 1] == ord("\r") else end
    return data[at:stop].rstrip(b" \t"), end + 1
