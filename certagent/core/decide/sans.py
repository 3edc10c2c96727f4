"""The names to request: those that are configured, else those of the live certificate; none is dropped silently.

The live certificate's `crdb://` URIs are always asked for again: without them it would be valid for every tenant.
"""

from certagent.core.facts import Adopted, Leaf, Pair, Snapshot
from certagent.core.facts.certificates import is_scope
from certagent.core.hosts import hosts, hosts_of
from certagent.core.names import NODE
from certagent.core.policy import Want
from certagent.core.principals import NODE_USER, refused_scope


def asked_by(snapshot: Snapshot, want: Want, leaf: Leaf | None) -> bool:
    """Whether we asked for it by this very want: whatever other names it has are the CA's own doing."""
    if leaf is None or leaf.fingerprint not in snapshot.issued:
        return False
    return Adopted(want.name.stem, leaf.fingerprint, want.digest) in snapshot.adopted


def names(want: Want, live: Leaf | None) -> tuple[str, ...]:
    """`names` are authoritative; without any the live certificate's are kept."""
    if want.names is not None or live is None:
        return want.names or ()
    kept = (n.lower().rstrip(".") for n in live.dns if want.principal or n != _principal_san(want))
    return (*dict.fromkeys(kept), *live.ips)


def uris(snapshot: Snapshot, want: Want, pair: Pair) -> tuple[str, ...]:
    """The URIs to keep: those of the scheme `crdb`, and those that `--node-cert-san` or `--root-cert-san` name.

    Of a live certificate that cannot be read, those of the newest one before it.
    """
    if pair.leaf or pair.cert is None:
        named = {san for terms in want.terms for san in (*terms.node_sans, *terms.root_sans)}
        return tuple(u for u in pair.leaf.uris if is_scope(u) or f"URI:{u}" in named) if pair.leaf else ()
    kept = [(g.number, g.pair.leaf.scopes) for g in snapshot.generations if g.pair.name == pair.name and g.pair.leaf]
    return max(kept, default=(0, ()))[1]


def misdirected(want: Want, live: Leaf | None) -> str | None:
    """Why a renewal that keeps the live certificate's URIs would be as useless as it is, or None."""
    problem = refused_scope(want.name, want.principal, live) if live and live.scopes else ""
    if not problem:
        return None
    return f"the live certificate {problem}, and a renewal keeps its URIs; to have it issued without them, remove it"


def vanishing(snapshot: Snapshot, want: Want, live: Leaf | None) -> str | None:
    """Why a renewal would drop names without permission, or None."""
    missing = _dropped(want, live)
    if not missing or asked_by(snapshot, want, live):
        return None
    has = f"the live certificate has names that are not configured ({', '.join(missing)})"
    return f"{has}: add them to `names`, or set drop_names = true"


def _dropped(want: Want, live: Leaf | None) -> list[str]:
    if want.names is None or want.drop_names or live is None or not want.server:
        return []
    if not want.names:
        return sorted(hosts_of(live).values())
    kept = (*want.names, *(p for p in (want.principal, _principal_san(want)) if p))
    asked = hosts(n.removesuffix(".") for n in kept)
    return [text for (kind, name), text in hosts_of(live).items() if (kind, name.removesuffix(".")) not in asked]


def _principal_san(want: Want) -> str | None:
    """`cockroach cert` writes the principal of a node among the DNS SANs, too: no name of a host."""
    return NODE_USER if want.name == NODE else None
