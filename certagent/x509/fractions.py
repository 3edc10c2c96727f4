"""OCSP responses that Go reads and cryptography refuses, rewritten: times with fractions, certificates in odd DER.

RFC 6960 forbids such times, and certomancer writes them. They are rewritten for reading; the signature is verified over
the bytes that were signed. Rejected: refusing such an answer, because a responder that cockroach accepts would be
reported as unreachable.
"""

import re

from certagent.x509.der import CONSTRUCTED, GENERALIZED_TIME, LONG_FORM, OCTETS, SEQUENCE, Element, element

FRACTION = re.compile(rb"\x18.\d{14}\.\d+Z", re.DOTALL)
EXPLICIT, MULTIPLE_BYTES = 0xA0, 0x1F
DEEPEST = 24
SIGNED_PARTS = 3  # the data, the algorithm, the signature


def whole_seconds(data: bytes) -> tuple[bytes, bytes]:
    """Given an OCSP response, return it with its times in whole seconds, and the bytes that were signed.

    Raises ValueError where it is no OCSP response.
    """
    status, kind, octets = _parts(data)
    (basic,) = elements(octets.content)
    signed = elements(basic.content)[0].whole
    return _whole(status, kind, _rewritten(octets.content, DEEPEST)), signed


def without_certificates(data: bytes) -> tuple[bytes, bytes]:
    """Given a successful OCSP response, return it without the certificates in it, and the first of these or b"".

    cryptography reads no response with a certificate that it cannot read; who uses that one reads it as Go does.
    """
    status, kind, octets = _parts(data)
    (basic,) = elements(octets.content)
    kept, certificates = elements(basic.content)[:SIGNED_PARTS], elements(basic.content)[SIGNED_PARTS:]
    if not certificates:
        return data, b""
    (sequence,) = elements(certificates[0].content)
    first = elements(sequence.content)[:1]
    whole = _whole(status, kind, element(SEQUENCE, b"".join(part.whole for part in kept)))
    return whole, first[0].whole if first else b""


def _parts(data: bytes) -> tuple[Element, Element, Element]:
    """Status, kind and content of a successful response."""
    (outer,) = elements(data)
    status, explicit = elements(outer.content)
    (body,) = elements(explicit.content)
    kind, octets = elements(body.content)
    return status, kind, octets


def _whole(status: Element, kind: Element, basic: bytes) -> bytes:
    wrapped = element(EXPLICIT, element(SEQUENCE, kind.whole + element(OCTETS, basic)))
    return element(SEQUENCE, status.whole + wrapped)


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
