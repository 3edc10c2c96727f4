"""What CAs send back, and what they were sent: unordered certificates, certificate requests. PKCS#7: see bags.py.

A CA's answer is a set: PKCS#7 keeps no order, and people return whatever their tool wrote. So the leaf is the
certificate that belongs to the key, and the chain is put together by issuer and signature.
"""

from collections.abc import Sized
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certagent.x509.certificate import Certificate
from certagent.x509.errors import REFUSALS, X509Error, reason_of
from certagent.x509.parsing import PRINTED, Sans, key_name, load_certificates, sans_of

PEM = serialization.Encoding.PEM
MOST = 64  # certificates of one answer; a chain of eight is the longest that is verified


@dataclass(frozen=True, slots=True)
class Requested:
    """What a certificate request asks for."""

    spki: str  # as Leaf.spki
    subject: bytes  # DER
    subject_text: str  # RFC 4514
    dns: tuple[str, ...]
    ips: tuple[str, ...]
    uris: tuple[str, ...]
    key: str  # as the configuration writes it


def parse_request(csr: bytes) -> Requested:
    """Given a certificate request as PEM, return what it asks for. X509Error."""
    try:
        loaded = x509.load_pem_x509_csr(csr)
        names = _names(loaded)
        public = loaded.public_key()
        spki = sha256(public.public_bytes(*PRINTED)).hexdigest()
        subject = loaded.subject
        return Requested(spki, subject.public_bytes(), subject.rfc4514_string(), *names, key_name(public))
    except REFUSALS as error:
        raise X509Error("unparsable", f"the certificate request cannot be parsed: {reason_of(error)}") from error


def request_der(csr: bytes) -> bytes:
    """The same request as DER. X509Error."""
    try:
        return x509.load_pem_x509_csr(csr).public_bytes(serialization.Encoding.DER)
    except REFUSALS as error:
        raise X509Error("unparsable", f"the certificate request cannot be parsed: {reason_of(error)}") from error


def same_identity(csr: bytes, pem: bytes) -> bool:
    """Whether a request and the first certificate of a file have the same subject and the same SANs. X509Error."""
    asked = parse_request(csr)
    try:
        live = load_certificates(pem)[0]
        found = [live.subject, *(set(names) for names in _names(live.shown))]
        return found == [asked.subject, set(asked.dns), set(asked.ips), set(asked.uris)]
    except REFUSALS as error:
        raise X509Error("unparsable", f"the live certificate cannot be parsed: {reason_of(error)}") from error


def _names(holder: x509.Certificate | x509.CertificateSigningRequest) -> Sans:
    with suppress(x509.ExtensionNotFound):
        return sans_of(holder.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    return Sans()


def arranged(pem: bytes, spki: str) -> bytes:
    """Given certificates in any order, return the one of that key and its chain as PEM, without the root.

    X509Error where none belongs to the key; several do: the one that lasts longest. Strangers are left out; of an
    issuer that is cross-signed every certificate stays, for which of them leads to a root is the node's bundle's word.
    """
    try:
        pool = load_certificates(pem)
        bounded(pool)
        return _arranged(pool, spki)
    except REFUSALS as error:
        raise X509Error("unparsable", f"a certificate in it cannot be used: {reason_of(error)}") from error


def bounded(certificates: Sized) -> None:
    """ValueError for an answer with too many certificates."""
    if len(certificates) > MOST:
        raise ValueError(f"it contains {len(certificates)} certificates; the limit is {MOST}")


def _arranged(pool: list[Certificate], spki: str) -> bytes:
    ours = [c for c in pool if sha256(c.shown.public_key().public_bytes(*PRINTED)).hexdigest() == spki]
    if not ours:
        raise X509Error("unparsable", "no certificate in it matches the key of the request")
    chain = [max(ours, key=lambda c: c.shown.not_valid_after_utc)]
    for certificate in chain:
        chain += [c for c in pool if c not in chain and _issued(certificate, c)]
    return b"".join(c.pem for c in chain)


def _issued(certificate: Certificate, by: Certificate) -> bool:
    """By that intermediate: never by a root."""
    return by.subject == certificate.issuer and not _self_signed(by) and signed_by(certificate, by)


def _self_signed(certificate: Certificate) -> bool:
    """A root; not a cross-signed one whose issuer has the same subject, as every CA of `cockroach cert` has."""
    return certificate.subject == certificate.issuer and signed_by(certificate, certificate)


def is_root(pem: bytes) -> bool:
    """Whether a certificate is signed by its own key. X509Error."""
    try:
        return _self_signed(load_certificates(pem)[0])
    except REFUSALS as error:
        raise X509Error("unparsable", f"a certificate in it cannot be used: {reason_of(error)}") from error


def signed_by(certificate: Certificate, issuer: Certificate) -> bool:
    """Whether the key of the issuer made the signature of the certificate, and the names fit."""
    try:
        certificate.verify_issued_by(issuer)
    except REFUSALS:
        return False
    return True


def roots_of(pem: bytes) -> bytes:
    """Given certificates, return the self-signed ones as PEM, b"" without any. X509Error."""
    try:
        found = load_certificates(pem)
        bounded(found)
        return b"".join(c.pem for c in found if _self_signed(c))
    except REFUSALS as error:
        raise X509Error("unparsable", f"a certificate in it cannot be used: {reason_of(error)}") from error
