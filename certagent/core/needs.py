"""Who needs each CA of a trust bundle, and which CAs nobody needs.

A CA leaves a bundle only if nobody was seen to need it, and nobody unseen can need it: a member that was never seen,
and clients of other hosts without the word of a person, are reasons to keep it. What was seen once suffices, however
long ago, because a chain that has left a CA does not come back to it by itself.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from certagent.core.bundles import certificates, marks
from certagent.core.facts import Authority, Leaf, Look, Pair, Process, Staged
from certagent.core.facts.members import STOPS
from certagent.core.names import CA, CA_CLIENT, Name
from certagent.core.roles import KINDS
from certagent.core.rotation.accepting import longest
from certagent.core.rotation.canary import newest
from certagent.core.rotation.fleet import fleet
from certagent.core.rotation.roots import lacked, left
from certagent.core.rotation.serve import said
from certagent.core.trust import bundles_for, is_split
from certagent.core.view import View

OUTSIDE = "clients of other hosts"
PEERS = (
    "the other nodes, which no setting names (name them in `peers` of [certs_dir.rotation]; `peers = []` says that this"
    " node is alone)"
)
AS_CLIENTS = "what the other nodes present as clients, which no handshake shows"
NOT_ABORTED = (
    "other nodes on which the rotation to it may still go on (abort it on every node, then `certagent rotation clients"
    " present`)"
)
EVER = datetime.fromtimestamp(0, UTC)  # what was seen once counts
COMING = "the other nodes, which may rely on it already: it is the next root"


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
    chains = tuple(_chains(view, stem, cas))
    kept = [ca for ca in cas if ca.not_after > view.now]
    for ca in reversed(tuple(kept)):
        rest = {c.spki for c in kept if c is not ca}
        coming = _coming(view, stem, ca, kept, chains)
        if all(chain.anchors & rest for chain in chains) and rest and not coming:
            kept.remove(ca)
    removed = tuple(ca for ca in cas if ca not in kept)
    living = [ca for ca in removed if ca.not_after > view.now]
    waits = (*_unseen(view, stem, {c.spki for c in kept}), *_unaborted(view, stem, living, kept)) if living else ()
    return Pruning(kept=tuple(kept), removed=removed, waits=waits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A CA that a process has loaded and the bundle on disk lacks, and who may need it."""

    ca: Leaf
    who: tuple[str, ...]


def missed(view: View, process: Process, stem: str) -> tuple[Missed, ...]:
    """What a reload would take from a process although somebody may need it, whoever made the bundle smaller.

    What the pairs of this host need is known without this. The proof is of this moment, because somebody goes back.
    """
    gone = tuple(ca for ca in lacked(view.snapshot, process, stem) if ca.not_after > view.now)
    if not gone:
        return ()
    here = certificates(view.pair(stem))
    left = {ca.spki for ca in here} - {ca.spki for ca in gone}
    was, chains = [*here, *gone], tuple(_chains(view, stem, (*here, *gone)))
    unseen = (*_unseen(view, stem, left, since(view)), *_unaborted(view, stem, gone, here))
    rows = ((ca, (COMING,) if _coming(view, stem, ca, was, chains) else unseen) for ca in gone)
    return tuple(Missed(ca=ca, who=who) for ca, who in rows if who)


def by_itself(view: View, stem: str, root: str) -> bool:
    """Whether the agent prunes a bundle without a command: it may change it, and a person said the word and no stop."""
    want = view.want(stem)
    ours = want is not None and bool(want.authorities) and view.snapshot.directory.managed
    stopped = any(said(view, kind, stem, (root,)) for kind in STOPS)
    return ours and not stopped and said(view, "clients-present", stem, (root,)) is not None


def since(view: View) -> datetime:
    """How old a look may be at most by which a CA leaves what is loaded."""
    return view.now - longest(len(view.snapshot.members.listed))


def needs(view: View, stem: str) -> tuple[Need, ...]:
    """Each CA of a bundle, and who needs it."""
    chains = tuple(_chains(view, stem, certificates(view.pair(stem))))
    unknown = tuple(_unseen(view, stem, {ca.spki for ca in certificates(view.pair(stem))}))
    return tuple(
        Need(ca=ca, by=tuple(c.who for c in chains if ca.spki in c.anchors), unknown=unknown)
        for ca in certificates(view.pair(stem))
    )


