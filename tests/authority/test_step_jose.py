"""A provisioner's key and tokens by joserfc, against josepy, step and cryptography: other readers of the same RFCs."""

import json
import subprocess
import sys
import warnings

import josepy
import pytest
from joserfc import jwe
from joserfc.errors import SecurityWarning
from joserfc.jwk import OctKey

from certagent import x509
from certagent.authority.backends.step_jose import Checked, of_pem, read_jwk, signed
from tests.servers.stepca import step_file
from tests.tokens import verified

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
def test_token_is_verified_by_its_public_key(kind: str, algorithm: str) -> None:
    """By a key in PEM and by the same as JWK: header and claims are as given, and `alg` follows from the key."""
    pem = x509.generate_key(kind)
    document = of_pem(pem).as_dict(private=True)
    for key in (of_pem(pem), read_jwk(json.dumps(document))[0]):
        token = signed(key, ({"typ": "JWT", "kid": "k", "x5c": ["AA=="]}, {"iss": "me", "exp": 7}))
        header, claims = verified(token, pem)
        assert header == {"alg": algorithm, "typ": "JWT", "kid": "k", "x5c": ["AA=="]}
        assert claims == {"iss": "me", "exp": 7}


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ecdsa-p384", "rsa-2048"])
def test_jwk_of_another_writer_is_read(kind: str) -> None:
    """josepy writes a JWK; the PEM made of it is the same key, its name the thumbprint that josepy computes."""
    pem = x509.generate_key(kind)
    theirs = josepy.JWK.load(pem)
    made, kid = read_jwk(json.dumps(theirs.to_json()))
    assert x509.parse_key(pem) == x509.parse_key(made.as_pem(private=True))
    assert josepy.b64encode(theirs.thumbprint()).decode() == kid


def test_jwk_thumbprint_of_the_rfcs() -> None:
    """A `kid` is kept; without one it is the thumbprint: RFC 8037, appendix A.3."""
    assert read_jwk(json.dumps(EC_KEY | {"kid": "mine"}))[1] == "mine"
    assert read_jwk(json.dumps(ED_KEY))[1] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


BROKEN = [
    "",
    "{",
    "[]",
    "{}",
    json.dumps({k: v for k, v in EC_KEY.items() if k != "d"}),
    json.dumps(EC_KEY | {"d": "AAAA"}),
    json.dumps(EC_KEY | {"crv": "P-1"}),
    json.dumps({"kty": "oct", "k": "c2VjcmV0"}),
    json.dumps(EC_KEY | {"kty": ["EC"]}),
    json.dumps(EC_KEY | {"x": 7}),
    json.dumps(EC_KEY | {"crv": "secp256k1"}),
    json.dumps(ED_KEY | {"crv": "X25519"}),
    json.dumps(ED_KEY | {"d": "AA"}),
    "[" * 100_000,
]


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_jwk_not_private_is_error(text: str) -> None:
    """One sentence, which quotes nothing of it."""
    with pytest.raises(x509.X509Error) as caught:
        read_jwk(text)
    assert "jpsQ" not in str(caught.value)
    assert "JSON Web Key" in str(caught.value)


@pytest.mark.real
def test_jwk_encrypted_by_step_is_opened() -> None:
    """A file of `step crypto jwk create`, and its compact form as in ca.json: the key of the public file beside it."""
    sealed, public = step_file("step_cli_key_priv.jwk"), json.loads(step_file("step_cli_key_pub.jwk"))
    parts = json.loads(sealed)
    compact = ".".join(parts[k] for k in ("protected", "encrypted_key", "iv", "ciphertext", "tag"))
    for text in (sealed, compact, f"{compact}\n"):
        key, kid = read_jwk(text, "pass\n")
        found = josepy.JWK.load(key.as_pem(private=True)).public_key().to_json()
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
        read_jwk(json.dumps(sealed), password)


def sealed_by(rounds: int = 1000, alg: str = "PBES2-HS256+A128KW", enc: str = "A256GCM", **more: object) -> str:
    """A JWE of a key, as anybody could write it."""
    anything = Checked(algorithms=[alg, enc, "DEF"])
    header = {"alg": alg, "enc": enc, "p2c": rounds, **more}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jwe.encrypt_compact(header, json.dumps(EC_KEY), OctKey.import_key("pass"), registry=anything)


def with_header(**header: object) -> str:
    """The same with another header in its place."""
    changed = josepy.b64encode(json.dumps({"alg": "PBES2-HS256+A128KW", "enc": "A256GCM", **header}).encode())
    return ".".join((changed.decode(), *sealed_by().split(".")[1:]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alg", "rounds"),
    [("PBES2-HS256+A128KW", 600_000), ("PBES2-HS384+A192KW", 100_000), ("PBES2-HS512+A256KW", 1000)],
)
def test_jwk_sealed_in_each_way_of_step_is_opened(alg: str, rounds: int) -> None:
    """Today's step writes 600,000 rounds, which joserfc alone would refuse; spaces around a password mean nothing."""
    assert read_jwk(sealed_by(rounds, alg), " pass\n")[1] == read_jwk(json.dumps(EC_KEY))[1]


@pytest.mark.parametrize(
    "text",
    [
        with_header(p2s="AAAA", p2c=5_000_001),  # minutes of processor time
        with_header(p2s="AAAA", p2c=0),
        with_header(p2s="AAAA", p2c="1000"),
        with_header(p2c=1000),
        with_header(p2s="AAAA", p2c=1000, crit=["exp"]),
        sealed_by(enc="A128CBC-HS256"),
        sealed_by(zip="DEF"),  # it might unpack to any size
    ],
    ids=["too many rounds", "none", "a text", "no salt", "unknown needs", "another cipher", "compressed"],
)
def test_jwe_header_is_bounded(text: str) -> None:
    """What a file says costs a worker at most seconds and its own size."""
    with pytest.raises(x509.X509Error, match="not a JWE as step writes it"):
        read_jwk(text, "pass")


@pytest.mark.slow
def test_joserfc_is_no_part_of_the_agent() -> None:
    """Neither the agent nor the child that has its keys imports it: the worker that asks a step-ca does."""
    code = "import sys, certagent.agent.start, certagent.keys.operations; print('joserfc' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
