"""Make keys, certificate requests and the embedded CA, in the shapes that `cockroach cert` uses.

Source of the shapes: cockroach's own certificates (organisation "Cockroach", the CN `node` or the user, a CA whose path
length is 1). Rejected: backdating in sign_csr; the caller says when a leaf begins, and its lifetime is computed from
that.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import (
    AttributeOID,
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    NameOID,
)

from certagent.x509.errors import REFUSALS, X509Error, reason_of
from certagent.x509.keys import PrivateKey, load_key
from certagent.x509.parsing import load_certificates

PEM = serialization.Encoding.PEM
SKEW = timedelta(hours=1)  # a new CA is valid immediately on hosts whose clock is behind

MAKERS: dict[str, Callable[[], PrivateKey]] = {
    "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-3072": lambda: rsa.generate_private_key(65537, 3072),
    "rsa-4096": lambda: rsa.generate_private_key(65537, 4096),
}


def generate_key(kind: str) -> bytes:
    """Given a key's name in the configuration, return a new private key as PKCS#8 PEM; ValueError for another name."""
    if kind not in MAKERS:
        raise ValueError(f"unknown key type {kind!r}; use one of {', '.join(MAKERS)}")
    return MAKERS[kind]().private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _hash_for(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | None:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    large = isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > hashes.SHA256.digest_size * 8
    return hashes.SHA384() if large else hashes.SHA256()


def _subject(common_name: str | None, unit: str = "") -> x509.Name:
    if common_name is None:
        return x509.Name([])
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Cockroach")
    units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit)] if unit else []
    return x509.Name([organisation, *units, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    with suppress(ValueError):
        return x509.IPAddress(ip_address(name))
    return x509.DNSName(name)


def make_csr(
    key_pem: bytes, common_name: str | None, names: tuple[str, ...], challenge: str = "", unit: str = ""
) -> bytes:
    """Given a key, a CN (None: an empty subject), SANs as text and an OU, return a certificate request as PEM.

    `challenge`: a challengePassword (RFC 2985), which SCEP servers look for in the request itself.
    X509Error where the key does not parse or a name cannot stand in a certificate (a CN over 64 characters, not ASCII).
    """
    key = load_key(key_pem)
    try:
        builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(common_name, unit))
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general(n) for n in names]), common_name is None
            )
        if challenge:
            builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge.encode())
        return builder.sign(key, _hash_for(key)).public_bytes(PEM)
    except REFUSALS as error:
        raise X509Error("unparsable", f"cannot create a certificate request: {reason_of(error)}") from error


def _key_usage(*, sign: bool, encipher: bool, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=encipher,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def make_ca(common_name: str, lifetime: timedelta, now: datetime, key: str = "ecdsa-p256") -> tuple[bytes, bytes]:
    """Given a CN and a lifetime from `now`, return a new self-signed CA: certificate and key as PEM."""
    key_pem = generate_key(key)
    private = load_key(key_pem)
    builder = (
        x509.CertificateBuilder(
            _subject(common_name), _subject(common_name), private.public_key(), x509.random_serial_number()
        )
        .not_valid_before(now.astimezone(UTC) - SKEW)
        .not_valid_after(now.astimezone(UTC) + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_key_usage(sign=True, encipher=False, ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
    )
    return builder.sign(private, _hash_for(private)).public_bytes(PEM), key_pem


def sign_csr(
    csr_pem: bytes,
    ca_cert_pem: bytes,
    ca_key_pem: bytes,
    *,
    server: bool,
    client: bool,
    not_before: datetime,
    not_after: datetime,
    urls: tuple[str, str] = ("", ""),
) -> bytes:
    """Given a request and a CA, return the leaf as PEM: the request's subject and SANs, never past the CA's own end.

    `urls`: where an OCSP responder and a revocation list are, "" for nowhere.
    X509Error if the request's signature, the CA's key or the resulting lifetime is invalid.
    """
    try:
        ca, key = _issuer(ca_cert_pem, ca_key_pem), load_key(ca_key_pem)
        builder = _leaf(csr_pem, ca, server, client, (not_before, not_after))
        return _with_urls(builder, *urls).sign(key, _hash_for(key)).public_bytes(PEM)
    except REFUSALS as error:
        raise X509Error("unparsable", f"the request cannot be signed: {reason_of(error)}") from error


def _issuer(ca_cert_pem: bytes, ca_key_pem: bytes) -> x509.Certificate:
    public = load_key(ca_key_pem).public_key()
    for certificate in load_certificates(ca_cert_pem):
        if certificate.shown.public_key() == public:
            return certificate.shown
    raise ValueError("the key of the CA matches none of its certificates")


def _leaf(
    csr_pem: bytes, ca: x509.Certificate, server: bool, client: bool, span: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    csr = x509.load_pem_x509_csr(csr_pem)
    if not csr.is_signature_valid:
        raise ValueError("the signature of the request is invalid")
    public = csr.public_key()
    start, end = span[0].astimezone(UTC), min(span[1].astimezone(UTC), ca.not_valid_after_utc)
    if not isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        raise ValueError("the key of the request is neither RSA, ECDSA nor Ed25519")
    if end <= start:
        raise ValueError(f"no lifetime is left: its notAfter is {ca.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}")
    builder = x509.CertificateBuilder(ca.subject, csr.subject, public, x509.random_serial_number(), start, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(
        _key_usage(sign=True, encipher=isinstance(public, rsa.RSAPublicKey), ca=False), critical=True
    )
    builder = _with_usages(builder, server, client)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    builder = builder.add_extension(_authority_of(ca), critical=False)
    return _with_sans(builder, csr)


def _with_urls(builder: x509.CertificateBuilder, responder: str, listed: str) -> x509.CertificateBuilder:
    if responder:
        place = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(responder))
        builder = builder.add_extension(x509.AuthorityInformationAccess([place]), critical=False)
    if listed:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(listed)], None, None, None)
        builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    return builder


def _with_usages(builder: x509.CertificateBuilder, server: bool, client: bool) -> x509.CertificateBuilder:
    usages = [ExtendedKeyUsageOID.SERVER_AUTH] * server + [ExtendedKeyUsageOID.CLIENT_AUTH] * client
    return builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False) if usages else builder


def _with_sans(builder: x509.CertificateBuilder, csr: x509.CertificateSigningRequest) -> x509.CertificateBuilder:
    with suppress(x509.ExtensionNotFound):
        sans = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return builder.add_extension(sans, critical=not list(csr.subject))
    return builder


def _authority_of(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    with suppress(x509.ExtensionNotFound):
        ski = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski)
    key = ca.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        raise ValueError("the key of the CA is neither RSA, ECDSA nor Ed25519")
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
