"""The names to request: those that are configured, else those of the live certificate; none is dropped silently."""

from certagent.core.facts import Adopted, Leaf, Snapshot
from certagent.core.names import NODE
from certagent.core.policy import Want
from certagent.core.principals import NODE_USER


def asked_by(snapshot: Snapshot, want: Want, leaf: Leaf | None) -> bool:
    """Whether we asked for it by this very want: whatever other names it has are the CA's own doing."""
    if leaf is None or leaf.fingerprint not in snapshot.issued:
        return False
    return Adopted(want.name.stem, leaf.fingerprint, want.digest) in snapshot.adopted


def names(want: Want, live: Leaf | None) -> tuple[str, ...]:
    """`names` are authoritative; without any the live certificate's are kept."""
    if want.names is not None:
        return want.names
    kept = [n for n in live.dns if want.principal or n != _principal_san(want)] if live else []
    return (*kept, *live.ips) if live else ()


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
    return (
        sorted(set(live.dns) | set(live.ips))
        if not want.names
        else [n for n in (*live.dns, *live.ips) if n not in {*want.names, want.principal, _principal_san(want)}]
    )


def _principal_san(want: Want) -> str | None:
    """`cockroach cert` writes the principal of a node among the DNS SANs, too: no name of a host."""
    return NODE_USER if want.name == NODE else None
