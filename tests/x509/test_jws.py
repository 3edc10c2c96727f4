"""Tokens signed by a key in PEM, and JSON Web Keys, against josepy and step: other readers of the same RFCs."""

import json

import josepy
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from certagent import x509
from certagent.x509.jws import unbase64url
from tests.servers.stepca import step_file

# RFC 7515, appendix A.3.1, and RFC 8037, appendix A.1 with the thumbprint of its A.3.
EC_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}
ED_KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [("ecdsa-p256", "ES256"), ("ecdsa-p384", "ES384"), ("ed25519", "EdDSA"), ("rsa-2048", "RS256")],
)
def test_jws_token_is_verified_by_its_public_key(kind: str, algorithm: str) -> None:
    """The signature is of the exact header and claims, in the form that RFC 7518 gives each algorithm."""
    pem = x509.generate_key(kind)
    head, body, signature = x509.sign_jws(pem, {"typ": "JWT", "kid": "k"}, {"iss": "me", "exp": 7}).split(".")
    assert {"alg": algorithm, "typ": "JWT", "kid": "k"} == json.loads(unbase64url(head))
    assert {"iss": "me", "exp": 7} == json.loads(unbase64url(body))
    signed, raw = f"{head}.{body}".encode(), unbase64url(signature)
    public = serialization.load_pem_private_key(pem, None).public_key()
    if isinstance(public, ec.EllipticCurvePublicKey):
        half = len(raw) // 2
        der = encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
        digest = hashes.SHA256() if kind == "ecdsa-p256" else hashes.SHA384()
        assert (public.key_size + 7) // 8 == half
        public.verify(der, signed, ec.ECDSA(digest))
    elif isinstance(public, ed25519.Ed25519PublicKey):
        public.verify(raw, signed)
    else:
        public.verify(raw, signed, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ecdsa-p384", "rsa-2048"])
def test_jwk_of_another_writer_is_read(kind: str) -> None:
    """josepy writes a JWK; the PEM made of it is the same key, its name the thumbprint that josepy computes."""
    pem = x509.generate_key(kind)
    theirs = josepy.JWK.load(pem)
    made, kid = x509.read_jwk(json.dumps(theirs.to_json()))
    assert x509.parse_key(pem) == x509.parse_key(made)
    assert josepy.b64encode(theirs.thumbprint()).decode() == kid


def test_jwk_thumbprint_of_the_rfcs() -> None:
    """A `kid` is kept; without one it is the thumbprint: RFC 8037, appendix A.3."""
    assert x509.read_jwk(json.dumps(EC_KEY | {"kid": "mine"}))[1] == "mine"
    assert x509.read_jwk(json.dumps(ED_KEY))[1] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


BROKEN = [
    "",
    "{",
    "[]",
    "{}",
    json.dumps({k: v for k, v in EC_KEY.items() if k != "d"}),
    json.dumps(EC_KEY | {"d": "AAAA"}),
    json.dumps(EC_KEY | {"crv": "P-1"}),
    json.dumps({"kty": "oct", "k": "c2VjcmV0"}),
    "[" * 100_000,
]


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_jwk_not_private_is_error(text: str) -> None:
    """One sentence, which quotes nothing of it."""
    with pytest.raises(x509.X509Error) as caught:
        x509.read_jwk(text)
    assert "jpsQ" not in str(caught.value)
    assert "JSON Web Key" in str(caught.value)


@pytest.mark.real
def test_jwk_encrypted_by_step_is_opened() -> None:
    """A file of `step crypto jwk create`, and its compact form as in ca.json: the key of the public file beside it."""
    sealed, public = step_file("step_cli_key_priv.jwk"), json.loads(step_file("step_cli_key_pub.jwk"))
    parts = json.loads(sealed)
    compact = ".".join(parts[k] for k in ("protected", "encrypted_key", "iv", "ciphertext", "tag"))
    for text in (sealed, compact, f"{compact}\n"):
        pem, kid = x509.read_jwk(text, "pass\n")
        found = josepy.JWK.load(pem).public_key().to_json()
        assert (public["kid"], public["x"], public["y"]) == (kid, found["x"], found["y"])


@pytest.mark.real
@pytest.mark.parametrize(
    ("change", "password", "message"),
    [
        ({}, "", "set provisioner_password"),
        ({}, "wrong", "the password is wrong"),
        ({"tag": "AAAAAAAAAAAAAAAAAAAAAA"}, "pass", "the password is wrong"),
        ({"protected": "e30"}, "pass", "not a JWE as step writes it"),
        ({"iv": 7}, "pass", "not a JWE as step writes it"),
    ],
    ids=["no password", "another", "a changed tag", "an empty header", "a number for text"],
)
def test_jwk_encrypted_with_wrong_password_is_error(change: dict[str, object], password: str, message: str) -> None:
    """One sentence that says why."""
    sealed = json.loads(step_file("step_cli_key_priv.jwk")) | change
    with pytest.raises(x509.X509Error, match=message):
        x509.read_jwk(json.dumps(sealed), password)
