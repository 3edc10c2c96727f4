"""Who needs each CA of a trust bundle, and which CAs nobody needs.

A CA leaves a bundle only if nobody was seen to need it, and nobody unseen can need it: a member that was never seen,
and clients of other hosts without the word of a person, are reasons to keep it. What was seen once suffices, however
long ago, because a chain that has left a CA does not come back to it by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from certagent.core.bundles import certificates, marks
from certagent.core.facts import Leaf, Look, Pair, Staged
from certagent.core.names import CA, Name
from certagent.core.roles import KINDS
from certagent.core.rotation.canary import newest
from certagent.core.rotation.fleet import fleet
from certagent.core.rotation.serve import said
from certagent.core.trust import bundles_for, is_split
from certagent.core.view import View

OUTSIDE = "clients of other hosts"
PEERS = "the other nodes, which no setting names"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One CA of a bundle: who was seen to need it, who was not seen and may need it."""

    ca: Leaf
    by: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What becomes of a bundle without the CAs that nobody needs; `waits`: why it is not known that nobody does."""

    kept: tuple[Leaf, ...]
    removed: tuple[Leaf, ...]
    waits: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    """Something that is verified by the bundle, and each CA of it that suffices alone."""

    who: str
    anchors: frozenset[str]


def unproven(view: View, staged: Staged, live: Pair | None) -> str | None:
    """Why a staged bundle must not drop the CAs that it lacks; None where it lacks none, or nobody needs them."""
    gone = marks(live) - marks(staged.pair)
    if not gone or not marks(staged.pair) < marks(live):
        return None
    allowed = pruning(view, staged.pair.name.stem)
    kept = [ca.subject for ca in allowed.kept if ca.fingerprint in gone]
    why = (*allowed.waits, *(f"{subject} is needed" for subject in kept))
    return "; ".join(why) or None


def pruning(view: View, stem: str) -> Pruning:
    """Given the name of a bundle, return it without the CAs that nobody needs.

    Of several CAs that suffice for the same chain the first ones stay. One that is newer than all that are used, or
    that was added in front of them, is the next root, which nobody needs yet: it stays, unless its rotation was
    aborted. One that has ended verifies nothing.
    """
    cas = certificates(view.pair(stem))
    chains = tuple(_chains(view, stem))
    kept = [ca for ca in cas if ca.not_after > view.now]
    for ca in reversed(tuple(kept)):
        rest = {c.spki for c in kept if c is not ca}
        coming = _next_root(view, ca, kept, chains) and not said(view, "abort", stem, (ca.spki,))
        if all(chain.anchors & rest for chain in chains) and rest and not coming:
            kept.remove(ca)
    removed = tuple(ca for ca in cas if ca not in kept)
    living = [ca for ca in removed if ca.not_after > view.now]
    waits = tuple(_unseen(view, stem, {c.spki for c in kept})) if living else ()
    return Pruning(kept=tuple(kept), removed=removed, waits=waits)


def needs(view: View, stem: str) -> tuple[Need, ...]:
    """Each CA of a bundle, and who needs it."""
    chains = tuple(_chains(view, stem))
    unknown = tuple(_unseen(view, stem, {ca.spki for ca in certificates(view.pair(stem))}))
    return tuple(
        Need(ca=ca, by=tuple(c.who for c in chains if ca.spki in c.anchors), unknown=unknown)
        for ca in certificates(view.pair(stem))
    )


def _next_root(view: View, ca: Leaf, cas: list[Leaf], chains: tuple[_Chain, ...]) -> bool:
    """Whether a CA is newer than every other one that something leads to, or was added in front of them."""
    used = {anchor for chain in chains for anchor in chain.anchors}
    others = [c for c in cas if c.spki in used and c is not ca]
    newer = all(ca.not_before > c.not_before for c in others)
    in_front = all(cas.index(ca) < cas.index(c) for c in others) and ca.fingerprint in view.snapshot.issued
    return ca.spki not in used and (newer or in_front)


def _chains(view: View, stem: str) -> Iterator[_Chain]:
    """Everything that was seen to be verified by the bundle: live, loaded by our processes, served by members."""
    snapshot, cas = view.snapshot, certificates(view.pair(stem))
    known = {ca.spki for ca in cas}
    loaded = snapshot.loaded[-1].pairs if snapshot.loaded and snapshot.own_processes else ()
    files = [(f"{p.name.stem}.crt", p) for p in snapshot.pairs]
    files += [(f"the loaded {p.name.stem}.crt", p) for p in loaded if p.leaf not in {live.leaf for _, live in files}]
    for who, pair in files:
        if anchors := _anchors(pair, stem, cas, view.now) & known:
            yield _Chain(who=who, anchors=frozenset(anchors))
    for look in _newest(view) if stem == CA.stem else ():
        if anchors := known & set(look.anchors):
            yield _Chain(who=look.address, anchors=frozenset(anchors))
    asked = {a for w in view.policy.wants if stem in _verified_by(view, w.name) for a in w.authorities}
    for authority in (a for a in snapshot.authorities if a.name in asked):
        if anchors := known & {root.spki for root in authority.roots}:
            yield _Chain(who=f"authority {authority.name!r}", anchors=frozenset(anchors))


def _verified_by(view: View, name: Name) -> tuple[str, ...]:
    split = is_split(view.snapshot.pairs, wanted=view.policy.split)
    return bundles_for(name, view.snapshot.listed_bundles, split=split)


def _anchors(pair: Pair, stem: str, cas: tuple[Leaf, ...], now: datetime) -> set[str]:
    """The CAs to which the chain of a file leads; of one that is not examined so far those of its issuer's name."""
    if pair.leaf is None or pair.trust is None or pair.trust.bundle != stem or pair.leaf.not_after <= now:
        return set()
    top = pair.cert.certificates[-1] if pair.cert else pair.leaf
    return set(pair.trust.anchors) or {ca.spki for ca in cas if ca.subject == top.issuer}


def _newest(view: View) -> tuple[Look, ...]:
    """Of each listed member the newest look at which it showed a chain."""
    return tuple(look for at in view.snapshot.members.listed if (look := newest(view, at)))


def _unseen(view: View, stem: str, kept: set[str]) -> Iterator[str]:
    """Who may need another CA of the bundle than these, because nobody has seen or said otherwise."""
    if stem == CA.stem:
        yield from _unseen_members(view, kept)
    of_clients = {k.bundle_in(view.snapshot.listed_bundles) for k in KINDS if "client" in k.verified_as}
    present = said(view, "clients-present", stem, kept)
    if view.policy.rotation.outside_clients and stem in of_clients and not present:
        yield OUTSIDE


def _unseen_members(view: View, kept: set[str]) -> Iterator[str]:
    members, rule = view.snapshot.members, view.policy.rotation
    if members.problem:
        yield f"the other nodes: {members.problem}"
    elif not members.source and rule.peers != ():
        yield PEERS
    elif members.unlisted:
        yield f"{members.unlisted} live nodes that are not listed"
    elif missing := fleet(view).missing:
        yield f"the other nodes: {missing}"
    good = {look.address for look in _newest(view) if kept & set(look.anchors)}
    yield from (address for address in members.listed if address not in good)
