"""One certificate of a file: its bytes, what Go reads of them, and what cryptography shows of it.

Go decides whether it loads at all (gocert.py); cryptography, whose pieces everything else uses, reads it as it stands
or written anew (rebuilt.py). Who prints it, names it or verifies its signature uses the bytes of the file.
"""

import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

from certagent.x509 import gocert
from certagent.x509.der import Reader
from certagent.x509.errors import REFUSALS, X509Error, reason_of, shown
from certagent.x509.rebuilt import rebuilt


class Text(NamedTuple):
    """A name for people (RFC 4514), and its common names."""

    whole: str
    common_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate. Two are the same where their bytes are."""

    der: bytes
    shown: x509.Certificate = field(compare=False)  # as cryptography reads it: facts, never bytes
    parsed: gocert.Parsed = field(compare=False)
    as_it_stands: bool = field(compare=False)  # cryptography reads the bytes of the file themselves

    @property
    def subject(self) -> bytes:
        """DER, as issuers are found by."""
        return self.parsed.subject

    @property
    def issuer(self) -> bytes:
        """DER."""
        return self.parsed.issuer

    @property
    def names(self) -> tuple[Text, Text]:
        """Subject and issuer, as cryptography reads them."""
        if self.as_it_stands:
            return _name(self.subject), _name(self.issuer)
        return _name(self.shown.subject.public_bytes()), _name(self.shown.issuer.public_bytes())

    @property
    def pem(self) -> bytes:
        """Newly written."""
        return ssl.DER_cert_to_PEM_cert(self.der).encode()

    def verify_issued_by(self, issuer: "Certificate") -> None:
        """Raise one of REFUSALS unless the key of the issuer made the signature, and the names fit."""
        if self.as_it_stands and issuer.as_it_stands:
            self.shown.verify_directly_issued_by(issuer.shown)
            return
        if self.issuer != issuer.subject:
            raise ValueError("another issuer")
        _verify(self, issuer.shown.public_key())


def read(der: bytes) -> Certificate:
    """Given DER, return the certificate. X509Error: `unparsable` where Go refuses it, `unread` where only we cannot."""
    try:
        parsed = gocert.parse(der)
    except REFUSALS as error:
        raise X509Error("unparsable", f"Go refuses a certificate in it: {reason_of(error)}") from error
    try:
        return _whole(Certificate(der, x509.load_der_x509_certificate(der), parsed, as_it_stands=True))
    except REFUSALS:
        return _read_anew(der, parsed)


def _read_anew(der: bytes, parsed: gocert.Parsed) -> Certificate:
    try:
        return _whole(Certificate(der, rebuilt(parsed), parsed, as_it_stands=False))
    except REFUSALS as error:
        sentence = f"Go loads a certificate in it that certagent cannot read: {reason_of(error)}"
        raise X509Error("unread", sentence) from error


def public_bits(spki: bytes) -> bytes:
    """Given a SubjectPublicKeyInfo, return the public key in it, as an OCSP CertID has it."""
    inner = Reader(spki).inside()
    inner.inside()
    return inner.bits()


def _whole(certificate: Certificate) -> Certificate:
    """The certificate, once all that cryptography reads late was read."""
    _ = certificate.shown.extensions, certificate.shown.not_valid_after_utc, certificate.names
    return certificate


@lru_cache(maxsize=4096)
def _name(der: bytes) -> Text:
    name = x509.Name.from_bytes(der)
    common = tuple(str(a.value) for a in name.get_attributes_for_oid(NameOID.COMMON_NAME))
    return Text(shown(name.rfc4514_string()), common)


def _verify(certificate: Certificate, key: object) -> None:
    signature, tbs = certificate.parsed.signature, certificate.parsed.tbs
    digest, scheme = certificate.shown.signature_hash_algorithm, certificate.shown.signature_algorithm_parameters
    if isinstance(key, ed25519.Ed25519PublicKey) and digest is None:
        key.verify(signature, tbs)
    elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(scheme, ec.ECDSA):
        key.verify(signature, tbs, scheme)
    elif isinstance(key, rsa.RSAPublicKey) and isinstance(scheme, padding.PKCS1v15 | padding.PSS) and digest:
        key.verify(signature, tbs, scheme, digest)
    else:
        raise ValueError("the key is not of the kind that made the signature")
