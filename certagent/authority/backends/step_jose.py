"""step-ca's JSON Web Keys and tokens, by joserfc: a provisioner's key, as it is or sealed with a password.

A worker alone imports this. A JWE has two serialisations: compact, as in ca.json, and JSON, as in a file of
`step crypto jwk create`. joserfc accepts at most 300,000 rounds of PBKDF2, and step writes 600,000: so the header is
checked here, with a bound of our own.
"""

import json
import warnings
from typing import Any

from joserfc import jwe, jws
from joserfc.errors import DecodeError, JoseError, SecurityWarning
from joserfc.jwe import JWERegistry
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.util import urlsafe_b64decode

from certagent import x509
from certagent.authority.backends.step_token import Token
from certagent.x509.errors import REFUSALS, X509Error

Key = ECKey | RSAKey | OKPKey
KEYS: dict[str, type[Key]] = {"EC": ECKey, "RSA": RSAKey, "OKP": OKPKey}
OF_PEM: dict[str, type[Key]] = {"ecdsa": ECKey, "rsa": RSAKey, "ed25519": OKPKey}  # by the head of a key's name
ALGORITHMS = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA", None: "RS256"}  # by curve
WRAPS = ("PBES2-HS256+A128KW", "PBES2-HS384+A192KW", "PBES2-HS512+A256KW")
CIPHERS = ("A128GCM", "A192GCM", "A256GCM")
HEADER = frozenset(
    {"alg", "enc", "p2c", "p2s", "cty", "typ", "kid"}
)  # none that compresses, or that must be understood
MOST_ROUNDS = 5_000_000
COMPACT = ("protected", "encrypted_key", "iv", "ciphertext", "tag")
NO_KEY = "not a private JSON Web Key of type EC, RSA or OKP (Ed25519)"
NO_JWE = "not a JWE as step writes it (PBES2 and AES-GCM)"


class Checked(JWERegistry):
    """For a header that was checked already: joserfc asks it as often as it needs one."""

    def check_header(self, header: dict[str, Any], check_more: bool = False) -> None:  # noqa: FBT002 - joserfc's
        """Nothing more is asked of it."""


def read_jwk(text: str, password: str = "") -> tuple[Key, str]:
    """Given a private JWK as JSON, or a JWE of one and its password, return the key and its `kid`.

    Without a `kid` that is the thumbprint (RFC 7638). X509Error, whose message quotes nothing of either.
    """
    document = _parts(text)
    if "ciphertext" not in document:
        return _key_of(document)
    if not password:
        raise X509Error("unparsable", "it is encrypted; set provisioner_password")
    try:
        sealed = ".".join([document[part] for part in COMPACT])
        _check(json.loads(urlsafe_b64decode(document["protected"].encode())))
        return _key_of(json.loads(_opened(sealed, password.strip())))
    except DecodeError:
        raise X509Error("unparsable", "the password is wrong") from None
    except (JoseError, LookupError, AttributeError, RecursionError, *REFUSALS):
        raise X509Error("unparsable", NO_JWE) from None


def of_pem(pem: bytes) -> Key:
    """Given a private key as PEM, return it. X509Error."""
    _, kind = x509.parse_key(pem)
    try:
        return OF_PEM[kind.partition("-")[0]].import_key(pem)
    except (JoseError, LookupError, *REFUSALS):
        raise X509Error("unparsable", f"cannot sign a token with a key of type {kind}") from None


def signed(key: Key, token: Token) -> str:
    """Given header and claims, return them signed (RFC 7515, compact); `alg` is set by the key. X509Error."""
    header, claims = token
    algorithm = ALGORITHMS.get(None if isinstance(key, RSAKey) else key.curve_name)
    if algorithm is None:
        raise X509Error("unparsable", "cannot sign a token with a key on that curve")
    payload = json.dumps(claims, separators=(",", ":")).encode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jws.serialize_compact({"alg": algorithm, **header}, payload, key, algorithms=[algorithm])


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


def _check(header: dict[str, Any]) -> None:
    """ValueError where a header is not as step writes it."""
    sound = header.get("alg") in WRAPS and header.get("enc") in CIPHERS and HEADER.issuperset(header)
    if not (sound and isinstance(header.get("p2c"), int) and 0 < header["p2c"] <= MOST_ROUNDS and header.get("p2s")):
        raise ValueError("not as step writes it")


def _opened(sealed: str, password: str) -> bytes:
    """What was sealed. DecodeError where the password is wrong, or the text was changed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # of a short password, which is the operator's choice
        registry = Checked(algorithms=[*WRAPS, *CIPHERS])
        return jwe.decrypt_compact(sealed, OctKey.import_key(password), registry=registry).plaintext or b""


def _key_of(document: Any) -> tuple[Key, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            key = KEYS[document["kty"]].import_key(document)
        usable = key.is_private and (isinstance(key, RSAKey) or key.curve_name in ALGORITHMS)
        kid = str(document.get("kid") or key.thumbprint())
    except (JoseError, LookupError, AttributeError, *REFUSALS):
        usable = False
    if not usable:
        raise X509Error("unparsable", NO_KEY)
    return key, kid
