"""Pairs of another root: who is looked at before they go live, what is said meanwhile, and the way back.

The rules are in core/rotation; install.py, generations.py and gate.py ask them before anything goes live. Only those
are looked at that have not shown yet what they should, a few each second.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from certagent.core.actions import LookAt
from certagent.core.catalogue import LAYOUT_WAITING, PEER_REFUSES, PEER_UNSEEN, PEERS_INCOMPLETE
from certagent.core.decide.generations import going_back, held_back, newest, paced
from certagent.core.decide.part import NOTHING, Part, blocked, total
from certagent.core.decide.pruned import ready
from certagent.core.facts import Pair
from certagent.core.findings import Finding, Severity
from certagent.core.names import CA
from certagent.core.needs import since
from certagent.core.rotation import canary, shrink
from certagent.core.rotation.accepting import Offer, named, question
from certagent.core.rotation.phases import NEEDLESS, pair_of, serves
from certagent.core.rotation.roots import BY_MEMBERS, OF_NODES, anchors, before, departed
from certagent.core.rotation.serve import Held, loading, refusing, said, staged_held, unseen
from certagent.core.rotation.target import Change, changes, visible
from certagent.core.serving import arrived
from certagent.core.timing import emergency_at
from certagent.core.view import View

SECOND = timedelta(seconds=1)
MOST = 2  # looks in a second, and at a time
SOON = timedelta(seconds=2)  # the first pause between two looks at one member
AGAIN = timedelta(seconds=30)  # at a member that refused or was silent
STILL = timedelta(minutes=1)  # at a member that has not changed its leaf yet
NEVER = datetime.fromtimestamp(0, UTC)  # who was not looked at yet comes first
_Look = tuple[datetime, LookAt]  # and from when on it may be taken
ABORTED = "the rotation was aborted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A pair that waits, and the one that goes on in its place."""

    stem: str
    live: Pair
    held: Held


def part(view: View) -> Part:
    """The looks that are due, what is said of pairs that wait, and the way back of a rotation that was aborted."""
    found = _under_way(view)
    waiting, lost = list(_waiting(view, found)), list(_to_lose(view))
    if not found and not waiting and not lost and not view.snapshot.staged:
        return NOTHING
    aborted = [_aborted(view, change) for change in found]
    proofs = [*_to_prove(view, waiting), *_to_prune(view), *_to_leave(view), *lost]
    others = [look for change in found for look in _to_see(view, change, waiting)]
    return total(aborted) + _paced(view, proofs, others) + _asked(view) + Part(findings=tuple(_findings(view, waiting)))


def _under_way(view: View) -> tuple[Change, ...]:
    """The rotations in which there is something to see."""
    return changes(view) if visible(view.snapshot) else ()


def _waiting(view: View, changing: tuple[Change, ...]) -> Iterator[Waiting]:
    """Every pair of another root that waits: staged, on disk for a reload, or an earlier one that should come back."""
    for staged in view.snapshot.staged:
        live = before(view.snapshot, staged.pair.name)
        if live and anchors(staged.pair) and (waits := staged_held(view, staged)):
            yield Waiting(stem=staged.pair.name.stem, live=live, held=waits)
    for process in view.snapshot.own_processes:
        for found in loading(view, process):
            yield Waiting(stem=found.stem, live=found.was, held=found.held)
    for stem, without in _backwards(view, changing):
        kept, live = newest(view, stem, without), view.pair(stem)
        if kept and live and (waits := held_back(view, kept)):
            yield Waiting(stem=stem, live=live, held=waits)


def _backwards(view: View, changing: tuple[Change, ...]) -> Iterator[tuple[str, str]]:
    """The pairs that should go back, and the root that they should leave."""
    yield from ((r.subject, "") for r in view.snapshot.requests if r.kind == "rollback")
    for change in changing:
        yield from ((stem, change.new.spki) for stem in _turning(view, change))


def _turning(view: View, change: Change) -> list[str]:
    """The node's pairs of the new root, where the rotation to it was aborted."""
    if not said(view, "abort", change.bundle, (change.new.spki,)):
        return []
    return [n.stem for n in OF_NODES if change.new.spki in anchors(view.pair(n.stem))]


def _aborted(view: View, change: Change) -> Part:
    """Back to the former root, as soon as every member was shown to accept that now."""
    parts = []
    for stem in _turning(view, change):
        kept = newest(view, stem, change.new.spki)
        waits = held_back(view, kept) if kept else None
        back = going_back(view, stem, ABORTED, without=change.new.spki)
        if back:
            parts.append(paced(view, back))
        elif waits:
            parts.append(blocked("rollback", stem, f"{ABORTED}; {waits.why}", waits.until))
        else:
            why = "no earlier pair of the former root is usable; have the former CA issue one"
            parts.append(blocked("rollback", stem, f"{ABORTED}; {why}"))
    return total(parts)


def _asked(view: View) -> Part:
    """What a rollback waits for that an operator asked for."""
    kept = {r.subject: newest(view, r.subject) for r in view.snapshot.requests if r.kind == "rollback"}
    held = {stem: held_back(view, found) for stem, found in kept.items() if found}
    return total([blocked("rollback", stem, waits.why, waits.until) for stem, waits in held.items() if waits])


def _to_prove(view: View, waiting: Iterable[Waiting]) -> Iterator[_Look]:
    """The looks at those that were not shown to accept a pair."""
    for found in waiting:
        offers = found.held.asked.offers if found.held.asked else ()
        for row in found.held.rows if offers else ():
            if not row.settled and row.dialled:
                look = offers[0].to(row.address, f"see whether it accepts the new {found.stem}.crt")
                yield _again_at(view, look, AGAIN, _came(view, found.stem)), look


