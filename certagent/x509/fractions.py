"""Times with fractions of a second in an OCSP response: Go reads them, so cockroach does; cryptography refuses them.

RFC 6960 forbids them, and certomancer writes them. The times are rewritten for reading; the signature is verified over
the bytes that were signed. Rejected: refusing such an answer, because a responder that cockroach accepts would be
reported as unreachable.
"""

import re

from certagent.x509.der import CONSTRUCTED, GENERALIZED_TIME, LONG_FORM, OCTETS, SEQUENCE, Element, element

FRACTION = re.compile(rb"\x18.\d{14}\.\d+Z", re.DOTALL)
EXPLICIT, MULTIPLE_BYTES = 0xA0, 0x1F
DEEPEST = 24


def whole_seconds(data: bytes) -> tuple[bytes, bytes]:
    """Given an OCSP response, return it with its times in whole seconds, and the bytes that were signed.

    Raises ValueError where it is no OCSP response.
    """
    (outer,) = elements(data)
    status, explicit = elements(outer.content)
    (body,) = elements(explicit.content)
    kind, octets = elements(body.content)
    (basic,) = elements(octets.content)
    signed = elements(basic.content)[0].whole
    answer = element(OCTETS, _rewritten(octets.content, DEEPEST))
    wrapped = element(EXPLICIT, element(SEQUENCE, kind.whole + answer))
    return element(SEQUENCE, status.whole + wrapped), signed


def elements(data: bytes) -> list[Element]:
    """The elements that follow each other. Raises ValueError."""
    found, at = [], 0
    while at < len(data):
        if len(data) < at + 2 or data[at] & MULTIPLE_BYTES == MULTIPLE_BYTES:
            raise ValueError("not an OCSP response")
        first, start = data[at + 1], at + 2
        if first & LONG_FORM:
            start += first & ~LONG_FORM
            length = int.from_bytes(data[at + 2 : start])
        else:
            length = first
        if start + length > len(data):
            raise ValueError("a truncated OCSP response")
        end = start + length
        found.append(Element(data[at], data[start:end], data[at:end]))
        at = end
    return found


def _rewritten(data: bytes, left: int) -> bytes:
    """The same elements, each time without its fraction."""
    if left == 0:
        raise ValueError("a too deeply nested OCSP response")
    parts = []
    for part in elements(data):
        if part.tag == GENERALIZED_TIME:
            parts.append(element(part.tag, re.sub(rb"\.\d+Z\Z", b"Z", part.content)))
        elif part.tag & CONSTRUCTED:
            parts.append(element(part.tag, _rewritten(part.content, left - 1)))
        else:
            parts.append(part.whole)
    return b"".join(parts)
