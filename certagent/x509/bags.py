"""PKCS#7 bags of certificates, and whatever else CAs hand to people.

Not re-exported by the package: cryptography's PKCS#7 brings the standard library's `email` along, half a megabyte that
a daemon without such a CA does not need. An EST worker has it from its start, before it gives up reading files.
"""

import re
from base64 import b64decode

from cryptography.hazmat.primitives.serialization import pkcs7

from certagent.x509.answers import PEM, bounded
from certagent.x509.certificate import read
from certagent.x509.der import OID, Reader
from certagent.x509.errors import REFUSALS, X509Error, reason_of

LABELS = rb"(?P<kind>(?:X509 )?CERTIFICATE|PKCS7|CMS)"
BLOCK = re.compile(rb"-----BEGIN " + LABELS + rb"-----(?P<body>.*?)-----END (?P=kind)-----", re.DOTALL)
INDEFINITE = b"\x30\x80"  # how BER begins; certificates are DER


def from_pkcs7(der: bytes) -> bytes:
    """Given a PKCS#7 certs-only message as DER, return its certificates as PEM, in no order. X509Error."""
    try:
        found = pkcs7.load_der_pkcs7_certificates(der)
        bounded(found)
        return b"".join(c.public_bytes(PEM) for c in found)
    except REFUSALS as error:
        raise X509Error("unparsable", f"not PKCS#7 with certificates: {reason_of(error)}") from error


def any_certificates(data: bytes) -> bytes:
    """Given certificates in any form that CAs and people send (PEM, DER, PKCS#7 in either), return them as PEM.

    A lenient reader: what stands around the PEM blocks, and PKCS#7 under the label of a certificate, as Windows CAs
    send it, are no obstacle. X509Error if there is none, or if one is refused by Go: the sentence says why.
    """
    if not data.strip():
        raise X509Error("empty", "the file is empty")
    try:
        ders = [_content(found["body"]) for found in BLOCK.finditer(data)] or [data]
        pems = [pem for der in ders for pem in _certificates(der)]
        bounded(pems)
    except REFUSALS as error:
        raise X509Error("unparsable", "it contains no certificate") from error
    if not pems:
        raise X509Error("unparsable", "it contains no certificate")
    return b"".join(pems)


def _content(body: bytes) -> bytes:
    """What a PEM block contains; header lines have a colon."""
    lines = (line for line in body.split(b"\n") if b":" not in line)
    return b64decode(b"".join(b"".join(lines).split()), validate=True)


def _certificates(der: bytes) -> list[bytes]:
    if der[:2] == INDEFINITE or Reader(der).inside().follows(OID):
        return [c.public_bytes(PEM) for c in pkcs7.load_der_pkcs7_certificates(der)]
    return [read(der).pem]
