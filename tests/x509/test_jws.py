"""Tokens signed by a managed key, verified as other readers of the same RFCs do."""

import pytest

from certagent import x509
from tests.tokens import verified


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [("ecdsa-p256", "ES256"), ("ecdsa-p384", "ES384"), ("ed25519", "EdDSA"), ("rsa-2048", "RS256")],
)
def test_jws_token_is_verified_by_its_public_key(kind: str, algorithm: str) -> None:
    """The signature is of the exact header and claims, in the form that RFC 7518 gives each algorithm."""
    pem = x509.generate_key(kind)
    header, claims = verified(x509.sign_jws(pem, {"typ": "JWT", "kid": "k"}, {"iss": "me", "exp": 7}), pem)
    assert header == {"alg": algorithm, "typ": "JWT", "kid": "k"}
    assert claims == {"iss": "me", "exp": 7}
