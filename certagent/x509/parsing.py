"""Certificates and keys: bytes -> facts.

Optimised: a directory may contain ten thousand certificates, so every extension is read only once and the
text of a name is kept. Private keys: keys.py.
"""

from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, SignatureAlgorithmOID

from certagent.core.facts import Leaf
from certagent.x509 import pem
from certagent.x509.certificate import Certificate, read
from certagent.x509.errors import REFUSALS, X509Error, reason_of
from certagent.x509.keys import load_key

USAGES = {"1.3.6.1.5.5.7.3.1": "serverAuth", "1.3.6.1.5.5.7.3.2": "clientAuth", "2.5.29.37.0": "any"}
CURVES = {"secp256r1": "ecdsa-p256", "secp384r1": "ecdsa-p384", "secp521r1": "ecdsa-p521", "secp224r1": "ecdsa-p224"}

PRINTED = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def load_certificates(data: bytes) -> list[Certificate]:
    """Given PEM, return its certificates in order, at least one; X509Error if there is none or one does not load.

    As cockroach reads them: a block of any other type, a key among the certificates say, spoils the whole file.
    """
    return list(_loaded(data))


@lru_cache(maxsize=16)
def _loaded(data: bytes) -> tuple[Certificate, ...]:
    """Kept for a moment: a verdict on one file reads it several times, and so does one pass on a few kept files."""
    return tuple(read(der) for der in _ders(data))


def load_readable(data: bytes) -> tuple[list[Certificate], str]:
    """The same of a bundle, without the certificates that only certagent cannot read; and why the first one is not.

    X509Error where it can read none.
    """
    found, unread = [], ""
    for der in _ders(data):
        try:
            certificate = read(der)
            public_half(certificate.shown)
        except X509Error as error:
            if error.kind != "unread":
                raise
            unread = unread or error.message
        except REFUSALS as error:
            unread = unread or f"Go loads a certificate in it that certagent cannot read: {reason_of(error)}"
        else:
            found.append(certificate)
    if not found:
        raise X509Error("unread", unread)
    return found, unread


def _ders(data: bytes) -> list[bytes]:
    if not data.strip():
        raise X509Error("empty", "the file is empty")
    found = list(pem.blocks(data))
    other = next((kind for kind, _ in found if kind != b"CERTIFICATE"), None)
    if other is not None:
        shown = other[:40].decode("ascii", "replace")
        raise X509Error("unparsable", f"it contains a PEM block {shown!r}; cockroach accepts only CERTIFICATE blocks")
    if not found:
        raise X509Error("unparsable", "it contains no PEM certificate")
    return [der for _, der in found]


def parse_certificates(data: bytes) -> tuple[Leaf, ...]:
    """Given the bytes of a `.crt` file, return the facts of its CERTIFICATE blocks, the leaf first.

    X509Error of kind `empty` (nothing but white space), `unparsable` (no PEM, no certificate, or one that Go refuses)
    or `unread` (one that Go loads, and certagent cannot read).
    """
    certificates = load_certificates(data)
    try:
        return tuple(facts_of(certificate) for certificate in certificates)
    except REFUSALS as error:
        raise X509Error("unread", f"a certificate in it cannot be read: {reason_of(error)}") from error


def split_certificates(data: bytes) -> tuple[tuple[Leaf, bytes], ...]:
    """Given PEM, return the facts of each certificate with its own PEM, newly written. X509Error as above."""
    certificates = load_certificates(data)
    try:
        return tuple((facts_of(c), c.pem) for c in certificates)
    except REFUSALS as error:
        raise X509Error("unread", f"a certificate in it cannot be read: {reason_of(error)}") from error


def facts_of(loaded: Certificate) -> Leaf:
    """Given a loaded certificate, return its facts; whatever cryptography raises on the way passes through."""
    certificate = loaded.shown
    kind, spki = public_half(certificate)
    found = {type(e.value): e.value for e in certificate.extensions}
    dns, ips, uris = sans_of(found.get(x509.SubjectAlternativeName))
    subject, issuer = loaded.names
    return Leaf(
        fingerprint=sha256(loaded.der).hexdigest(),
        spki=sha256(spki).hexdigest() if spki else "",
        serial=certificate.serial_number,
        subject=subject.whole,
        issuer=issuer.whole,
        subject_digest=sha256(loaded.subject).hexdigest(),
        common_names=subject.common_names,
        dns=dns,
        ips=ips,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        is_ca=_is_ca(certificate, found.get(x509.BasicConstraints)),
        eku=_eku(found.get(x509.ExtendedKeyUsage)),
        key=kind,
        signature=signed_with(certificate),
        ocsp=ocsp_urls(found.get(x509.AuthorityInformationAccess)),
        crl=crl_urls(found.get(x509.CRLDistributionPoints)),
        uris=uris,
        caveat=loaded.parsed.caveat,
    )


