"""Private keys as Go's tls.X509KeyPair reads them, which is how cockroach does.

The first PEM block that calls itself a private key, whatever kind it names: PKCS#1, then PKCS#8, then SEC 1. Rejected:
cryptography's reader of PEM keys. It takes a byte order mark, lines that end in CR and words around BEGIN and END,
which make cockroach fail every new connection after a reload; and it refuses blank lines, headers and labels that
cockroach does not mind. Where one Go differs from another the stricter one counts: since 1.24 the CRT values of an RSA
key must be right.
"""

from collections.abc import Iterator
from functools import partial
from math import lcm, prod

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from certagent.x509.der import BITS, CONSTRUCTED, CONTEXT, INTEGER, OCTETS, OID, SEQUENCE, Reader
from certagent.x509.errors import REFUSALS, X509Error
from certagent.x509.pem import Block, decoded

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

RSA, ECDSA, ED25519 = (bytes.fromhex(text) for text in ("2a864886f70d010101", "2a8648ce3d0201", "2b6570"))
CURVES: dict[bytes, ec.EllipticCurve] = {
    bytes.fromhex("2b81040021"): ec.SECP224R1(),
    bytes.fromhex("2a8648ce3d030107"): ec.SECP256R1(),
    bytes.fromhex("2b81040022"): ec.SECP384R1(),
    bytes.fromhex("2b81040023"): ec.SECP521R1(),
}
BOM = b"\xef\xbb\xbf"


def load_key(data: bytes) -> PrivateKey:
    """Given the bytes of a key file, return its key; X509Error, which quotes no byte of it, where Go reads none."""
    if not data.strip():
        raise X509Error("empty", "the key file is empty")
    found = list(decoded(data))
    block = next((b for b in found if b.kind == b"PRIVATE KEY" or b.kind.endswith(b" PRIVATE KEY")), None)
    if block is None:
        raise X509Error("unparsable", _no_key(data, found))
    for parse in (_pkcs1, _pkcs8, partial(_sec1, curve=None)):
        try:
            return parse(block.content)
        except REFUSALS:
            continue
    if b"ENCRYPTED" in block.kind or b"ENCRYPTED" in block.headers:
        raise X509Error("unparsable", "the private key is encrypted; cockroach cannot load it")
    raise X509Error("unparsable", "the private key cannot be parsed as an RSA, ECDSA or Ed25519 key")


def plain_key(data: bytes) -> bytes:
    """The same key as PKCS#8 PEM, which every TLS library reads. X509Error."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return load_key(data).private_bytes(*form)


def _no_key(data: bytes, found: list[Block]) -> str:
    """Why no key block was found, in Go's words, and what to check."""
    if found:
        kinds = ", ".join(repr(b.kind[:40].decode("ascii", "replace")) for b in found[:4])
        return f"the key file contains no PEM private key, only {kinds}"
    sentence = "the key file contains no PEM private key; cockroach: failed to find any PEM data in key input"
    if data.startswith(BOM):
        return f"{sentence}: it starts with a byte order mark (BOM)"
    if b"\r" in data and b"\n" not in data:
        return f"{sentence}: its lines end in CR alone"
    if b"PRIVATE KEY-----" in data:
        return f"{sentence}: BEGIN and END must each be a whole line, with nothing but base64 between them"
    return sentence


def _pkcs1(der: bytes) -> PrivateKey:
    outer = Reader(der)
    inner = outer.inside()
    version, n, e, d, p, q = (inner.integer() for _ in range(6))
    crt = tuple(inner.integer() for _ in range(3) if inner.offers(INTEGER))
    primes = (p, q, *_further_primes(inner))
    if not outer.empty or version > 1:
        raise ValueError("not a PKCS#1 key")
    if min(n, e, d, *primes) <= 1 or prod(primes) != n or any(d * e % (prime - 1) != 1 for prime in primes):
        raise ValueError("the numbers of the key do not belong together")
    right = (rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q))
    if crt != right[: len(crt)]:
        raise X509Error("unparsable", "the CRT values of the RSA key are wrong; Go refuses it from 1.24 on")
    rest = n // p  # of more than two primes one remains, and the product of the others takes the place of the second
    second = d % lcm(*(prime - 1 for prime in primes[1:]))
    values = (p, rest, d, right[0], second, rsa.rsa_crt_iqmp(p, rest))
    # Go's checks are made above; OpenSSL's check looks for primes, which takes ten times as long.
    return rsa.RSAPrivateNumbers(*values, rsa.RSAPublicNumbers(e, n)).private_key(unsafe_skip_rsa_key_validation=True)


def _further_primes(inner: Reader) -> Iterator[int]:
    """The third prime of a key and those after it, which Go reads without the values beside them."""
    further = inner.inside() if inner.offers(SEQUENCE) else Reader(b"")
    while not further.empty:
        row = further.inside()
        prime, _, _ = (row.integer() for _ in range(3))
        yield prime


def _pkcs8(der: bytes) -> PrivateKey:
    inner = Reader(der).inside()
    inner.integer()  # the version, whatever it is
    algorithm = inner.inside()
    kind = algorithm.oid()
    parameters = None if algorithm.empty else algorithm.any().whole
    content = inner.read(OCTETS)
    if kind == RSA:
        return _pkcs1(content)
    if kind == ECDSA:
        return _sec1(content, _curve(parameters))
    if kind != ED25519 or parameters is not None:
        raise ValueError("a key of another kind")
    return ed25519.Ed25519PrivateKey.from_private_bytes(Reader(content).read(OCTETS))


def _curve(parameters: bytes | None) -> bytes | None:
    """The curve that PKCS#8 names; None where its parameters name none."""
    try:
        return Reader(parameters or b"").oid()
    except ValueError:
        return None


def _sec1(der: bytes, curve: bytes | None) -> PrivateKey:
    inner = Reader(der).inside()
    if inner.integer() != 1:
        raise ValueError("not SEC 1")
    secret = inner.read(OCTETS)
    named = inner.unwrapped(CONTEXT | CONSTRUCTED, OID)
    inside = None if named is None else Reader(named).oid()
    public = inner.unwrapped(CONTEXT | CONSTRUCTED | 1, BITS)
    if public is not None:
        Reader(public).bits()  # not compared with the secret number, but well formed
    elliptic = CURVES.get(curve or inside or b"")
    if elliptic is None:
        raise ValueError("an unknown curve")
    return ec.derive_private_key(int.from_bytes(secret), elliptic)
