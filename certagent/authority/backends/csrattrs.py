"""RFC 7030, section 4.5.2: what an EST server expects in a request. Only a key type is understood.

CsrAttrs ::= SEQUENCE OF CHOICE { oid OBJECT IDENTIFIER, attribute SEQUENCE { type OID, values SET } }. The request is
signed before it gets here, by a process without network access, so nothing can be added to it. A key type is compared,
so that a request that would be refused is not sent; the rest is ignored.
"""

from collections.abc import Iterator

SEQUENCE, SET, OID, INTEGER = 0x30, 0x31, 0x06, 0x02
EC_PUBLIC_KEY, RSA_ENCRYPTION = "1.2.840.10045.2.1", "1.2.840.113549.1.1.1"
CURVES = {"1.2.840.10045.3.1.7": "ecdsa-p256", "1.3.132.0.34": "ecdsa-p384"}
LONG, CONTINUES = 0x80, 0x80
LENGTHS = 3  # octets of a length: sixteen mebibytes


def elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Given DER, return each element's tag and content. Raises ValueError."""
    at = 0
    while at < len(der):
        tag, size, start = der[at], *_length(der, at + 1)
        if start + size > len(der):
            raise ValueError("an element is longer than its parent")
        yield tag, der[start : start + size]
        at = start + size


def _length(der: bytes, at: int) -> tuple[int, int]:
    """(length, where the content starts)."""
    first = der[at] if at < len(der) else LONG
    if first < LONG:
        return first, at + 1
    count = first - LONG
    if not 0 < count <= LENGTHS or at + count >= len(der):
        raise ValueError("an invalid length")
    return int.from_bytes(der[at + 1 : at + 1 + count]), at + 1 + count


def dotted(content: bytes) -> str:
    """An object identifier as text. Raises ValueError."""
    if not content or content[-1] >= CONTINUES:
        raise ValueError("an invalid object identifier")
    arcs, value = [], 0
    for octet in content:
        value = (value << 7) | (octet & 0x7F)
        if octet < CONTINUES:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:]))


def wanted_keys(der: bytes) -> tuple[str, ...]:
    """Given CsrAttrs, return the kinds of key that it names, as the configuration writes them. Raises ValueError."""
    outer = list(elements(der))
    if [tag for tag, _ in outer] != [SEQUENCE]:
        raise ValueError("it is not a sequence")
    return tuple(k for tag, content in elements(outer[0][1]) if tag == SEQUENCE for k in _of_attribute(content))


def _of_attribute(content: bytes) -> list[str]:
    parts = list(elements(content))
    if [tag for tag, _ in parts] != [OID, SET]:
        return []
    kind, values = dotted(parts[0][1]), list(elements(parts[1][1]))
    if kind == EC_PUBLIC_KEY:
        return [CURVES.get(name := dotted(v), f"curve {name}") for tag, v in values if tag == OID]
    if kind == RSA_ENCRYPTION:
        return [f"rsa-{int.from_bytes(v)}" for tag, v in values if tag == INTEGER]
    return []
