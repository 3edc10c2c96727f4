"""DER as Go reads it: one element after the other, definite and minimal lengths, minimal integers.

cryptography's reader is stricter in some places and looser in others; what cockroach loads is decided by this one.
What may follow in an element is the caller's business: Go ignores the rest of many a SEQUENCE.
"""

from dataclasses import dataclass
from functools import lru_cache

BOOLEAN, INTEGER, BITS, OCTETS, NULL, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
UTC_TIME, GENERALIZED_TIME, SEQUENCE, SET = 0x17, 0x18, 0x30, 0x31
CONTEXT, CONSTRUCTED = 0x80, 0x20
LONG_FORM, HIGH_TAG, HIGH_BIT, BYTE = 0x80, 0x1F, 0x80, 8
LONGEST_LENGTH, LONGEST_ARC = 4, 5  # bytes that a length and one number of an object identifier may take
ARC_LIMIT = 1 << 31


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its tag, its content, and all of its bytes."""

    tag: int
    content: bytes
    whole: bytes


class Reader:
    """Elements that follow each other. Every method raises ValueError where the bytes are not what is asked for."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        """Start at the first byte."""
        self._data, self._at = data, 0

    @property
    def empty(self) -> bool:
        """Nothing is left."""
        return self._at >= len(self._data)

    def follows(self, tag: int) -> bool:
        """The next element has this tag."""
        return self._at < len(self._data) and self._data[self._at] == tag

    def any(self) -> Element:
        """The next element, whatever it is."""
        data, at = self._data, self._at
        start, end = self._content(at)
        self._at = end
        return Element(data[at], data[start:end], data[at:end])

    def _content(self, at: int) -> tuple[int, int]:
        """Where the content of the element at a place begins and ends. Optimised: one that is short, as most are."""
        data, start = self._data, at + 2
        length = data[at + 1] if start <= len(data) else LONG_FORM
        if length >= LONG_FORM or data[at] & HIGH_TAG == HIGH_TAG:
            start, length = self._header(at)
        if start + length > len(data):
            raise ValueError("truncated element")
        return start, start + length

    def _header(self, at: int) -> tuple[int, int]:
        """Where the content of the element at a place begins, and how long it says it is."""
        data = self._data
        if len(data) < at + 2 or data[at] & HIGH_TAG == HIGH_TAG:
            raise ValueError("malformed element")
        length, start = data[at + 1], at + 2
        if length & LONG_FORM:
            digits = length & ~LONG_FORM
            start += digits
            length = int.from_bytes(data[at + 2 : start])
            if not 1 <= digits <= LONGEST_LENGTH or start > len(data) or length < LONG_FORM or not data[at + 2]:
                raise ValueError("malformed length")
        return start, length

    def offers(self, tag: int) -> bool:
        """The next element has this tag; ValueError where no element begins there, as in encoding/asn1."""
        if not self.empty:
            self._header(self._at)
        return self.follows(tag)

    def unwrapped(self, outer: int, tag: int) -> bytes | None:
        """The content of the optional next element of one tag in the explicit tag around it, as encoding/asn1 reads it.

        The outer length is not checked; an inner element with another tag is neither an error nor read.
        """
        if not self.offers(outer):
            return None
        at, length = self._header(self._at)
        if not length:
            raise ValueError("empty explicit tag")
        start, length = self._header(at)
        if self._data[at] != tag:
            return None
        if start + length > len(self._data):
            raise ValueError("truncated element")
        self._at = start + length
        return self._data[at : self._at]

    def read(self, tag: int) -> bytes:
        """The content of the next element, which has this tag."""
        data, at = self._data, self._at
        if at >= len(data) or data[at] != tag:
            raise ValueError("unexpected element")
        start, self._at = self._content(at)
        return data[start : self._at]

    def element(self, tag: int) -> bytes:
        """All bytes of the next element, which has this tag."""
        at = self._at
        self.read(tag)
        return self._data[at : self._at]

    def inside(self, tag: int = SEQUENCE) -> "Reader":
        """A reader of the next element's content."""
        return Reader(self.read(tag))

    def optional(self, tag: int) -> bytes | None:
        """The content of the next element, None where it has another tag."""
        return self.read(tag) if self.follows(tag) else None

    def integer(self) -> int:
        """The next element as a number."""
        content = self.read(INTEGER)
        value = int.from_bytes(content, signed=True)
        if content != _shortest(value):
            raise ValueError("malformed integer")
        return value

    def boolean(self) -> bool:
        """The next element as a truth value."""
        content = self.read(BOOLEAN)
        if content not in {b"\x00", b"\xff"}:
            raise ValueError("malformed boolean")
        return content == b"\xff"

    def bits(self) -> bytes:
        """The next element as a string of bits, shifted so that the last one is the lowest."""
        content = self.read(BITS)
        unused = content[0] if content else BYTE
        if unused >= BYTE or (unused and (len(content) == 1 or content[-1] & ((1 << unused) - 1))):
            raise ValueError("malformed bit string")
        return (int.from_bytes(content[1:]) >> unused).to_bytes(len(content) - 1) if unused else content[1:]

    def oid(self) -> bytes:
        """The next element as an object identifier: its content."""
        content = self.read(OID)
        _check_oid(content)
        return content


@lru_cache(maxsize=256)
def _check_oid(content: bytes) -> None:
    """ValueError where a number of an object identifier is too large, begins with zeros or is cut off."""
    arc, length = 0, 0
    for byte in content:
        arc, length = (arc << 7) | byte & ~HIGH_BIT, length + 1
        if length > LONGEST_ARC or arc >= ARC_LIMIT or (length == 1 and byte == HIGH_BIT):
            raise ValueError("malformed object identifier")
        if not byte & HIGH_BIT:
            arc, length = 0, 0
    if length or not content:
        raise ValueError("malformed object identifier")


def _shortest(value: int) -> bytes:
    """A number in as few bytes as it takes."""
    return value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, signed=True)


def integer(value: int) -> bytes:
    """A number, newly written."""
    return element(INTEGER, _shortest(value))


def element(tag: int, content: bytes) -> bytes:
    """An element, newly written."""
    length = len(content)
    if length < LONG_FORM:
        return bytes([tag, length]) + content
    digits = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, LONG_FORM | len(digits)]) + digits + content