def _coming(view: View, stem: str, ca: Leaf, cas: list[Leaf], chains: tuple[_Chain, ...]) -> bool:
    """Whether a rotation leads to a CA, and nobody aborted it; one that this host has left before is a former one."""
    known = said(view, "abort", stem, (ca.spki,)) or ca.spki in left(view.snapshot)
    return not known and _next_root(view, ca, cas, chains)


def _next_root(view: View, ca: Leaf, cas: list[Leaf], chains: tuple[_Chain, ...]) -> bool:
    """Whether a CA is newer than every other one that something leads to, or was added in front of them."""
    used = {anchor for chain in chains for anchor in chain.anchors}
    others = [c for c in cas if c.spki in used and c is not ca]
    newer = all(ca.not_before > c.not_before for c in others)
    in_front = all(cas.index(ca) < cas.index(c) for c in others) and ca.fingerprint in view.snapshot.issued
    return ca.spki not in used and (newer or in_front)


def _chains(view: View, stem: str, cas: tuple[Leaf, ...]) -> Iterator[_Chain]:
    """Everything that was seen to be verified by the bundle: live, loaded by our processes, served by members."""
    snapshot = view.snapshot
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
    for authority in _asked(view, stem):
        if anchors := known & {root.spki for root in authority.roots}:
            yield _Chain(who=f"authority {authority.name!r}", anchors=frozenset(anchors))


def issued_from(view: View, stem: str) -> frozenset[str]:
    """The roots that the authorities of the pairs that a bundle verifies are known to issue from."""
    return frozenset(root.spki for authority in _asked(view, stem) for root in authority.roots)


def _asked(view: View, stem: str) -> tuple[Authority, ...]:
    """The configured authorities of the pairs that a bundle verifies."""
    asked = {a for w in view.policy.wants if stem in _verified_by(view, w.name) for a in w.authorities}
    return tuple(a for a in view.snapshot.authorities if a.name in asked)


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


def _unseen(view: View, stem: str, kept: set[str], since: datetime = EVER) -> Iterator[str]:
    """Who may need another CA of the bundle than these, because nobody has seen or said otherwise."""
    if stem == CA.stem:
        yield from _unseen_members(view, kept, since)
    if said(view, "clients-present", stem, kept):
        return
    of_clients = {k.bundle_in(view.snapshot.listed_bundles) for k in KINDS if "client" in k.verified_as}
    if view.policy.rotation.outside_clients and stem in of_clients:
        yield OUTSIDE
    if stem == CA_CLIENT.stem and by_word(view):
        yield AS_CLIENTS


def _unaborted(view: View, stem: str, gone: Iterable[Leaf], kept: Iterable[Leaf]) -> tuple[str, ...]:
    """Whoever may go forward to the root of a rotation that was aborted here, for all that this host can see.

    An abort counts on the host where it was said. Another one may have been shown long ago that this host accepts the
    root, and no look tells whether it will act on that: only a word that was said after the abort does.
    """
    stop = said(view, "abort", stem, (ca.spki for ca in gone))
    word = said(view, "clients-present", stem, (ca.spki for ca in kept))
    open_ = stop is not None and (word is None or word.at < stop.at)
    return (NOT_ABORTED,) if open_ and by_word(view) else ()


def by_word(view: View) -> bool:
    """Whether there are other nodes whose certificates as clients only a person knows: where `ca-client` is split."""
    who = fleet(view)
    return bool(who.listed or who.missing)


def unnamed(view: View) -> bool:
    """Whether nothing says who the other nodes are, or that there is none: no former CA leaves the bundle then."""
    return not view.snapshot.members.source and view.policy.rotation.peers != ()


def kept_for(view: View, stem: str) -> tuple[str, ...]:
    """Why each CA of a bundle stays, in so many words: of those that somebody was seen to need."""
    return tuple(f"{n.ca.subject} is needed by {', '.join(n.by)}" for n in needs(view, stem) if n.by)


def _unseen_members(view: View, kept: set[str], since: datetime) -> Iterator[str]:
    members = view.snapshot.members
    if members.problem:
        yield f"the other nodes: {members.problem}"
    elif unnamed(view):
        yield PEERS
    elif members.unlisted:
        yield f"{members.unlisted} live nodes that are not listed"
    elif missing := fleet(view).missing:
        yield f"the other nodes: {missing}"
    good = {k.address for k in _newest(view) if kept & set(k.anchors) and since <= k.at <= view.now}
    yield from (address for address in members.listed if address not in good)
