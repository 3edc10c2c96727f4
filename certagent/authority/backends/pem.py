"""The PEM that CAs return: single certificates, a chain in the order of the wire, DER.

An answer is untrusted: what cannot be parsed is an error here, and the pre-install checks judge what it means.
"""

import re
from base64 import b64decode
from collections.abc import Iterable
from typing import Any

from certagent import x509
from certagent.authority.errors import AuthorityError

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
BODY = re.compile(r"-----BEGIN [A-Z0-9 ]+-----([A-Za-z0-9+/=\s]+)-----END ")
MOST = 64  # certificates of one answer: a federation of roots has a handful


def certificates(texts: Iterable[Any]) -> list[str]:
    """Given texts with PEM in them, return their certificates, each once and in order. Raises AuthorityError."""
    found: list[str] = []
    for text in texts:
        if not isinstance(text, str):
            raise AuthorityError("cannot use the answer: a certificate in it is not text", kind="malformed")
        found += [m.group() for m in CERTIFICATE.finditer(text)]
    lines = ((line.strip() for line in block.splitlines()) for block in found)
    found = list(dict.fromkeys("".join(f"{line}\n" for line in each if line) for each in lines))
    if not found or len(found) > MOST:
        raise AuthorityError(f"cannot use the answer: it contains {len(found)} certificates", kind="malformed")
    return found


def chain(texts: Iterable[Any]) -> str:
    """Given a leaf and then what is above it, return its chain as one PEM text, arranged, without a root.

    The CA says which one is the leaf: the pre-install checks refuse one for another key. Raises AuthorityError
    if one cannot be parsed, or the leaf is not a certificate: an issuer must not take its place.
    """
    given = [*texts]
    if any(isinstance(text, str) and not CERTIFICATE.search(text) for text in given[:1]):
        raise AuthorityError("cannot use the answer: the certificate is not PEM", kind="malformed")
    pem = "".join(certificates(given)).encode()
    try:
        return x509.arranged(pem, x509.parse_certificates(pem)[0].spki).decode()
    except x509.X509Error as error:
        raise AuthorityError(f"cannot use the answer: {error}", kind="malformed") from error


def der(pem: str) -> bytes:
    """Given one PEM block of any kind, return its bytes. Raises AuthorityError."""
    found = BODY.search(pem)
    try:
        return b64decode("".join(found[1].split()), validate=True) if found else b""
    except ValueError as error:
        raise AuthorityError("cannot use the answer: it contains a broken PEM block", kind="malformed") from error
