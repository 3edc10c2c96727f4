"""To which roots certificates lead: whether another pair leads to others, and which root of a bundle is the new one."""

from dataclasses import dataclass

from certagent.core.bundles import certificates
from certagent.core.catalogue import CERT_EKU, CERT_PRINCIPAL
from certagent.core.facts import Leaf, Pair, Process, Snapshot
from certagent.core.names import CA, CA_CLIENT, CLIENT_NODE, NODE, Name
from certagent.core.roles import BUNDLES
from certagent.core.rules import pair_findings
from certagent.core.serving import loaded_by
from certagent.core.view import View

OF_NODES = (NODE, CLIENT_NODE)
BY_MEMBERS = (CA.stem, CA_CLIENT.stem)  # the bundles by which members verify each other: each has its own rotation


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The rotation that one bundle is in: to which root, and which CAs of the bundle nothing here needs after it."""

    bundle: str
    new: Leaf
    former: tuple[Leaf, ...]  # of the bundle on disk, or of the one that a process has loaded


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
    here = _named(cas(snapshot, stem))
    if all(_named(certificates(kept.pair(stem))) <= here for kept in snapshot.loaded):
        return ()
    loaded = loaded_by(snapshot, process)
    return tuple(c for c in certificates(loaded.pair(stem) if loaded else None) if (c.spki, c.subject) not in here)


def _named(found: tuple[Leaf, ...]) -> set[tuple[str, str]]:
    return {(c.spki, c.subject) for c in found}


def departed(snapshot: Snapshot, stem: str) -> tuple[Leaf, ...]:
    """What the bundle on disk lacks of what a process of this host still has loaded."""
    running = (p for p in snapshot.own_processes if p.state != "gone") if snapshot.loaded else ()
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


def change(view: View, stem: str) -> Change | None:
    """The rotation that a bundle is in; None where it is in none."""
    live = leading(view.snapshot, stem)
    if not live:
        return None
    mine, now = cas(view.snapshot, stem), frozenset.intersection(*(anchors(p) for p in live))
    mine += departed(view.snapshot, stem)
    new = _staged(view, stem, mine, now) or _configured(view, stem, now) or _newer(view, stem, mine, now)
    if new is None:
        return None
    kept = {new.spki} | (set() if now.isdisjoint(known := _known(view, stem)) else set(known))
    former = tuple(c for c in mine if c.spki not in kept)
    return Change(bundle=stem, new=new, former=former) if former or new.spki not in now else None


def visible(snapshot: Snapshot) -> bool:
    """Whether a rotation can be seen: in bundles of one CA that are loaded, with nothing staged, is nothing to see."""
    several = any(len(cas(snapshot, stem)) > 1 for stem in BY_MEMBERS)
    return bool(snapshot.staged) or several or any(departed(snapshot, stem) for stem in BY_MEMBERS)


def changes(view: View) -> tuple[Change, ...]:
    """The rotations that the directory is in."""
    return tuple(found for stem in BUNDLES if stem in BY_MEMBERS and (found := change(view, stem)))


def _staged(view: View, stem: str, mine: tuple[Leaf, ...], now: frozenset[str]) -> Leaf | None:
    """The root of a staged pair: what its CA issues under now."""
    waiting = awaiting(view.snapshot, stem)
    return next((c for c in mine if c.spki in anchors(waiting[0]) - now), None) if waiting else None


def _known(view: View, stem: str) -> dict[str, Leaf]:
    """The known roots of the authorities of what the bundle verifies, those of the first authority first."""
    present = view.snapshot.listed_bundles
    wants = [w for w in view.policy.wants if concerns(w.name) and w.name.kind.bundle_in(present) == stem]
    order = dict.fromkeys(a for w in wants for a in w.authorities)
    roots = {a.name: a.roots for a in view.snapshot.authorities}
    return {root.spki: root for name in order for root in roots.get(name, ())}


def _configured(view: View, stem: str, now: frozenset[str]) -> Leaf | None:
    """The root of the first authority, where none of them issues under the live one any more."""
    known = _known(view, stem)
    return next(iter(known.values()), None) if now.isdisjoint(known) else None


def _newer(view: View, stem: str, mine: tuple[Leaf, ...], now: frozenset[str]) -> Leaf | None:
    """The newest CA of the bundle, which a person put there; or the live root, where the others are older ones.

    The root of a fallback authority stands there for good: no rotation leads to it.
    """
    live = [c for c in mine if c.spki in now]
    known = _known(view, stem)
    others = [c for c in mine if c.spki not in now and c.spki not in known]
    newest = max((*live, *others), key=lambda c: c.not_before, default=None)
    return newest if others else None
