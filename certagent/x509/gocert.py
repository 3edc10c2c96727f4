"""A certificate as Go's crypto/x509 parses it, which decides whether cockroach loads the file.

cryptography is stricter in some places (a default that is written out, parameters that nobody needs, a URL that is not
ASCII) and looser in others (object identifiers, URIs, an RSA key without its NULL). Source: RFC 5280 and Go's parser;
tests hold this file against Go itself, 1.19 and newer. What only some versions of Go refuse is `caveat`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec

from certagent.x509.der import (
    BITS,
    BOOLEAN,
    CONSTRUCTED,
    CONTEXT,
    GENERALIZED_TIME,
    INTEGER,
    NULL,
    OCTETS,
    OID,
    SEQUENCE,
    SET,
    UTC_TIME,
    Element,
    Reader,
)
from certagent.x509.goext import Extension, check

RSA, DSA, ECDSA, ED25519 = (
    bytes.fromhex(t) for t in ("2a864886f70d010101", "2a8648ce380401", "2a8648ce3d0201", "2b6570")
)
P224, P256, P384, P521 = (bytes.fromhex(t) for t in ("2b81040021", "2a8648ce3d030107", "2b81040022", "2b81040023"))
CURVES: dict[bytes, ec.EllipticCurve] = {
    P224: ec.SECP224R1(),
    P256: ec.SECP256R1(),
    P384: ec.SECP384R1(),
    P521: ec.SECP521R1(),
}
UNCOMPRESSED, ED25519_SIZE = b"\x04", 32
NO_PARAMETERS = bytes([NULL, 0])
V2, V3 = 1, 2
LARGEST_EXPONENT = 1 << 63
BEYOND, NONCHARACTERS, SURROGATES = 0xFFFE, range(0xFDD0, 0xFDF0), range(0xD800, 0xE000)
HALF = 50  # UTCTime: years below count from 2000, the others from 1900
UTF8, NUMERIC, PRINTABLE, T61, IA5, BMP = 0x0C, 0x12, 0x13, 0x14, 0x16, 0x1E
DECODED = {UTF8: "utf-8", NUMERIC: "ascii", PRINTABLE: "ascii", T61: "latin-1", IA5: "ascii", BMP: "utf-16-be"}
CHARACTERS = {
    NUMERIC: frozenset(b"0123456789 "),
    PRINTABLE: frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'()+,-./ :=?*&"),
}

Text = tuple[tuple[tuple[bytes, str], ...], ...]  # of a name: per RDN, object identifier and value of each attribute


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What Go read: names and key as DER, names as text too."""

    tbs: bytes
    version: int
    serial: int
    algorithm: bytes  # the content of the signature's AlgorithmIdentifier
    issuer: bytes
    subject: bytes
    issuer_text: Text
    subject_text: Text
    not_before: datetime
    not_after: datetime
    spki: bytes
    extensions: tuple[Extension, ...]
    signature: bytes
    caveat: str  # which versions of Go refuse it, and why; "" where none does


def parse(der: bytes) -> Parsed:
    """Given a certificate as DER, return what Go reads. ValueError with the reason where it refuses."""
    outer = Reader(der)
    whole = outer.inside()
    if not outer.empty:
        raise ValueError("trailing data")
    tbs = whole.element(SEQUENCE)
    inner = Reader(tbs).inside()
    version = _version(inner)
    serial = inner.integer()
    algorithm = inner.read(SEQUENCE)
    if whole.read(SEQUENCE) != algorithm:
        raise ValueError("its two signature algorithm fields differ")
    _identifier(algorithm)
    issuer, validity, subject = inner.element(SEQUENCE), inner.inside(), inner.element(SEQUENCE)
    start, end = _time(validity), _time(validity)
    spki = inner.element(SEQUENCE)
    _public_key(Reader(spki).inside())
    extensions = _extensions(inner, version)
    (issuer_text, usual), (subject_text, also) = _name(issuer), _name(subject)
    caveats = ["Go from 1.23 on refuses a negative serial number"] if serial < 0 else []
    caveats += ["some versions of Go refuse the kind of string in its name"] if not (usual and also) else []
    caveats += [said for _, said in extensions if said]
    return Parsed(
        tbs=tbs,
        version=version,
        serial=serial,
        algorithm=algorithm,
        issuer=issuer,
        subject=subject,
        issuer_text=issuer_text,
        subject_text=subject_text,
        not_before=start,
        not_after=end,
        spki=spki,
        extensions=tuple(e for e, _ in extensions),
        signature=whole.bits(),
        caveat=caveats[0] if caveats else "",
    )


def _version(inner: Reader) -> int:
    wrapped = inner.optional(CONTEXT | CONSTRUCTED)
    if wrapped is None:
        return 0
    explicit = Reader(wrapped)
    version = explicit.integer()
    if not 0 <= version <= V3 or not explicit.empty:
        raise ValueError("invalid version")
    return version


@lru_cache(maxsize=64)
def _identifier(content: bytes) -> tuple[bytes, bytes | None]:
    """An algorithm and its parameters."""
    reader = Reader(content)
    algorithm = reader.oid()
    return algorithm, None if reader.empty else reader.any().whole


@lru_cache(maxsize=4096)
def _name(der: bytes) -> tuple[Text, bool]:
    """The attributes of a name, and whether every Go takes its strings. ValueError where none does."""
    found, usual, sets = [], True, Reader(der).inside()
    while not sets.empty:
        attributes, several = [], sets.inside(SET)
        while not several.empty:
            one = several.inside()
            kind, value = one.oid(), one.any()
            usual = usual and value.tag in DECODED and not (value.tag == BMP and _reserved(value.content))
            attributes.append((kind, _string(value)))
        found.append(tuple(attributes))
    return tuple(found), usual


