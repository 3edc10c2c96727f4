"""Choose one of the certificate chains that an ACME CA offers."""

import re

from certagent import x509
from certagent.authority.errors import AuthorityError
from certagent.core.facts import Leaf
from certagent.core.words import framed

BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
FINGERPRINT = re.compile(r"[0-9a-f]{64}")
LONGEST = 20


def without_root(pem: str) -> tuple[str, tuple[Leaf, ...]]:
    """Given a chain as PEM, leaf first, return it without its root, and the facts of all it had. AuthorityError."""
    blocks = BLOCK.findall(pem)
    if not 0 < len(blocks) <= LONGEST:
        raise AuthorityError("cannot use the CA's answer: it is not a certificate chain", kind="malformed")
    try:
        facts = x509.parse_certificates("\n".join(blocks).encode())
    except x509.X509Error as error:
        raise AuthorityError(f"cannot use the CA's answer: {error.message}", kind="malformed") from error
    kept = [b for i, b in enumerate(blocks) if i == 0 or not x509.is_root(b.encode())]
    return "\n".join(kept) + "\n", facts


def preferred(chains: list[str], wish: str, roots: tuple[Leaf, ...]) -> str:
    """Given the default chain and its alternatives, return the one that ends at the wished root, without that root.

    `wish` is the common name or whole subject of the topmost issuer, or a root's SHA-256 (one that the chain holds, or
    one of `roots`); "" takes the default. AuthorityError if no chain matches: a chain to another root is not
    acceptable.
    """
    parsed = [without_root(chain) for chain in chains]
    if not wish:
        return parsed[0][0]
    for kept, facts in parsed:
        if _ends_at(facts, wish, roots):
            return kept
    tops = framed(" | ".join(dict.fromkeys(facts[-1].issuer for _, facts in parsed)))
    raise AuthorityError(f"cannot find the preferred chain {wish!r}: the CA's chains end at {tops}", kind="refused")


def _ends_at(facts: tuple[Leaf, ...], wish: str, roots: tuple[Leaf, ...]) -> bool:
    top = facts[-1]
    hexed = wish.replace(":", "").lower()
    if FINGERPRINT.fullmatch(hexed):
        known = {r.subject for r in roots if r.fingerprint == hexed}
        return any(f.fingerprint == hexed for f in facts) or top.issuer in known
    return wish == top.issuer or f"CN={wish}" in top.issuer.split(",")