def public_half(certificate: x509.Certificate) -> tuple[str, bytes]:
    """Given a certificate, return the name of its key and the DER of its SubjectPublicKeyInfo.

    A kind that is not known here is ("unknown", b""): Go loads such a certificate, and no handshake takes it.
    """
    try:
        key = certificate.public_key()
    except UnsupportedAlgorithm:
        return "unknown", b""
    return key_name(key), key.public_bytes(*PRINTED)


def signed_with(certificate: x509.Certificate) -> str:
    """The hash of the signature: `sha256`; "" for Ed25519; a dotted number where it is not known here."""
    if certificate.signature_algorithm_oid == SignatureAlgorithmOID.ED25519:
        return ""
    try:
        digest = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        digest = None
    return digest.name if digest is not None else certificate.signature_algorithm_oid.dotted_string


class Sans(NamedTuple):
    """What cockroach reads of a subjectAltName."""

    dns: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()  # in canonical text
    uris: tuple[str, ...] = ()


def sans_of(value: x509.ExtensionType | None) -> Sans:
    """Given the extension, return its names; ValueError for a SAN that is not a single address."""
    if not isinstance(value, x509.SubjectAlternativeName):
        return Sans()
    dns = value.get_values_for_type(x509.DNSName)
    if not all(name.isascii() for name in dns):
        raise ValueError("a DNS name in it is not ASCII")
    addresses = tuple(_address(a) for a in value.get_values_for_type(x509.IPAddress))
    return Sans(tuple(dns), addresses, tuple(value.get_values_for_type(x509.UniformResourceIdentifier)))


def _address(value: object) -> str:
    if not isinstance(value, IPv4Address | IPv6Address):
        raise ValueError("an IP SAN is not a single address")
    return str(value)


def _is_ca(certificate: x509.Certificate, value: x509.ExtensionType | None) -> bool:
    return certificate.version is x509.Version.v3 and isinstance(value, x509.BasicConstraints) and value.ca


def _eku(value: x509.ExtensionType | None) -> tuple[str, ...] | None:
    if not isinstance(value, x509.ExtendedKeyUsage):
        return None
    return tuple(USAGES.get(oid.dotted_string, oid.dotted_string) for oid in value)


def ocsp_urls(value: x509.ExtensionType | None) -> tuple[str, ...]:
    """The responders that an authorityInfoAccess names, in its order."""
    if not isinstance(value, x509.AuthorityInformationAccess):
        return ()
    wanted = (e.access_location for e in value if e.access_method == AuthorityInformationAccessOID.OCSP)
    return tuple(place.value for place in wanted if isinstance(place, x509.UniformResourceIdentifier))


def crl_urls(value: x509.ExtensionType | None) -> tuple[str, ...]:
    """Where an http or https client finds the revocation list; those of another issuer's list are left out."""
    if not isinstance(value, x509.CRLDistributionPoints):
        return ()
    names = [n for point in value if not point.crl_issuer and not point.reasons for n in point.full_name or ()]
    urls = [n.value for n in names if isinstance(n, x509.UniformResourceIdentifier)]
    return tuple(u for u in urls if u.lower().startswith(("http://", "https://")))


def key_name(key: object) -> str:
    """Given a public key, return its name as the configuration writes it: `ecdsa-p256`, `rsa-2048`, `ed25519`."""
    match key:
        case ec.EllipticCurvePublicKey():
            return CURVES.get(key.curve.name, f"ecdsa-{key.curve.name}")
        case rsa.RSAPublicKey():
            return f"rsa-{key.key_size}"
        case ed25519.Ed25519PublicKey():
            return "ed25519"
        case ed448.Ed448PublicKey():
            return "ed448"
        case dsa.DSAPublicKey():
            return f"dsa-{key.key_size}"
    return "unknown"


def parse_key(data: bytes) -> tuple[str, str]:
    """Given the bytes of a `.key` file, return the SHA-256 of its public half (as Leaf.spki) and the key's name.

    X509Error, whose message never quotes the file.
    """
    public = load_key(data).public_key()
    return sha256(public.public_bytes(*PRINTED)).hexdigest(), key_name(public)
