"""A JSON Web Signature (RFC 7515, compact form) by a managed key: the token by which step-ca renews a live certificate.

The child that has the keys makes it. Rejected: joserfc, by which a worker signs with its own credentials. The child is
forked from a process that has all libraries, and is confined before it gets a key, so it imports nothing: joserfc would
stay in the memory of every agent for these lines. Nor may a worker sign, because a managed key never gets there.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from certagent.x509.errors import X509Error
from certagent.x509.keys import load_key

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
ECDSA: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "secp256r1": ("ES256", hashes.SHA256()),
    "secp384r1": ("ES384", hashes.SHA384()),
    "secp521r1": ("ES512", hashes.SHA512()),
}


def base64url(data: bytes) -> str:
    """Base64 with the alphabet of URLs, without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def sign_jws(key_pem: bytes, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """Given a private key as PEM, return the claims signed; `alg` is set by the key. X509Error."""
    key = load_key(key_pem)
    parts = ({"alg": _algorithm(key), **header}, claims)
    text = ".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{text}.{base64url(_signature(key, text.encode()))}"


def _algorithm(key: PrivateKey) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        if key.curve.name not in ECDSA:
            raise X509Error("unparsable", f"cannot sign a token with a key on the curve {key.curve.name}")
        return ECDSA[key.curve.name][0]
    return "RS256" if isinstance(key, rsa.RSAPrivateKey) else "EdDSA"


def _signature(key: PrivateKey, data: bytes) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = (key.curve.key_size + 7) // 8
        pair = decode_dss_signature(key.sign(data, ec.ECDSA(ECDSA[key.curve.name][1])))
        return b"".join(number.to_bytes(size, "big") for number in pair)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(data)
