"""Whether Go takes a leaf's key and signature: weak ones are a warning, those that no handshake takes critical.

Sources: Go's crypto/tls has no TLS 1.3 signature scheme for P-224, and cockroach's nodes speak nothing older to each
other; since Go 1.20.7 (cockroach v23.2) it refuses certificates with RSA keys over 8192 bits. A CA is not judged here:
Go verifies a chain by a P-224 key.
"""

from typing import Literal

from certagent.core.facts import Leaf

LEAST_RSA, MOST_RSA = 2048, 8192
SIGNATURES = frozenset({"sha256", "sha384", "sha512", ""})  # that Go's verifier takes; "" is Ed25519's
UNUSABLE_KINDS = frozenset({"dsa", "ed448", "unknown"})
UNUSABLE_CURVES = frozenset({"ecdsa-p224"})


def weakness(leaf: Leaf) -> tuple[Literal["warning", "critical"], str] | None:
    """Given a leaf, return how bad it is and one sentence; None where key and signature are strong enough."""
    if unusable(leaf.key):
        return "critical", f"no TLS handshake with Go accepts a key of type {leaf.key}"
    if _bits(leaf.key) < LEAST_RSA or leaf.signature not in SIGNATURES:
        return "warning", f"weak: {leaf.key}, signed with {leaf.signature or 'ed25519'}"
    return None


def unusable(key: str) -> bool:
    """Whether a kind of key (`rsa-9216`) is one that no handshake takes."""
    too_long = key.startswith("rsa-") and _bits(key) > MOST_RSA
    return too_long or key in UNUSABLE_CURVES or key.partition("-")[0] in UNUSABLE_KINDS


def _bits(key: str) -> int:
    """Of an RSA key; any other kind counts as long enough."""
    kind, _, bits = key.partition("-")
    return int(bits) if kind == "rsa" and bits.isdigit() else LEAST_RSA
