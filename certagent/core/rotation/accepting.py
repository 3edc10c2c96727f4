"""Whether members were shown to accept a pair: the only proof is that they did, in a handshake.

A member that took a certificate of the same issuer, chain and roots takes the pair, too. What a member verifies servers
by is not seen where clients are verified by a bundle of their own (split CA): there its metric of the end of `ca.crt`,
whose first certificate is the new root, tells. Unknown is no.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from certagent.core.actions import LookAt
from certagent.core.facts import Leaf, Look, Pair, Process, Snapshot
from certagent.core.names import CA, CLIENT_NODE
from certagent.core.rotation.roots import OF_NODES, anchors, cas, concerns
from certagent.core.serving import loaded_by, port_kind
from certagent.core.trust import allows, bundles_for, is_split
from certagent.core.view import View

FRESH = timedelta(minutes=1)  # how old a proof may be where somebody goes back, and for each member that is asked
EACH = timedelta(seconds=1)
SHOWN = 3  # of those that a sentence names
NO_OFFER = "this host has no pair by which it could be shown"
NOT_LOOKED = "it was not looked at yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepts:
    """Whether one member, or a port of this host, accepts a pair; None: nothing is known."""

    address: str
    accepts: bool | None
    reason: str = ""
    forced: bool = False  # a person said not to wait for it
    dialled: bool = True  # a look would show it
    looked: bool = True  # a look was taken that counts; else nobody is to blame yet

    @property
    def settled(self) -> bool:
        """Nothing waits for it."""
        return self.accepts is True or self.forced


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A pair of this host that can be offered to a member."""

    pair: Pair
    staged: bool = False
    generation: int = 0

    def to(self, address: str, reason: str) -> LookAt:
        """The look in which it is offered."""
        mark = self.pair.leaf.fingerprint if self.pair.leaf else ""
        stem = self.pair.name.stem
        return LookAt(
            address=address,
            offers=stem,
            staged=self.staged,
            generation=self.generation,
            fingerprint=mark,
            reason=reason,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A pair that members have to accept, and how that can be shown."""

    pair: Pair
    offers: tuple[Offer, ...]  # the first is offered; what was said of any of them counts
    by_offer: bool  # a handshake shows it
    by_metric: bool  # the end of the member's ca.crt shows it
    since: datetime | None = None  # an older proof does not count
    at_home: bool = True  # the own processes are asked, too

    @property
    def marks(self) -> frozenset[str]:
        """The leaves of which an answer counts."""
        return frozenset(o.pair.leaf.fingerprint for o in self.offers if o.pair.leaf)


def longest(members: int) -> timedelta:
    """How long it takes to look at everybody once more: an older proof does not count where somebody goes back."""
    return FRESH + EACH * members


class Told(Protocol):
    """Somebody of whom a sentence says something."""

    @property
    def address(self) -> str:
        """host:port."""

    @property
    def reason(self) -> str:
        """What is known of it, "" for nothing."""


def named(rows: Sequence[Told]) -> str:
    """The first of them with what is known of each, and how many more there are."""
    told = "; ".join(f"{r.address}: {r.reason}" if r.reason else r.address for r in rows[:SHOWN])
    return told + (f"; and {len(rows) - SHOWN} more" if len(rows) > SHOWN else "")


def question(view: View, pair: Pair, *, back: bool = False, at_home: bool = True) -> Question:
    """Given a pair that should go live, return how members show that they accept it.

    `back`: the change goes back, so that what was shown a while ago may be untrue now. `at_home`: the own processes
    have to show it, too.
    """
    snapshot = view.snapshot
    by_clients = CLIENT_NODE.kind.bundle_in(snapshot.listed_bundles)
    needed = bundles_for(pair.name, snapshot.listed_bundles, split=is_split(snapshot.pairs, wanted=view.policy.split))
    offers = tuple(o for o in _all(snapshot) if _shows(o.pair, pair))
    by_offer = by_clients in needed and bool(offers)
    by_metric = CA.stem in needed and not (by_offer and by_clients == CA.stem)
    if not offers:
        offers = tuple(o for o in _all(snapshot) if o.pair.name in OF_NODES and not o.generation)[:1]
    since = view.now - longest(len(snapshot.members.listed)) if back else None
    return Question(pair=pair, offers=offers, by_offer=by_offer, by_metric=by_metric, since=since, at_home=at_home)


def _all(snapshot: Snapshot) -> list[Offer]:
    """Every pair with which this host can be a client: a node's own ones first, staged before live ones."""
    found = [Offer(pair=s.pair, staged=True) for s in snapshot.staged]
    found += [Offer(pair=p) for p in snapshot.pairs]
    found += [Offer(pair=g.pair, generation=g.number) for g in snapshot.generations if not g.quarantined]
    able = [
        o for o in found if concerns(o.pair.name) and o.pair.matched and o.pair.leaf and allows(o.pair.leaf, "client")
    ]
    return sorted(able, key=lambda o: (o.pair.name not in OF_NODES, o.generation, not o.staged, o.pair.name.stem))


def _shows(offered: Pair, pair: Pair) -> bool:
    """Whether who accepts the one accepts the other."""
    return offered.leaf == pair.leaf or (bool(anchors(pair)) and _made_by(offered) == _made_by(pair))


def _made_by(pair: Pair) -> tuple[str, tuple[Leaf, ...], frozenset[str]]:
    """Issuer, chain and roots: by the name alone one CA is not told from another."""
    issuer = pair.leaf.issuer if pair.leaf else ""
    return issuer, pair.cert.chain if pair.cert else (), anchors(pair)


def member(view: View, asked: Question, address: str) -> Accepts:
    """Whether one listed member accepts the pair."""
    looks = [k for k in view.snapshot.members.looks if k.address == address]
    shown = _by_look(asked, looks) if asked.by_offer else None
    if asked.by_metric and (shown is None or shown.accepts):
        shown = _by_metric(view, asked, looks)
    forced = any(
        w.kind == "force" and w.peer == address and _about(w.bundle, w.root, asked) for w in view.snapshot.words
    )
    if shown is None or not asked.offers:
        return Accepts(address=address, accepts=None, reason=NO_OFFER, forced=forced, dialled=False)
    return replace(shown, address=address, forced=forced)


def _about(bundle: str, root: str, asked: Question) -> bool:
    trust = asked.pair.trust
    return trust is not None and trust.bundle == bundle and root in trust.anchors


def _by_look(asked: Question, looks: Iterable[Look]) -> Accepts:
    """By handshakes in which it was offered this pair, or one that shows the same; the newest one counts.

    Silence after a yes takes nothing back: what is trusted stays so while nobody goes back.
    """
    recent = [k for k in looks if k.offered in asked.marks and (asked.since is None or k.at >= asked.since)]
    told = sorted(recent, key=lambda k: k.at)
    answered = [k for k in told if k.outcome != "silent"]
    if answered:
        last = answered[-1]
        return Accepts(address=last.address, accepts=last.outcome == "accepted", reason=last.reason)
    if told:
        return Accepts(address=told[-1].address, accepts=None, reason=told[-1].reason or "it does not answer")
    return Accepts(address="", accepts=None, reason=NOT_LOOKED, looked=False)


def _by_metric(view: View, asked: Question, looks: Iterable[Look]) -> Accepts:
    """By when its ca.crt ends: as the new root does, and no other CA of the bundle here."""
    wanted = {int(c.not_after.timestamp()) for c in cas(view.snapshot, CA.stem) if c.spki in anchors(asked.pair)}
    others = {int(c.not_after.timestamp()) for c in cas(view.snapshot, CA.stem) if c.spki not in anchors(asked.pair)}
    told = sorted((k for k in looks if asked.since is None or k.at >= asked.since), key=lambda k: k.at)
    read = [k for k in told if k.ca_ends]
    if read and read[-1].ca_ends in wanted - others:
        return Accepts(address=read[-1].address, accepts=True)
    if not told:
        return Accepts(address="", accepts=None, reason=NOT_LOOKED, looked=False)
    why = told[-1].reason if told[-1].outcome == "silent" else "its metrics do not show the new root first in ca.crt"
    return Accepts(address=told[-1].address, accepts=None, reason=why)


def here(view: View, asked: Question) -> Iterator[Accepts]:
    """Whether the own processes accept the pair: by a handshake where one shows it, else by what they have loaded."""
    for process in view.snapshot.own_processes:
        ports = [x for x in process.listeners if port_kind(view.snapshot, process, x) == "sql"]
        if process.state == "starting":
            yield Accepts(address=f"pid {process.pid}", accepts=None, reason="it is starting", dialled=False)
        elif process.state != "gone" and asked.by_offer and ports:
            looks = view.snapshot.members.looks
            for at in (x.address for x in ports):
                yield replace(_by_look(asked, [k for k in looks if k.address == at]), address=at)
        elif process.state != "gone":
            yield _by_loaded(view, process, asked)


def _by_loaded(view: View, process: Process, asked: Question) -> Accepts:
    """By the bundle that it was last seen to have loaded."""
    known = loaded_cas(view.snapshot, process, asked.pair.trust.bundle if asked.pair.trust else "")
    good = known is not None and not anchors(asked.pair).isdisjoint(known)
    why = "it has not loaded the new root yet" if known is not None else "nobody knows what it has loaded"
    return Accepts(address=f"pid {process.pid}", accepts=good or None, reason="" if good else why, dialled=False)


def loaded_cas(snapshot: Snapshot, process: Process, stem: str) -> frozenset[str] | None:
    """The spki of each CA of a bundle that a process was last seen to have loaded; None where nobody knows."""
    loaded = loaded_by(snapshot, process)
    bundle = loaded.pair(stem) if loaded else None
    return frozenset(c.spki for c in bundle.cert.certificates) if bundle and bundle.cert else None
