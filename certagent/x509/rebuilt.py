"""A certificate that Go loads and cryptography does not, written anew so that both read it.

Only how it is written changes: a default that is spelled out, parameters of ECDSA, times without seconds, strings of
names. An extension that cryptography cannot read, and that no decision needs (a revocation list's URL with a blank in
it), is left out; one that a decision needs is not, and then the certificate stays unread. The signature is over the
bytes of the file: what verifies it must take those (Parsed.tbs). Rejected: a model of certificates next to
cryptography's, which every reader of facts would have to know.
"""

from contextlib import suppress
from datetime import datetime

from cryptography import x509

from certagent.x509.der import (
    BITS,
    BOOLEAN,
    CONSTRUCTED,
    CONTEXT,
    GENERALIZED_TIME,
    INTEGER,
    OCTETS,
    OID,
    SEQUENCE,
    SET,
    UTC_TIME,
    Reader,
    element,
    integer,
)
from certagent.x509.errors import REFUSALS
from certagent.x509.gocert import UTF8, V3, Parsed, Text
from certagent.x509.goext import ALTERNATIVE_NAMES, Extension

ECDSA_SIGNATURES = bytes.fromhex("2a8648ce3d0403")  # ecdsa-with-SHA2: one more number says which
DECIDING = frozenset(b"\x55\x1d" + bytes([last]) for last in (0x0F, 0x11, 0x13, 0x1E, 0x25))
TRUE = element(BOOLEAN, b"\xff")
UTC_YEARS = range(1950, 2050)


def rebuilt(parsed: Parsed) -> x509.Certificate:
    """Given what Go reads of a certificate, return it as cryptography reads it; what that raises passes through."""
    written = [_canonical(e) for e in parsed.extensions]
    kept = [e for e in written if e.value and (e.oid in DECIDING or _readable(parsed, e))]
    return _built(parsed, kept)


def _readable(parsed: Parsed, extension: Extension) -> bool:
    with suppress(*REFUSALS):
        return bool(list(_built(parsed, [extension]).extensions))
    return False


def _built(parsed: Parsed, extensions: list[Extension]) -> x509.Certificate:
    algorithm = element(SEQUENCE, _algorithm(parsed.algorithm))
    parts = [
        element(CONTEXT | CONSTRUCTED, integer(parsed.version)) if parsed.version else b"",
        integer(parsed.serial),
        algorithm,
        _name(parsed.issuer_text),
        element(SEQUENCE, _time(parsed.not_before) + _time(parsed.not_after)),
        _name(parsed.subject_text),
        _public_key(parsed.spki),
        element(CONTEXT | CONSTRUCTED | 3, element(SEQUENCE, b"".join(map(_extension, extensions))))
        if extensions and parsed.version == V3
        else b"",
    ]
    signature = element(BITS, b"\0" + parsed.signature)
    return x509.load_der_x509_certificate(element(SEQUENCE, element(SEQUENCE, b"".join(parts)) + algorithm + signature))


def _algorithm(content: bytes) -> bytes:
    """Without the NULL that some tools write behind ECDSA."""
    oid = Reader(content).oid()
    return element(OID, oid) if oid.startswith(ECDSA_SIGNATURES) else content


def _name(text: Text) -> bytes:
    sets = (
        element(SET, b"".join(element(SEQUENCE, element(OID, kind) + _string(value)) for kind, value in attributes))
        for attributes in text
    )
    return element(SEQUENCE, b"".join(sets))


def _string(value: str) -> bytes:
    return element(UTF8, value.encode("utf-8", "replace"))


def _time(moment: datetime) -> bytes:
    text = f"{moment.year:04d}{moment:%m%d%H%M%SZ}"
    if moment.year in UTC_YEARS:
        return element(UTC_TIME, text[2:].encode())
    return element(GENERALIZED_TIME, text.encode())


def _extension(extension: Extension) -> bytes:
    critical = TRUE if extension.critical else b""
    return element(SEQUENCE, element(OID, extension.oid) + critical + element(OCTETS, extension.value))


def _public_key(spki: bytes) -> bytes:
    """Without what some tools write behind it."""
    outer = Reader(spki).inside()
    algorithm = outer.inside()
    parts = element(OID, algorithm.oid()) + (b"" if algorithm.empty else algorithm.any().whole)
    return element(SEQUENCE, element(SEQUENCE, parts) + element(BITS, b"\0" + outer.bits()))


def _canonical(extension: Extension) -> Extension:
    """The value as DER wants it, b"" where Go reads nothing from it."""
    write = WRITERS.get(extension.oid)
    value = write(extension.value) if write else extension.value
    if not value and extension.critical:  # what Go does not handle must not be left out
        return extension
    return Extension(extension.oid, extension.critical, value)


def _constraints(value: bytes) -> bytes:
    """No default spelled out, nothing behind them."""
    inner = Reader(value).inside()
    ca = inner.boolean() if inner.follows(BOOLEAN) else False
    length = integer(inner.integer()) if inner.follows(INTEGER) else b""
    return element(SEQUENCE, (TRUE if ca else b"") + length)


def _names(value: bytes) -> bytes:
    """The names of the kinds that Go reads; it passes over the others."""
    inner, read = Reader(value).inside(), []
    while not inner.empty:
        name = inner.any()
        read += [name.whole] if name.tag in ALTERNATIVE_NAMES else []
    return element(SEQUENCE, b"".join(read)) if read else b""


def _usages(value: bytes) -> bytes:
    """An empty list of extended key usages allows every one, as none does."""
    return b"" if Reader(value).inside().empty else value


WRITERS = {b"\x55\x1d\x11": _names, b"\x55\x1d\x13": _constraints, b"\x55\x1d\x25": _usages}