def _string(value: Element) -> str:
    """A string of a name; of what is none, its bytes. UnicodeDecodeError is a ValueError."""
    allowed = CHARACTERS.get(value.tag)
    if (allowed and not allowed.issuperset(value.content)) or (value.tag == BMP and len(value.content) % 2):
        raise ValueError("a name in it has a character that Go does not take")
    if value.tag == BMP:
        return value.content.removesuffix(b"\0\0").decode(DECODED[BMP], "replace")
    if value.tag in DECODED:
        return value.content.decode(DECODED[value.tag])
    if value.tag in OTHERS:
        OTHERS[value.tag](Reader(value.whole))
    return f"#{value.whole.hex()}"


def _reserved(value: bytes) -> bool:
    """Whether it has a code point that UCS-2 does not have: newer versions of Go refuse those."""
    points = {int.from_bytes(value[i : i + 2]) for i in range(0, len(value), 2)}
    return any(p >= BEYOND or p in NONCHARACTERS or p in SURROGATES for p in points)


def _time(validity: Reader) -> datetime:
    """One end of the validity: UTCTime, its seconds optional, or GeneralizedTime; Z or an offset."""
    short = validity.follows(UTC_TIME)
    text = validity.read(UTC_TIME if short else GENERALIZED_TIME).decode("ascii")
    digits = text[:-1] if text.endswith("Z") else text[:-5]
    sign, offset = ("+", "0000") if text.endswith("Z") else (text[-5:-4], text[-4:])
    sizes = (12, 10) if short else (14,)
    if (
        len(digits) not in sizes
        or not (digits + offset).isdigit()
        or sign not in "+-"
        or text[len(digits) :] == "+0000"
    ):
        raise ValueError("malformed time")
    if text.endswith("+0000"):
        raise ValueError("malformed time")
    year, rest = (int(digits[:2]), digits[2:]) if short else (int(digits[:4]), digits[4:])
    if short:
        year += 2000 if year < HALF else 1900
    hours, minutes = int(offset[:2]), int(offset[2:])
    numbers = [int(rest[i : i + 2]) for i in range(0, len(rest), 2)]
    if offset == "0000":
        return datetime(year, *numbers, tzinfo=UTC)  # type: ignore[misc,arg-type] # counted above
    away = timedelta(hours=hours, minutes=minutes) * (-1 if sign == "-" else 1)
    return datetime(year, *numbers, tzinfo=timezone(away)).astimezone(UTC)  # type: ignore[misc,arg-type] # counted above


def _public_key(spki: Reader) -> None:
    """Go reads the keys of four kinds; of another one it asks nothing."""
    kind, parameters = _identifier(spki.read(SEQUENCE))
    key = spki.bits()
    if kind in KEYS:
        KEYS[kind](parameters or b"", key)


def _rsa(parameters: bytes, key: bytes) -> None:
    if parameters != NO_PARAMETERS:
        raise ValueError("its RSA key lacks the NULL parameters")
    numbers = Reader(key).inside()
    if not (numbers.integer() > 0 and 0 < numbers.integer() < LARGEST_EXPONENT):
        raise ValueError("its RSA key is not of positive numbers")


def _ecdsa(parameters: bytes, key: bytes) -> None:
    curve = CURVES.get(Reader(parameters).oid())
    if curve is None:
        raise ValueError("Go does not support its elliptic curve")
    if key[:1] != UNCOMPRESSED:
        raise ValueError("its key is no uncompressed point")
    ec.EllipticCurvePublicKey.from_encoded_point(curve, key)


def _ed25519(parameters: bytes, key: bytes) -> None:
    if parameters or len(key) != ED25519_SIZE:
        raise ValueError("its Ed25519 key is malformed")


def _dsa(parameters: bytes, key: bytes) -> None:
    group = Reader(parameters).inside()
    if min(Reader(key).integer(), *(group.integer() for _ in range(3))) <= 0:
        raise ValueError("its DSA key is not of positive numbers")


def _extensions(inner: Reader, version: int) -> tuple[tuple[Extension, str], ...]:
    """Each extension, and which versions of Go refuse it."""
    if version >= V2:
        inner.optional(CONTEXT | 1)
        inner.optional(CONTEXT | 2)
    wrapped = inner.optional(CONTEXT | CONSTRUCTED | 3) if version == V3 else None
    if wrapped is None:
        return ()
    found, several = [], Reader(wrapped).inside()
    while not several.empty:
        found.append(_extension(several.read(SEQUENCE)))
    if len({e.oid for e, _ in found}) < len(found):
        raise ValueError("it contains an extension twice")
    return tuple(found)


@lru_cache(maxsize=64)
def _extension(content: bytes) -> tuple[Extension, str]:
    """One extension, and which versions of Go refuse it; kept, because most are the same in many certificates."""
    one = Reader(content)
    oid = one.oid()
    critical = one.boolean() if one.follows(BOOLEAN) else False
    found = Extension(oid, critical, one.read(OCTETS))
    return found, check(found)


OTHERS: dict[int, Callable[[Reader], object]] = {
    INTEGER: Reader.integer,
    BOOLEAN: Reader.boolean,
    BITS: Reader.bits,
    OID: Reader.oid,
    UTC_TIME: _time,
    GENERALIZED_TIME: _time,
}
KEYS: dict[bytes, Callable[[bytes, bytes], None]] = {
    bytes.fromhex("2a864886f70d010101"): _rsa,
    bytes.fromhex("2a8648ce380401"): _dsa,
    bytes.fromhex("2a8648ce3d0201"): _ecdsa,
    bytes.fromhex("2b6570"): _ed25519,
}
