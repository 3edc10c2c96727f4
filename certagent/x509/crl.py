"""Revocation lists (RFC 5280, section 5): bytes to what they say of one certificate; no network here.

cockroach reads none; they tell an operator what a responder cannot. Refused: lists that cover a part only (deltas,
indirect lists, some reasons, other kinds of certificates), since their silence would not mean good.
"""

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certagent.x509.certificate import read
from certagent.x509.errors import REFUSALS, X509Error, reason_of
from certagent.x509.ocsp import RevocationAnswer, fresh_hold, in_time, reason_word


def crl_answer(data: bytes, cert_der: bytes, issuer_der: bytes, now: datetime) -> RevocationAnswer:
    """Given the bytes of a revocation list (DER or PEM), return what it says of the certificate.

    X509Error where the list cannot be used.
    """
    try:
        cert, issuer = read(cert_der).shown, read(issuer_der).shown
        load = x509.load_pem_x509_crl if data.lstrip().startswith(b"-----BEGIN") else x509.load_der_x509_crl
        listed = load(data)
        if problem := _unfit(listed, cert, issuer):
            raise X509Error("unparsable", problem)
        row = listed.get_revoked_certificate_by_serial_number(cert.serial_number)
        this, following = listed.last_update_utc, listed.next_update_utc
        if row is not None:
            why = _row_reason(row)
            fresh_hold("the list", why, this, following, now)
            return RevocationAnswer("revoked", reason_word(why), this, following, row.revocation_date_utc)
        in_time("the list", this, following, now)
        return RevocationAnswer("good", "", this, following)
    except REFUSALS as error:
        raise X509Error("unparsable", f"not a revocation list that can be read: {reason_of(error)}") from error


def _row_reason(row: x509.RevokedCertificate) -> x509.ReasonFlags | None:
    try:
        return row.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return None


def _unfit(listed: x509.CertificateRevocationList, cert: x509.Certificate, issuer: x509.Certificate) -> str | None:
    """Why a list says nothing about a certificate: another's, a delta, or for other kinds of certificates."""
    key = issuer.public_key()
    if listed.issuer != issuer.subject:
        return f"the list was issued by {listed.issuer.rfc4514_string()}"
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) or not listed.is_signature_valid(key):
        return "the list is not signed by the issuer"
    for extension in listed.extensions:
        value = extension.value
        if isinstance(value, x509.IssuingDistributionPoint):
            if value.indirect_crl or value.only_contains_attribute_certs or value.only_some_reasons:
                return "the list covers only part of the revoked certificates"
            wrong = value.only_contains_user_certs if _is_ca(cert) else value.only_contains_ca_certs
            if wrong:
                return "the list is for another type of certificate"
        elif extension.critical:
            return f"the list has an unknown critical extension: {extension.oid.dotted_string}"
    return None


def _is_ca(cert: x509.Certificate) -> bool:
    try:
        return cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
