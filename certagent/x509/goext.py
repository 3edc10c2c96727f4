"""The values of extensions that Go's parser reads: what is malformed in one makes the certificate unloadable."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from certagent.x509.der import BOOLEAN, CONSTRUCTED, CONTEXT, INTEGER, OCTETS, OID, Reader, element
from certagent.x509.gourl import LONGEST_LABEL, labels_of, strict, uri_problem

ALTERNATIVE_NAMES = MAIL, DNS, URI, IP = tuple(CONTEXT | tag for tag in (1, 2, 6, 7))
NEWER = "newer versions of Go refuse"
IPV6, MAPPED = 16, bytes(10) + b"\xff\xff"
HIGH_BIT = 0x80
SUBTREE_SIZES = (8, 32)
CONTIGUOUS = (0x00, 0x80, 0xC0, 0xE0, 0xF0, 0xF8, 0xFC, 0xFE)
INT_LIMIT = 1 << 63


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension: the content of its object identifier, and its value."""

    oid: bytes
    critical: bool
    value: bytes


def check(extension: Extension) -> str:
    """Given an extension, return which versions of Go refuse it and why, "" for none. ValueError where all do."""
    reader = READERS.get(extension.oid)
    if reader is None:
        return ""
    said = reader(Reader(extension.value)) or ""
    if extension.critical and extension.oid in NEVER_CRITICAL:
        return f"{NEWER} a critical {NEVER_CRITICAL[extension.oid]}"
    return said


def _key_usage(value: Reader) -> None:
    value.bits()


def _constraints(value: Reader) -> str:
    inner = value.inside()
    if inner.follows(BOOLEAN):
        inner.boolean()
    length = inner.integer() if inner.follows(INTEGER) else 0
    if not -INT_LIMIT <= length < INT_LIMIT:
        raise ValueError("its path length is out of range")
    return f"{NEWER} a negative path length" if length < 0 else ""


def _names(value: Reader) -> str:
    inner, said = value.inside(), ""
    while not inner.empty:
        name = inner.any()
        kind = name.tag ^ CONTEXT
        text = name.content.decode("latin-1")
        if kind in {1, 2, 6} and not text.isascii():
            raise ValueError("a name in its SAN is not ASCII")
        if kind == URI ^ CONTEXT and (problem := uri_problem(text)):
            raise ValueError(f"Go cannot parse the URI {text!r}: {problem}")
        if kind == URI ^ CONTEXT and not strict(text):
            said = f"{NEWER} the URI {text!r}"
        if kind == IP ^ CONTEXT and len(name.content) not in {4, 16}:
            raise ValueError("an IP SAN is not a single address")
        if kind == IP ^ CONTEXT and len(name.content) == IPV6 and name.content.startswith(MAPPED):
            said = f"{NEWER} an IPv4 address written as IPv6 in its SAN"
        if kind == DNS ^ CONTEXT and not _well_formed(text):
            said = f"Go 1.24.8 and 1.25.2 refuse the DNS name {text!r}, and no client that asks for it accepts it"
    return said


def _well_formed(name: str) -> bool:
    labels = labels_of(name)
    return bool(labels) and all(len(label) <= LONGEST_LABEL for label in labels or ())


def _identifiers(value: Reader) -> None:
    inner = value.inside()
    while not inner.empty:
        inner.oid()


def _policies(value: Reader) -> str:
    inner, found = value.inside(), []
    while not inner.empty:
        found.append(inner.inside().read(OID))
    if not all(oid and oid[-1] < HIGH_BIT for oid in found):
        raise ValueError("a malformed certificate policy")
    if any(not _short(oid) for oid in found):
        return "older versions of Go refuse the large number in its certificate policy"
    return f"{NEWER} a certificate policy that stands there twice" if len({*found}) < len(found) else ""


def _short(oid: bytes) -> bool:
    try:
        Reader(element(OID, oid)).oid()
    except ValueError:
        return False
    return True


def _lately(read: Callable[[Reader], object]) -> Callable[[Reader], str]:
    """What only newer versions of Go look at."""

    def reader(value: Reader) -> str:
        try:
            read(value)
        except ValueError:
            return f"{NEWER} a malformed extension about policies"
        return ""

    return reader


def _policy_constraints(value: Reader) -> None:
    inner = value.inside()
    for place in (0, 1):
        if inner.follows(CONTEXT | place):
            Reader(element(INTEGER, inner.read(CONTEXT | place))).integer()


def _mappings(value: Reader) -> None:
    inner = value.inside()
    while not inner.empty:
        one = inner.inside()
        for _ in ("issuer", "subject"):
            one.read(OID)


def _points(value: Reader) -> None:
    inner = value.inside()
    while not inner.empty:
        name = inner.inside().optional(CONTEXT | CONSTRUCTED)
        if name is None:
            continue
        full = Reader(Reader(name).read(CONTEXT | CONSTRUCTED))
        while full.follows(URI):
            full.read(URI)


def _access(value: Reader) -> None:
    inner = value.inside()
    while not inner.empty:
        one = inner.inside()
        one.oid()
        if one.follows(URI):
            one.read(URI)


def _authority_key(value: Reader) -> None:
    inner = value.inside()
    if inner.follows(CONTEXT):
        inner.read(CONTEXT)


def _subject_key(value: Reader) -> None:
    value.read(OCTETS)


def _subtrees(value: Reader) -> None:
    inner = value.inside()
    both = [inner.optional(CONTEXT | CONSTRUCTED | place) for place in (0, 1)]
    if not value.empty or not inner.empty or not any(both):
        raise ValueError("its name constraints are malformed or empty")
    for subtrees in both:
        several = Reader(subtrees or b"")
        while not several.empty:
            one = several.inside().any()
            if one.tag in {MAIL, DNS, URI, IP} and not _subtree(one.tag, one.content):
                raise ValueError("Go cannot parse its name constraints")


def _subtree(tag: int, value: bytes) -> bool:
    """Whether Go takes one base of a subtree."""
    if tag == IP:
        size = len(value) // 2
        mask = value[size:].lstrip(b"\xff")
        return len(value) in SUBTREE_SIZES and (not mask or (mask[0] in CONTIGUOUS and not any(mask[1:])))
    if not value.isascii():
        return False
    text = value.decode("ascii")
    if tag == URI and _is_address(text):
        return False
    if tag == MAIL and "@" in text:
        local, _, domain = text.rpartition("@")
        return bool(local) and labels_of(domain) is not None
    return labels_of(text.removeprefix(".")) is not None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


READERS: dict[bytes, Callable[[Reader], str | None]] = {
    b"\x55\x1d\x0e": _subject_key,
    b"\x55\x1d\x0f": _key_usage,
    b"\x55\x1d\x11": _names,
    b"\x55\x1d\x13": _constraints,
    b"\x55\x1d\x1e": _subtrees,
    b"\x55\x1d\x1f": _points,
    b"\x55\x1d\x20": _policies,
    b"\x55\x1d\x21": _lately(_mappings),
    b"\x55\x1d\x23": _authority_key,
    b"\x55\x1d\x24": _lately(_policy_constraints),
    b"\x55\x1d\x36": _lately(Reader.integer),
    b"\x55\x1d\x25": _identifiers,
    bytes.fromhex("2b06010505070101"): _access,
}
NEVER_CRITICAL = {
    b"\x55\x1d\x0e": "subject key identifier",
    b"\x55\x1d\x23": "authority key identifier",
    bytes.fromhex("2b06010505070101"): "authority information access",
}
