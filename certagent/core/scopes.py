"""For which users and tenants the next certificate of a pair may be valid: its `crdb://` URI SANs.

A certificate without one is valid for every tenant, so what is known of a pair outlives its files: the ledger records
the URIs of each pair that was issued or adopted, and the files that processes have loaded and the earlier generations
show them too. Only the configuration or an operator's own pair widens what a pair is valid for, and the second not in
silence.
"""

from dataclasses import dataclass
from typing import Literal

from certagent.core.facts import Leaf, Pair, Snapshot
from certagent.core.facts.certificates import is_scope
from certagent.core.policy import Want
from certagent.core.principals import scope_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The URIs that the next certificate must have, and no others of the scheme `crdb`; () for every tenant."""

    uris: tuple[str, ...]
    source: Literal["configured", "live", "earlier"]
    contradicted: bool = False  # the live pair, which certagent did not issue, is valid for more


def limit(snapshot: Snapshot, want: Want | None, pair: Pair) -> Limit:
    """Given a want and its live pair, return for what the next certificate may be valid.

    The configuration decides, else the live certificate. One that is missing or unreadable, or that is valid for more
    than the one before and was not issued by certagent, does not: then what was known before it does.
    """
    if want is not None and want.uris is not None:
        return Limit(uris=tuple(u for u in want.uris if is_scope(u)), source="configured")
    leaf = pair.leaf
    if leaf is None:
        return Limit(uris=earlier(snapshot, pair), source="earlier")
    issuing = want is not None and want.issued_in(snapshot.directory)
    if issuing and leaf.fingerprint not in snapshot.issued and added(before := earlier(snapshot, pair), leaf):
        return Limit(uris=before, source="earlier", contradicted=pair.matched)
    return Limit(uris=leaf.scopes, source="live")


def earlier(snapshot: Snapshot, pair: Pair) -> tuple[str, ...]:
    """The URIs of the certificates before the live one: as recorded, else of the newest of which any are known."""
    if (recorded := snapshot.scopes.get(pair.name.stem)) is not None:
        return recorded
    loaded = [known for each in reversed(snapshot.loaded) if (known := each.pair(pair.name.stem))]
    kept = sorted((g for g in snapshot.generations if g.pair.name == pair.name), key=lambda g: -g.number)
    found = (p.leaf.scopes for p in (*loaded, *(g.pair for g in kept)) if p.leaf and p.leaf.scopes)
    return next(found, ())


def added(limits: tuple[str, ...], leaf: Leaf) -> tuple[str, ...]:
    """Given the URIs that limit a pair, return those of a leaf that are not among them; "every tenant" for none."""
    if not limits:
        return ()
    known = {scope_of(uri) or uri for uri in limits}
    return tuple(u for u in leaf.scopes if (scope_of(u) or u) not in known) if leaf.scopes else ("every tenant",)


def widening(limits: tuple[str, ...], leaf: Leaf) -> str | None:
    """Why a certificate must not go live: it would be valid for more, or not for all, that the limits allow."""
    have = {scope_of(uri) or uri for uri in leaf.scopes}
    if lost := [uri for uri in limits if (scope_of(uri) or uri) not in have]:
        return f"the certificate lacks the URI SAN {lost[0]}, which limits for whom the pair is valid"
    if more := added(limits, leaf):
        return f"the certificate has the URI SAN {more[0]}, and the pair is limited to {', '.join(limits)}"
    return None
