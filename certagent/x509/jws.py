"""JSON Web Signatures (RFC 7515, compact form) by a key in PEM, and private JSON Web Keys (RFC 7517) as PEM.

Only what step-ca's tokens need. Rejected: josepy, which is installed for ACME only and has no Ed25519. The agent itself
signs tokens with a managed key, and should not need a library of a worker for that.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from certagent.x509.errors import REFUSALS, X509Error
from certagent.x509.keys import load_key

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
ECDSA: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "secp256r1": ("ES256", hashes.SHA256()),
    "secp384r1": ("ES384", hashes.SHA384()),
    "secp521r1": ("ES512", hashes.SHA512()),
}
PUBLIC = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}


def base64url(data: bytes) -> str:
    """Base64 with the alphabet of URLs, without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unbase64url(text: str) -> bytes:
    """The other way round; ValueError."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


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


def key_of_jwk(jwk: Any) -> tuple[bytes, str]:
    """Given a private JWK, return the key as PEM and its `kid`: its thumbprint (RFC 7638) where none is named.

    X509Error, whose message quotes nothing of it.
    """
    try:
        key = _private(jwk)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return pem, str(jwk.get("kid") or thumbprint(jwk))
    except (KeyError, AttributeError, *REFUSALS):
        raise X509Error("unparsable", "not a private JSON Web Key of type EC, RSA or OKP (Ed25519)") from None


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """RFC 7638: the digest of the public members alone."""
    public = {name: jwk[name] for name in PUBLIC[jwk["kty"]]}
    return base64url(sha256(json.dumps(public, separators=(",", ":"), sort_keys=True).encode()).digest())


def _private(jwk: Mapping[str, Any]) -> PrivateKey:
    if jwk["kty"] == "OKP":
        if jwk["crv"] != "Ed25519":
            raise ValueError("not a key that signs")
        return ed25519.Ed25519PrivateKey.from_private_bytes(unbase64url(jwk["d"]))
    number = {name: int.from_bytes(unbase64url(jwk[name]), "big") for name in _members(jwk)}
    if jwk["kty"] == "EC":
        public = ec.EllipticCurvePublicNumbers(number["x"], number["y"], CURVES[jwk["crv"]])
        return ec.EllipticCurvePrivateNumbers(number["d"], public).private_key()
    return rsa.RSAPrivateNumbers(
        number["p"],
        number["q"],
        number["d"],
        number["dp"],
        number["dq"],
        number["qi"],
        rsa.RSAPublicNumbers(number["e"], number["n"]),
    ).private_key()


def _members(jwk: Mapping[str, Any]) -> tuple[str, ...]:
    return ("x", "y", "d") if jwk["kty"] == "EC" else ("n", "e", "d", "p", "q", "dp", "dq", "qi")
