"""OCSP (RFC 6960): requests to bytes, answers to facts; no network here.

An answer is valid only if both cockroach and the RFC accept it. cockroach uses Go's x/crypto/ocsp: if the answer
contains certificates, the first one must be signed by the issuer's key, even if it is the issuer itself; Ed25519 is not
supported. The RFC requires more than Go checks: the delegate's extended key usage and validity, the whole CertID,
thisUpdate and nextUpdate. A revocation is valid however old it is, because it is final and Go does not check its dates.
Not checked: whether the delegate itself is revoked (delegates carry id-pkix-ocsp-nocheck).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from certagent.x509.certificate import Certificate, public_bits, read
from certagent.x509.errors import REFUSALS, X509Error, reason_of
from certagent.x509.fractions import FRACTION, whole_seconds, without_certificates

DER = serialization.Encoding.DER
SKEW = timedelta(minutes=5)
UNDATED = timedelta(days=1)  # that an answer without nextUpdate counts: a good one of years ago would count for ever
HASHES = (hashes.SHA1, hashes.SHA256, hashes.SHA384, hashes.SHA512)
REFUSED = frozenset({"md5"})


@dataclass(frozen=True, slots=True)
class RevocationAnswer:
    """What a verified answer says."""

    status: Literal["good", "revoked", "unknown"]
    reason: str = ""
    this_update: datetime | None = None
    next_update: datetime | None = None
    revoked_at: datetime | None = None


def ocsp_request(cert_der: bytes, issuer_der: bytes) -> bytes:
    """Given a certificate and its issuer, return a request as cockroach sends it: SHA-256 CertID, no nonce."""
    try:
        cert, issuer, algorithm = read(cert_der), read(issuer_der), hashes.SHA256()
        builder = ocsp.OCSPRequestBuilder()
        made = builder.add_certificate_by_hash(*_cert_id(issuer, algorithm), cert.shown.serial_number, algorithm)
        return made.build().public_bytes(DER)
    except REFUSALS as error:
        raise X509Error("unparsable", f"cannot create a request: {reason_of(error)}") from error


def _cert_id(issuer: Certificate, algorithm: hashes.HashAlgorithm) -> tuple[bytes, bytes]:
    """The hashes of the issuer's name and key, over the bytes of its own certificate."""
    found = []
    for data in (issuer.subject, public_bits(issuer.parsed.spki)):
        digest = hashes.Hash(algorithm)
        digest.update(data)
        found.append(digest.finalize())
    return found[0], found[1]


def ocsp_answer(data: bytes, cert_der: bytes, issuer_der: bytes, now: datetime) -> RevocationAnswer:
    """Given a responder's bytes, return what it says of the certificate.

    X509Error, one sentence, where the answer cannot be used.
    """
    try:
        cert, issuer = read(cert_der), read(issuer_der)
        data, signed = whole_seconds(data) if FRACTION.search(data) else (data, b"")
        answer, first = _loaded(data)
        _verify_signature(answer, issuer, first, signed or answer.tbs_response_bytes, now)
        single = next((s for s in answer.responses if _same(s, cert, issuer)), None)
        if single is None:
            raise X509Error("unparsable", "the answer is about another certificate")
        return _said(single, now)
    except REFUSALS as error:
        raise X509Error("unparsable", f"not an OCSP response that can be read: {reason_of(error)}") from error


def _loaded(data: bytes) -> tuple[ocsp.OCSPResponse, Certificate | None]:
    """A successful response, and the first certificate in it."""
    try:
        plain, first = without_certificates(data)
    except ValueError:
        plain, first = data, b""  # not a successful one, or none at all
    answer = ocsp.load_der_ocsp_response(plain)
    if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise X509Error(
            "unparsable", f"the responder answered: {answer.response_status.name.lower().replace('_', ' ')}"
        )
    return answer, read(first) if first else None


def _same(single: ocsp.OCSPSingleResponse, cert: Certificate, issuer: Certificate) -> bool:
    """Whether a single response has the CertID of the certificate, by the hash that the response chose."""
    algorithm = single.hash_algorithm
    if single.serial_number != cert.shown.serial_number or not isinstance(algorithm, HASHES):
        return False
    return _cert_id(issuer, algorithm) == (single.issuer_name_hash, single.issuer_key_hash)


