"""Which trust bundles have to verify a certificate, and as what; certs_dir/verify.py answers whether they do.

cockroach falls back on `ca.crt` only where there is no `ca-client.crt`, `ca-ui.crt` or `ca-client-tenant.crt` at all:
one that cannot be read leaves the server without a configuration for TLS. What counts is the file, not its content.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from certagent.core.facts import Leaf, Pair, Pairs
from certagent.core.names import Name
from certagent.core.roles import SYSTEM, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A bundle that has to verify the certificate; with `system` the system's roots may do so instead."""

    bundle: str
    usage: Usage | Literal["any"]
    system: bool = False


def verifications(name: Name, leaf: Leaf, *, bundles: frozenset[str], split: bool) -> tuple[Verification, ...]:
    """Given a certificate and the bundles that are there, return every verification that it must pass.

    `split`: `client.node` is the node's client certificate. A usage that the certificate itself lacks is a finding of
    its own (cert.eku): its chain is verified for any usage.
    """
    kind = name.kind
    system = SYSTEM in kind.bundles_in(bundles)
    found = [
        Verification(bundle=by.bundle, usage=by.usage if allows(leaf, by.usage) else "any", system=system)
        for by in kind.verifiers(bundles, split=split)
    ]
    more = {usage for usage in kind.asked_as if usage not in kind.verified_as and allows(leaf, usage)}
    return (*found, *(Verification(bundle=kind.bundle_in(bundles), usage=usage) for usage in more))


@lru_cache(maxsize=1024)
def bundles_for(name: Name, bundles: frozenset[str], *, split: bool) -> tuple[str, ...]:
    """Given a name and the bundles that are there, return those that have to verify its certificate."""
    return tuple(dict.fromkeys(by.bundle for by in name.kind.verifiers(bundles, split=split)))


def allows(leaf: Leaf, usage: Usage) -> bool:
    """Whether the extended key usage of the certificate itself permits that usage."""
    return leaf.eku is None or bool({f"{usage}Auth", "any"} & set(leaf.eku))


def is_split(pairs: Iterable[Pair], *, wanted: bool) -> bool:
    """Whether `client.node` is the node's client certificate: because the file is there, or is wanted."""
    return wanted or (pairs if isinstance(pairs, Pairs) else Pairs(pairs)).split
