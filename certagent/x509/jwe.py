"""A private JSON Web Key that step wrote with a password: JWE (RFC 7516) by PBES2 (RFC 7518, section 4.8) and AES-GCM.

Both serialisations: compact, as in ca.json, and JSON, as in a file of `step crypto jwk create`.
"""

import json
from hashlib import pbkdf2_hmac
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from certagent.x509.errors import REFUSALS, X509Error
from certagent.x509.jws import key_of_jwk, unbase64url

WRAPS = {
    "PBES2-HS256+A128KW": ("sha256", 16),
    "PBES2-HS384+A192KW": ("sha384", 24),
    "PBES2-HS512+A256KW": ("sha512", 32),
}
MOST_ROUNDS = 5_000_000  # step writes 100,000 and later 600,000
COMPACT = ("protected", "encrypted_key", "iv", "ciphertext", "tag")


def read_jwk(text: str, password: str = "") -> tuple[bytes, str]:
    """Given a private JWK as JSON, or a JWE of one and its password, return the key as PEM and its `kid`.

    X509Error, whose message quotes nothing of either.
    """
    document = _parts(text)
    if "ciphertext" not in document:
        return key_of_jwk(document)
    if not password:
        raise X509Error("unparsable", "it is encrypted; set provisioner_password")
    try:
        clear = json.loads(_decrypt(document, password.strip().encode()))
    except (InvalidTag, InvalidUnwrap):
        raise X509Error("unparsable", "the password is wrong") from None
    except (KeyError, RecursionError, *REFUSALS):
        raise X509Error("unparsable", "not a JWE as step writes it (PBES2 and AES-GCM)") from None
    return key_of_jwk(clear)


def _parts(text: str) -> dict[str, Any]:
    """A JWK, or the parts of a JWE."""
    pieces = text.strip().split(".")
    if len(pieces) == len(COMPACT) and "{" not in pieces[0]:
        return dict(zip(COMPACT, pieces, strict=True))
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise X509Error("unparsable", "not a JSON Web Key")
    return found


def _decrypt(parts: dict[str, Any], password: bytes) -> bytes:
    header = json.loads(unbase64url(parts["protected"]))
    digest, size = WRAPS[header["alg"]]
    rounds = int(header["p2c"])
    if not header["enc"].endswith("GCM") or not 0 < rounds <= MOST_ROUNDS:
        raise ValueError("not as step writes it")
    salt = header["alg"].encode() + b"\0" + unbase64url(header["p2s"])
    wrapping = pbkdf2_hmac(digest, password, salt, rounds, size)
    content = aes_key_unwrap(wrapping, unbase64url(parts["encrypted_key"]))
    sealed = unbase64url(parts["ciphertext"]) + unbase64url(parts["tag"])
    return AESGCM(content).decrypt(unbase64url(parts["iv"]), sealed, parts["protected"].encode())
