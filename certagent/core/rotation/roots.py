"""To which roots certificates lead, whether another pair leads to others, and what a bundle lacks that is loaded."""

from certagent.core.bundles import certificates
from certagent.core.catalogue import CERT_EKU, CERT_PRINCIPAL
from certagent.core.facts import Leaf, Pair, Process, Snapshot
from certagent.core.names import CA, CA_CLIENT, CLIENT_NODE, NODE, Name
from certagent.core.rules import pair_findings
from certagent.core.serving import loaded_by
from certagent.core.view import View

OF_NODES = (NODE, CLIENT_NODE)
BY_MEMBERS = (CA.stem, CA_CLIENT.stem)  # the bundles by which members verify each other: each has its own rotation


def concerns(name: Name) -> bool:
    """Whether members verify such a pair: a node's own ones, and what clients present to servers."""
    return name in OF_NODES or name.kind.offered


def anchors(pair: Pair | None) -> frozenset[str]:
    """The spki of each CA that verifies the pair by itself; none where nothing does, or that is not known."""
    return frozenset(pair.trust.anchors) if pair and pair.trust and not pair.trust.problem else frozenset()


def of_another_root(new: Pair, before: Pair) -> bool:
    """Whether somebody who verifies one pair may not verify the other.

    Of what verifies the one before, each CA has to verify the new one too: nobody knows which of them others have. A
    pair that the own bundle does not verify, or that was not verified yet, says nothing of others.
    """
    trust = before.trust
    unknown = trust is not None and (trust.problem is not None or trust.unread)
    return unknown or not anchors(before) <= anchors(new)


def before(snapshot: Snapshot, name: Name) -> Pair | None:
    """The live pair that other members see now in the place of one of that name."""
    live = snapshot.pair(name.stem)
    return snapshot.pair(NODE.stem) if name == CLIENT_NODE and (live is None or live.leaf is None) else live


def useless(view: View, pair: Pair | None) -> bool:
    """Whether nothing becomes worse without a live pair: missing, expired, revoked, or for nobody's use."""
    if pair is None or pair.effective is None or not pair.matched:
        return True
    ended = not pair.effective.not_before <= view.now < pair.effective.not_after
    wrong = (f.rule for f in pair_findings(view.want(pair.name.stem), pair, view.now))
    unfit = any(r.unusable or r in {CERT_EKU, CERT_PRINCIPAL} for r in wrong)
    return ended or unfit or view.snapshot.revoked(pair.leaf) is not None


def cas(snapshot: Snapshot, stem: str) -> tuple[Leaf, ...]:
    """The certificates of a bundle."""
    return certificates(snapshot.pair(stem))


def lacked(snapshot: Snapshot, process: Process, stem: str) -> tuple[Leaf, ...]:
    """The CAs that a process was last seen to have loaded of a bundle, and that the one on disk lacks.

    A CA of the same key and another subject is another one: the name is part of what verifies.
    """
    here = _named(snapshot.pair(stem))
    loaded = loaded_by(snapshot, process) if _shrunk(snapshot, stem) else None
    return tuple(c for c in certificates(loaded.pair(stem) if loaded else None) if (c.spki, c.subject) not in here)


def _shrunk(snapshot: Snapshot, stem: str) -> bool:
    """Whether anything that a process may have loaded of a bundle is not on disk."""
    here = _named(snapshot.pair(stem))
    return any(not _named(kept.pair(stem)) <= here for kept in snapshot.loaded)


def _named(bundle: Pair | None) -> frozenset[tuple[str, str]]:
    return bundle.cert.named if bundle and bundle.cert else frozenset()


def departed(snapshot: Snapshot, stem: str) -> tuple[Leaf, ...]:
    """What the bundle on disk lacks of what a process of this host still has loaded."""
    if not snapshot.loaded or not _shrunk(snapshot, stem):
        return ()
    running = (p for p in snapshot.own_processes if p.state != "gone")
    return tuple(dict.fromkeys(c for p in running for c in lacked(snapshot, p, stem)))


def leading(snapshot: Snapshot, stem: str) -> tuple[Pair, ...]:
    """The live pairs that change with the root of a bundle: the node's own ones, where it verifies any.

    Those that it does not verify say nothing of its roots.
    """
    nodes = [p for name in OF_NODES if (p := snapshot.pair(name.stem))]
    return tuple(p for p in nodes if _by(p, stem)) or tuple(
        p for p in snapshot.pairs if _by(p, stem) and concerns(p.name)
    )


def _by(pair: Pair, stem: str) -> bool:
    """Whether a bundle verifies a pair."""
    return pair.trust is not None and pair.trust.bundle == stem and bool(anchors(pair))


def awaiting(snapshot: Snapshot, stem: str) -> tuple[Pair, ...]:
    """The staged pairs of another root that this bundle verifies, a node's own ones first."""
    staged = [s.pair for s in snapshot.staged if concerns(s.pair.name) and anchors(s.pair)]
    mine = [p for p in staged if p.trust and p.trust.bundle == stem]
    other = [p for p in mine if (live := before(snapshot, p.name)) and of_another_root(p, live)]
    return tuple(sorted(other, key=lambda p: (p.name not in OF_NODES, p.name.stem)))


def left(snapshot: Snapshot) -> frozenset[str]:
    """The roots that this host has served before: the kept earlier pairs of the node lead to them.

    A pair that was set aside by a rollback says nothing: its root was tried, and not left.
    """
    kept = (g.pair for g in snapshot.generations if g.pair.name in OF_NODES and not g.quarantined)
    served = frozenset(root for pair in kept for root in anchors(pair))
    return served - frozenset(root for name in OF_NODES for root in anchors(snapshot.pair(name.stem)))


def brought(snapshot: Snapshot, stem: str) -> Leaf | None:
    """The CA that the agent was asked to add in front of the others, however old it is; None: nobody did."""
    first = next(iter(cas(snapshot, stem)), None)
    return first if first and first.fingerprint in snapshot.issued and first.spki not in left(snapshot) else None
