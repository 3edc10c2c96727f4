"""What the answers of a server show of a file that no handshake returns: a bundle, `client.node`.

The names of CAs in a certificate request tell one bundle from another only where the subjects differ: `cockroach cert
create-ca` gives every CA the same. A pair of a root that only the new bundle has is told apart by a handshake. The best
is the server's own metric of the last reload that changed the bytes of a file (cockroach 26.3).
"""

from certagent.core.facts import Pair, Served, Snapshot
from certagent.core.names import CA, CA_CLIENT
from certagent.core.serving import arrived, client_names, material

SAME_SUBJECT = "CN=Cockroach CA,O=Cockroach"  # RFC 4514, of every CA that `cockroach cert create-ca` makes


def rotated(answer: Served, pair: Pair, snapshot: Snapshot) -> bool:
    """Whether the server itself says that it has loaded the file since it came to stand where it stands."""
    at = dict(answer.rotations).get(pair.name.kind.metric or "", 0)
    return answer.outcome == "served" and at > 0 and at >= int(arrived(snapshot, pair).timestamp())


def shows(snapshot: Snapshot, answer: Served, pair: Pair) -> bool:
    """Whether an answer shows a file that it does not serve: client.node by its expiry, client CAs by their names."""
    if answer.outcome != "served" or pair.leaf is None:
        return False
    if pair.name.kind.proof == "metric":
        told = dict(answer.rotations).get(pair.name.kind.metric, 0)
        return not told and answer.node_client_expiry == int(pair.leaf.not_after.timestamp())
    replaced = pair.name == CA and snapshot.pair(CA_CLIENT.stem) is not None
    return not replaced and frozenset(answer.client_cas) == client_names(snapshot) and names_tell(snapshot, pair)


def names_tell(snapshot: Snapshot, bundle: Pair) -> bool:
    """Whether the names of a bundle's CAs are others than those of the bundle that was loaded before it."""
    before, now = _before(snapshot, bundle), bundle.cert.certificates if bundle.cert else ()
    if before is not None and before.cert is not None:
        return {c.subject_digest for c in before.cert.certificates} != {c.subject_digest for c in now}
    return all(c.subject != SAME_SUBJECT for c in now) and len({c.subject_digest for c in now}) == len(now)


def of_new_roots(snapshot: Snapshot, bundle: Pair) -> list[Pair]:
    """The clients' pairs that only the live bundle verifies, and not the one before: one that is accepted shows it.

    Of an unknown one before, any root may have been in it: then they show it where they need every root of the bundle.
    """
    before = _before(snapshot, bundle)
    offered = [p for p in snapshot.pairs if p.name.kind.offered and p.trust and p.trust.bundle == bundle.name.stem]
    shown = [p for p in offered if p.trust and p.trust.anchors]
    if before is None:
        roots = {c.spki for c in bundle.cert.certificates} if bundle.cert else set()
        return shown if roots <= {a for p in shown if p.trust for a in p.trust.anchors} else []
    old = {c.spki for c in before.cert.certificates} if before.cert else set()
    return [p for p in shown if p.trust and not old & set(p.trust.anchors)]


def _before(snapshot: Snapshot, bundle: Pair) -> Pair | None:
    """The newest other bundle of that name that was loaded; None: none is known."""
    now, digest = material(snapshot), bundle.cert.digest if bundle.cert else ""
    known = [found.pair(bundle.name.stem) for found in snapshot.loaded if found.material != now]
    return next((p for p in reversed(known) if p and p.cert and p.cert.digest != digest), None)
