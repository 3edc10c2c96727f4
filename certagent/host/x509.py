"""X.509: bytes <-> facts, keys, CSRs, signatures, chains. The only importer of cryptography.

cryptography parses lazily and raises late (28 accessors of its own test vectors raise after a successful parse), so every accessor is inside the
one try. Its verifier follows the web PKI and refuses names such as `node` and client certificates without SANs; Go's verifier does not,
so chains.py builds on its pieces.
"""

import ipaddress
from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, PrivateKeyTypes, PublicKeyTypes
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from certagent.core.facts import Leaf

EKU_NAMES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "any",
}
CURVES: dict[str, ec.EllipticCurve] = {"ecdsa-p256": ec.SECP256R1(), "ecdsa-p384": ec.SECP384R1()}
BAD = (ValueError, TypeError, x509.InvalidVersion, NotImplementedError, UnsupportedAlgorithm, x509.DuplicateExtension, AttributeError, OverflowError)
ORGANISATION = "Cockroach"  # what `cockroach cert` writes


class X509Error(Exception):
    """Bytes that are no certificate or key; `kind` is "empty" or "unparsable"."""

    def __init__(self, kind: Literal["empty", "unparsable"], message: str) -> None:
        """`message` is one sentence without any of the content."""
        super().__init__(message)
        self.kind = kind


def load_certificates(data: bytes) -> list[x509.Certificate]:
    """Given PEM, return its certificates. Raises X509Error."""
    if not data.strip():
        raise X509Error("empty", "the file is empty")
    try:
        return x509.load_pem_x509_certificates(data)
    except BAD as error:
        raise X509Error("unparsable", f"no certificate that parses: {type(error).__name__}") from error


def parse_certificates(data: bytes) -> tuple[Leaf, ...]:
    """Given PEM, return the facts of its certificates, at least one. Raises X509Error."""
    try:
        return tuple(_leaf(c) for c in load_certificates(data))
    except BAD as error:
        raise X509Error("unparsable", f"a certificate with a field that does not parse: {type(error).__name__}") from error


def _leaf(cert: x509.Certificate) -> Leaf:
    extensions = {e.oid: e.value for e in cert.extensions}
    san = extensions.get(x509.SubjectAlternativeName.oid)
    basic = extensions.get(x509.BasicConstraints.oid)
    usages = extensions.get(x509.ExtendedKeyUsage.oid)
    access = extensions.get(x509.AuthorityInformationAccess.oid)
    public = cert.public_key()
    signature = cert.signature_hash_algorithm
    return Leaf(
        fingerprint=cert.fingerprint(hashes.SHA256()).hex(),
        spki=spki_digest(public),
        serial=cert.serial_number,
        subject=cert.subject.rfc4514_string(),
        issuer=cert.issuer.rfc4514_string(),
        common_names=tuple(str(a.value) for a in cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)),
        dns=tuple(san.get_values_for_type(x509.DNSName)) if isinstance(san, x509.SubjectAlternativeName) else (),
        ips=tuple(str(i) for i in san.get_values_for_type(x509.IPAddress)) if isinstance(san, x509.SubjectAlternativeName) else (),
        not_before=cert.not_valid_before_utc,
        not_after=cert.not_valid_after_utc,
        is_ca=isinstance(basic, x509.BasicConstraints) and basic.ca,
        eku=tuple(EKU_NAMES.get(u, u.dotted_string) for u in usages) if isinstance(usages, x509.ExtendedKeyUsage) else None,
        key=key_name(public),
        signature=signature.name if signature else "",
        ocsp=_ocsp(access) if isinstance(access, x509.AuthorityInformationAccess) else (),
    )


def _ocsp(access: x509.AuthorityInformationAccess) -> tuple[str, ...]:
    found = [d.access_location for d in access if d.access_method == AuthorityInformationAccessOID.OCSP]
    return tuple(str(location.value) for location in found if isinstance(location, x509.UniformResourceIdentifier))


def spki_digest(public: PublicKeyTypes) -> str:
    """SHA-256 of the DER SubjectPublicKeyInfo."""
    return sha256(public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def key_name(public: PublicKeyTypes) -> str:
    """The configuration's name of a key's kind."""
    if isinstance(public, rsa.RSAPublicKey):
        return f"rsa-{public.key_size}"
    if isinstance(public, ec.EllipticCurvePublicKey):
        names = {"secp256r1": "ecdsa-p256", "secp384r1": "ecdsa-p384"}
        return names.get(public.curve.name, f"ecdsa-{public.curve.name}")
    return type(public).__name__.removesuffix("PublicKey").lower()


def load_key(data: bytes) -> PrivateKeyTypes:
    """Given an unencrypted PEM key (PKCS#8, PKCS#1, SEC1), return it. Raises X509Error."""
    try:
        return serialization.load_pem_private_key(data, password=None)
    except BAD as error:
        raise X509Error("unparsable", f"no private key that parses: {type(error).__name__}") from error


def parse_key(data: bytes) -> tuple[str, str]:
    """Given a PEM key, return (digest of its public half, kind). Raises X509Error."""
    public = load_key(data).public_key()
    return spki_digest(public), key_name(public)


def generate_key(kind: str) -> bytes:
    """Given a kind of the configuration, return a new key as PKCS#8 PEM."""
    key: PrivateKeyTypes
    if kind == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
    elif kind in CURVES:
        key = ec.generate_private_key(CURVES[kind])
    else:
        key = rsa.generate_private_key(65537, int(kind.removeprefix("rsa-")))
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _signing_key(data: bytes) -> CertificateIssuerPrivateKeyTypes:
    key = load_key(data)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise X509Error("unparsable", f"a {type(key).__name__} signs no certificates")
    return key


def _hash(key: CertificateIssuerPrivateKeyTypes) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _subject(common_name: str | None) -> x509.Name:
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION)]
    return x509.Name(names + ([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []))


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def make_csr(key_pem: bytes, common_name: str | None, names: Iterable[str]) -> bytes:
    """Given a key, a common name and SANs (DNS names and IPs as text), return a PKCS#10 request."""
    key = _signing_key(key_pem)
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(common_name))
    if sans := [_general(n) for n in dict.fromkeys(names)]:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    return builder.sign(key, _hash(key)).public_bytes(serialization.Encoding.PEM)