def _said(single: ocsp.OCSPSingleResponse, now: datetime) -> RevocationAnswer:
    this, following = single.this_update_utc, single.next_update_utc
    if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        why = single.revocation_reason
        fresh_hold("the answer", why, this, following, now)
        return RevocationAnswer("revoked", reason_word(why), this, following, single.revocation_time_utc)
    in_time("the answer", this, following, now)
    unknown = single.certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    return RevocationAnswer("unknown" if unknown else "good", "", this, following)


def reason_word(flag: x509.ReasonFlags | None) -> str:
    """The RFC's word for why something was revoked, "" where nothing was said."""
    return "" if flag is None or flag is x509.ReasonFlags.unspecified else str(flag.value)


def fresh_hold(
    what: str, why: x509.ReasonFlags | None, this: datetime, following: datetime | None, now: datetime
) -> None:
    """A revocation counts for ever, a hold only while what tells of it does: it may have been released. X509Error."""
    if why is x509.ReasonFlags.certificate_hold:
        in_time(what, this, following, now)


def in_time(what: str, this: datetime, following: datetime | None, now: datetime) -> None:
    """Refuse what is from the future or out of date; the clocks may differ by five minutes. X509Error."""
    if this > now + SKEW:
        raise X509Error("unparsable", f"{what} is not valid yet: thisUpdate is {this:%Y-%m-%dT%H:%M:%SZ}")
    if following is None and this + UNDATED < now - SKEW:
        since = f"thisUpdate was {this:%Y-%m-%dT%H:%M:%SZ}"
        raise X509Error("unparsable", f"{what} has expired: it has no nextUpdate, and {since}")
    if following is not None and following < now - SKEW:
        raise X509Error("unparsable", f"{what} has expired: nextUpdate was {following:%Y-%m-%dT%H:%M:%SZ}")


def _verify_signature(
    answer: ocsp.OCSPResponse, issuer: Certificate, first: Certificate | None, signed: bytes, now: datetime
) -> None:
    signer = issuer if first is None else first
    if first is not None and not _signed_by(issuer, first):
        raise X509Error("unparsable", "the certificate in the answer was not signed by the issuer")
    if signer != issuer:
        _delegated(signer.shown, now)
    algorithm = answer.signature_hash_algorithm
    _check(signer, algorithm, lambda key: _verify(key, answer.signature, signed, algorithm))


def _signed_by(issuer: Certificate, cert: Certificate) -> bool:
    """By the key alone, as Go has it: the name of a delegate's issuer is not looked at."""
    algorithm, parsed = cert.shown.signature_hash_algorithm, cert.parsed
    try:
        _check(issuer, algorithm, lambda key: _verify(key, parsed.signature, parsed.tbs, algorithm))
    except X509Error:
        return False
    return True


def _delegated(signer: x509.Certificate, now: datetime) -> None:
    """A delegate may answer by its extended key usage, and while it is valid."""
    try:
        usages = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usages = x509.ExtendedKeyUsage([])
    if ExtendedKeyUsageOID.OCSP_SIGNING not in usages:
        raise X509Error(
            "unparsable", "the answer is signed by a certificate without the extended key usage OCSPSigning"
        )
    if not signer.not_valid_before_utc - SKEW <= now <= signer.not_valid_after_utc + SKEW:
        raise X509Error("unparsable", "the certificate that signed the answer is not valid now")


def _check(signer: Certificate, algorithm: hashes.HashAlgorithm | None, verify: Callable[[object], None]) -> None:
    if algorithm is None or algorithm.name in REFUSED:
        what = algorithm.name if algorithm else "a scheme"
        raise X509Error("unparsable", f"the answer is signed with {what} that cockroach cannot verify")
    try:
        verify(signer.shown.public_key())
    except InvalidSignature as error:
        raise X509Error("unparsable", "the signature was not made by the issuer or its delegate") from error


def _verify(key: object, signature: bytes, data: bytes, algorithm: hashes.HashAlgorithm | None) -> None:
    if algorithm is not None and isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, data, padding.PKCS1v15(), algorithm)
    elif algorithm is not None and isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, data, ec.ECDSA(algorithm))
    else:
        raise X509Error("unparsable", "the key that signs the answers is neither RSA nor ECDSA")
