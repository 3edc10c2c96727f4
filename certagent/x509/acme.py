"""What ACME adds to X.509: the name of a certificate for renewal information, and the tls-alpn-01 certificate."""

from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from certagent.x509.errors import REFUSALS, X509Error, reason_of
from certagent.x509.keys import load_key
from certagent.x509.making import PEM, _general, generate_key
from certagent.x509.parsing import load_certificates

ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
OCTETS = b"\x04\x20"  # DER: an OCTET STRING of 32 bytes
SPAN = timedelta(days=1)


def renewal_id(pem: bytes) -> str:
    """Given a certificate as PEM, return its unique identifier (RFC 9773, section 4.1). Raises X509Error."""
    certificate = load_certificates(pem)[0].shown
    try:
        key_id = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        serial = certificate.serial_number
    except REFUSALS as error:
        raise X509Error("unparsable", f"no authority key identifier: {reason_of(error)}") from error
    if key_id is None:
        raise X509Error("unparsable", "the authority key identifier has no key identifier")
    number = serial.to_bytes(serial.bit_length() // 8 + 1)  # as DER writes a positive INTEGER
    return f"{_text(key_id)}.{_text(number)}"


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def challenge_pair(name: str, digest: bytes) -> tuple[bytes, bytes]:
    """Given an identifier and the digest of a key authorization, return the self-signed pair (RFC 8737, section 3)."""
    key_pem = generate_key("ecdsa-p256")
    private, now = load_key(key_pem), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ACME challenge")])
    certificate = (
        x509.CertificateBuilder(subject, subject, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - SPAN)
        .not_valid_after(now + SPAN)
        .add_extension(x509.SubjectAlternativeName([_general(name)]), critical=False)
        .add_extension(x509.UnrecognizedExtension(ACME_IDENTIFIER, OCTETS + digest), critical=True)
        .sign(private, hashes.SHA256())
    )
    return certificate.public_bytes(PEM), key_pem