def make_ca(common_name: str, lifetime: timedelta, now: datetime, key: str = "ecdsa-p256") -> tuple[bytes, bytes]:
    """Make a self-signed CA that may sign leaves only; return (certificate, key) as PEM."""
    pem = generate_key(key)
    private = _signing_key(pem)
    public = private.public_key()
    name = _subject(common_name)
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return builder.sign(private, _hash(private)).public_bytes(serialization.Encoding.PEM), pem


def sign_csr(
    csr_pem: bytes, ca_cert_pem: bytes, ca_key_pem: bytes, *, server: bool, client: bool, not_before: datetime, not_after: datetime
) -> bytes:
    """Given a request, sign a leaf with its subject and SANs; notAfter is clipped to the CA's. Raises X509Error."""
    request = x509.load_pem_x509_csr(csr_pem)
    if not request.is_signature_valid:
        raise X509Error("unparsable", "the request's signature is not valid")
    ca, key = load_certificates(ca_cert_pem)[0], _signing_key(ca_key_pem)
    public = request.public_key()
    usages = [ExtendedKeyUsageOID.SERVER_AUTH] * server + [ExtendedKeyUsageOID.CLIENT_AUTH] * client
    is_rsa = isinstance(public, rsa.RSAPublicKey)
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(ca.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(min(not_after, ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(x509.KeyUsage(True, False, is_rsa, False, False, False, False, False, False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    for extension in request.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            builder = builder.add_extension(extension.value, critical=not list(request.subject))
    return builder.sign(key, _hash(key)).public_bytes(serialization.Encoding.PEM)


MAX_DEPTH = 8
MAX_CHECKS = 200


def verify_chain(certs_pem: bytes, bundle_pem: bytes, usage: str, at: datetime) -> str | None:
    """Given a file's certificates and a bundle, return None when the first one builds to a CA of the bundle as Go would have it, else why not.

    Names are not checked. Every certificate of the chain must be valid at that moment, intermediates must be CAs within their path length, and an extended
    key usage, where present, must allow `usage` ("server", "client" or "any") all the way.
    """
    try:
        leaf, *others = load_certificates(certs_pem)
        roots = load_certificates(bundle_pem)
        if problem := _unfit(leaf, usage, at):
            return problem
        return None if _build(leaf, others, roots, usage, at, 0, [MAX_CHECKS]) else f"no chain from {leaf.subject.rfc4514_string() or 'it'} to any CA of the bundle"
    except X509Error as error:
        return str(error)
    except BAD as error:
        return f"a certificate of the chain cannot be used: {type(error).__name__}"


def _build(cert: x509.Certificate, others: list[x509.Certificate], roots: list[x509.Certificate], usage: str, at: datetime, depth: int, budget: list[int]) -> bool:
    if depth > MAX_DEPTH:
        return False
    if any(cert == root for root in roots):
        return True
    for issuer in [c for c in roots if _may_issue(c, cert, usage, at, depth)]:
        if _signed(cert, issuer, budget):
            return True
    for issuer in [c for c in others if c != cert and _may_issue(c, cert, usage, at, depth)]:
        if _signed(cert, issuer, budget) and _build(issuer, others, roots, usage, at, depth + 1, budget):
            return True
    return False


def _signed(cert: x509.Certificate, issuer: x509.Certificate, budget: list[int]) -> bool:
    budget[0] -= 1
    if budget[0] < 0:
        return False
    try:
        cert.verify_directly_issued_by(issuer)
    except (InvalidSignature, *BAD):
        return False
    return True


def _may_issue(issuer: x509.Certificate, cert: x509.Certificate, usage: str, at: datetime, depth: int) -> bool:
    if issuer.subject != cert.issuer or _unfit(issuer, usage, at):
        return False
    try:
        basic = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return False
    return basic.ca and (basic.path_length is None or basic.path_length >= depth)


def _unfit(cert: x509.Certificate, usage: str, at: datetime) -> str | None:
    name = cert.subject.rfc4514_string()
    if not cert.not_valid_before_utc <= at <= cert.not_valid_after_utc:
        return f"{name} is not valid at {at:%Y-%m-%dT%H:%M:%SZ}"
    try:
        usages = set(cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return None
    needed = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}.get(usage)
    if needed is None or needed in usages or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages:
        return None
    return f"{name} has an extended key usage that does not allow {usage}"
