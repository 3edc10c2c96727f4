"""What a token says, once its signature was verified by cryptography alone."""

import json
from base64 import urlsafe_b64decode
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512(),
}  # fmt: skip


def verified(token: str, key_pem: bytes) -> tuple[Any, Any]:
    """Header and claims of a token in compact form. Raises InvalidSignature where the key did not sign it."""
    head, body, signature = token.split(".")
    signed, raw = f"{head}.{body}".encode(), _decoded(signature)
    public = serialization.load_pem_private_key(key_pem, None).public_key()
    if isinstance(public, ec.EllipticCurvePublicKey):
        half = len(raw) // 2
        assert (public.key_size + 7) // 8 == half
        der = encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
        public.verify(der, signed, ec.ECDSA(DIGESTS[public.curve.name]))
    elif isinstance(public, ed25519.Ed25519PublicKey):
        public.verify(raw, signed)
    else:
        assert isinstance(public, rsa.RSAPublicKey)
        public.verify(raw, signed, padding.PKCS1v15(), hashes.SHA256())
    return json.loads(_decoded(head)), json.loads(_decoded(body))


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
