"""PKCS#7 bags of certificates, and whatever else CAs hand to people.

Not re-exported by the package: cryptography's PKCS#7 brings the standard library's `email` along, half a megabyte that
a daemon without such a CA does not need. An EST worker has it from its start, before it gives up reading files.
"""

from contextlib import suppress

from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from certagent.x509.answers import PEM, bounded
from certagent.x509.errors import REFUSALS, X509Error, reason_of


def from_pkcs7(der: bytes) -> bytes:
    """Given a PKCS#7 certs-only message as DER, return its certificates as PEM, in no order. X509Error."""
    try:
        found = pkcs7.load_der_pkcs7_certificates(der)
        bounded(found)
        return b"".join(c.public_bytes(PEM) for c in found)
    except REFUSALS as error:
        raise X509Error("unparsable", f"not PKCS#7 with certificates: {reason_of(error)}") from error


def any_certificates(data: bytes) -> bytes:
    """Given certificates in any form that CAs hand to people (PEM, DER, PKCS#7 in either), return them as PEM.

    X509Error if there is none.
    """
    for read in (_from_pem, _from_der, pkcs7.load_der_pkcs7_certificates, pkcs7.load_pem_pkcs7_certificates):
        with suppress(*REFUSALS):
            if found := read(data):
                bounded(found)
                return b"".join(c.public_bytes(PEM) for c in found)
    raise X509Error("unparsable", "it contains no certificate")


def _from_pem(data: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(data)


def _from_der(data: bytes) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(data)]
