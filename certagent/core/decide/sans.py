"""The names to request: those that are configured, else those of the live certificate; none is dropped silently.

The `crdb://` URIs that the pair is limited to are always among them: without one it would be valid for every tenant.
"""

from functools import lru_cache

from certagent.core.facts import Adopted, Leaf, Pair, Snapshot
from certagent.core.facts.certificates import is_scope
from certagent.core.hosts import hosts, hosts_of
from certagent.core.names import NODE
from certagent.core.policy import Want
from certagent.core.principals import NODE_USER, refused_scopes, tenants_of
from certagent.core.scopes import added, limit


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
    """The URIs to request: configured ones, those that limit the pair, and live ones that cockroach's flags name."""
    named = {san for terms in want.terms for san in (*terms.node_sans, *terms.root_sans)}
    others = (u for u in (pair.leaf.uris if pair.leaf else ()) if f"URI:{u}" in named and not is_scope(u))
    return tuple(dict.fromkeys((*(want.uris or ()), *limit(snapshot, want, pair).uris, *others)))


def misdirected(snapshot: Snapshot, want: Want, pair: Pair) -> str | None:
    """Why servers would refuse a certificate with the URIs that it has to have, or None."""
    found = limit(snapshot, want, pair)
    problem = refused_scopes(want.name, want.principal, found.uris, tenants_of(want.uris))
    if not problem:
        return None
    if found.source == "configured":
        return f"the certificate that `uris` asks for {problem}"
    whose = "live" if found.source == "live" else "previous"
    return f"the {whose} certificate {problem}, and a renewal keeps its URIs"


def widened(snapshot: Snapshot, want: Want, pair: Pair) -> str | None:
    """Why the live certificate cannot say for whom the next one is valid, or None."""
    if pair.leaf is None or pair.leaf.fingerprint in snapshot.issued:
        return None
    found = limit(snapshot, want, pair)
    if not found.contradicted:
        return None
    more = ", ".join(added(found.uris, pair.leaf))
    return f"the certificate is valid for {more}; the one before, which it replaced, for {', '.join(found.uris)} only"


def set_uris(stem: str) -> str:
    """The setting that decides for whom a pair is valid."""
    return f'set `uris` under [certs_dir.file."{stem}"]: the crdb:// URIs that it should have, or [] for every tenant'


def vanishing(snapshot: Snapshot, want: Want, live: Leaf | None) -> str | None:
    """Why a renewal would drop names without permission, or None."""
    missing = _dropped(want, live)
    if not missing or asked_by(snapshot, want, live):
        return None
    has = f"the live certificate has names that are not configured ({', '.join(missing)})"
    return f"{has}: add them to `names`, or set drop_names = true"


@lru_cache(maxsize=4096)
def _dropped(want: Want, live: Leaf | None) -> tuple[str, ...]:
    if want.names is None or want.drop_names or live is None or not want.server:
        return ()
    if not want.names:
        return tuple(sorted(hosts_of(live).values()))
    kept = (*want.names, *(p for p in (want.principal, _principal_san(want)) if p))
    asked = hosts(n.removesuffix(".") for n in kept)
    have = hosts_of(live).items()
    return tuple(text for (kind, name), text in have if (kind, name.removesuffix(".")) not in asked)


def _principal_san(want: Want) -> str | None:
    """`cockroach cert` writes the principal of a node among the DNS SANs, too: no name of a host."""
    return NODE_USER if want.name == NODE else None