def _to_see(view: View, change: Change, waiting: Iterable[Waiting]) -> Iterator[_Look]:
    """The looks at those that were not seen to serve the new root, where something waits for that.

    That is another host's turn, or the prune, once the own pair is of the new root.
    """
    pair = pair_of(view, change)
    if pair is None or change.bundle != CA.stem:
        return  # no look shows what members present as clients
    offers, came = question(view, pair).offers, _came(view, pair.name.stem)
    turn = any(found.held.until for found in waiting)
    over = bool(change.former) and pair == view.pair(pair.name.stem)
    for address in view.snapshot.members.listed if offers and (turn or over) else ():
        seen = serves(view, change, address)
        if seen not in (NEEDLESS if over else {"new", "both"}):
            look = offers[0].to(address, f"see whether it serves a pair of {change.new.subject}")
            yield _again_at(view, look, STILL, came), look


def _to_prune(view: View) -> Iterator[_Look]:
    """The looks at those that were not seen since a smaller bundle was staged."""
    offers = _live_offers(view) if view.snapshot.staged else ()
    for staged in view.snapshot.staged if offers else ():
        left = shrink.unseen(view, staged)
        for address in left.addresses if left else ():
            yield NEVER, offers[0].to(address, "see what it serves before a CA leaves the bundle")


def _to_lose(view: View) -> Iterator[_Look]:
    """The looks at those that were not seen a moment ago, where the ca.crt on disk lacks what a process has loaded."""
    gone, live = {c.spki for c in departed(view.snapshot, CA.stem)}, view.pair(CA.stem)
    if not gone or live is None or not (offers := _live_offers(view)):
        return
    for address in view.snapshot.members.listed:
        seen = canary.newest(view, address)
        if seen is None or not since(view) <= seen.at <= view.now or not set(seen.anchors) - gone:
            look = offers[0].to(address, "see what it serves: ca.crt lacks a CA that is loaded")
            yield _again_at(view, look, STILL, arrived(view.snapshot, live)), look


def _to_leave(view: View) -> Iterator[_Look]:
    """The looks at everybody, each minute, where a CA leaves a bundle by itself once they are fresh."""
    offers = _live_offers(view) if any(ready(view, stem) for stem in BY_MEMBERS) else ()
    for address in view.snapshot.members.listed if offers else ():
        look = offers[0].to(address, "see that it still needs no former CA")
        yield _again_at(view, look, STILL, None), look


def _live_offers(view: View) -> tuple[Offer, ...]:
    """A live pair of the node, with which a member is looked at for what it serves."""
    live = next((p for name in OF_NODES if (p := view.pair(name.stem)) and p.leaf), None)
    return question(view, live).offers if live else ()


def _came(view: View, stem: str) -> datetime | None:
    """When the pair was staged that something waits for, or installed."""
    staged = next((s.at for s in view.snapshot.staged if s.pair.name.stem == stem), None)
    installed = view.history.last_install(stem)
    return staged or (installed.at if installed else None)


def _again_at(view: View, look: LookAt, longest: timedelta, came: datetime | None) -> datetime:
    """Soon while the pair is new: what is awaited mostly comes soon, and who is off for days is asked rarely.

    A look of the future was taken before the clock was set back.
    """
    told = [k.at for k in view.snapshot.members.looks if (k.address, k.offered) == (look.address, look.fingerprint)]
    last = max((at for at in told if at <= view.now), default=None)
    if last is None:
        return NEVER
    return last + min(longest, max(SOON, (last - came) / 4) if came else longest)


def _paced(view: View, proofs: Iterable[_Look], others: Iterable[_Look]) -> Part:
    """Those that are due, each once, proofs before the others, two in a second at most; and when the next is due."""
    each: dict[str, tuple[bool, datetime, LookAt]] = {}
    for later, looks in ((False, proofs), (True, others)):
        for at, look in looks:
            if not view.running("look", look.subject):
                each.setdefault(look.subject, (later, at, look))
    due = sorted((row for row in each.values() if row[1] <= view.now), key=lambda row: (*row[:2], row[2].subject))
    recent = [k.at for k in view.snapshot.members.looks if view.now - SECOND < k.at <= view.now]
    free = max(0, MOST - len(recent) - sum(job.kind == "look" for job in view.snapshot.in_flight))
    wakes = [at for _, at, _ in each.values() if at > view.now]
    if len(due) > free:
        wakes.append(min(recent, default=view.now) + SECOND)
    return Part(actions=tuple(look for _, _, look in due[:free]), wakes=tuple(wakes))


def _findings(view: View, waiting: Iterable[Waiting]) -> Iterator[Finding]:
    """What is said once of all pairs that wait for the same."""
    told: set[tuple[object, ...]] = set()
    for found in sorted(waiting, key=lambda w: (w.stem not in {n.stem for n in OF_NODES}, w.stem)):
        ends, held, file = found.live.effective, found.held, f"{found.stem}.crt"
        severity: Severity = "critical" if ends and view.now >= emergency_at(ends) else "warning"
        made = []
        if held.missing:
            made.append(PEERS_INCOMPLETE.found(file, held.missing, severity))
        if refused := refusing(held.rows):
            made.append(PEER_REFUSES.found(file, f"the new pair is refused: {named(refused)}", severity))
        if silent := unseen(held.rows):
            made.append(PEER_UNSEEN.found(file, f"nobody knows who accepts the new pair: {named(silent)}", severity))
        if held.person and not held.missing:
            made.append(LAYOUT_WAITING.found(file, held.why, severity))
        new = [f for f in made if (f.rule, f.message) not in told]
        told |= {(f.rule, f.message) for f in new}
        yield from new
