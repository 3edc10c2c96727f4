"""How far each rotation is: one value, which every command, metric and event shows.

Each bundle has a rotation of its own. A phase is reached when its condition and those of all phases before it hold now.
"""

from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from certagent.core.facts import Pair, Process
from certagent.core.names import CA
from certagent.core.needs import PEERS, by_itself, by_word, issued_from, unnamed
from certagent.core.rotation import canary
from certagent.core.rotation.accepting import Accepts, here, loaded_cas, member, named, question
from certagent.core.rotation.fleet import Fleet, fleet
from certagent.core.rotation.roots import anchors, awaiting, cas, leading
from certagent.core.rotation.serve import held, said
from certagent.core.rotation.target import Change, changes
from certagent.core.view import View

Phase = Literal["known", "trusted-here", "trusted-by-all", "leaf", "leaves-everywhere", "clients-done"]
Waits = Literal["machines", "person"]
Serves = Literal[
    "new",  # a chain to the new root
    "both",  # and to a former one
    "other",  # to neither
    "old",  # to a former one alone, or to none that is known here
    "",  # it was not seen
]
NEEDLESS = frozenset({"new", "both", "other"})  # of no former CA
PRESENT = (
    "nobody has said that no client of another host presents a certificate of a former CA: `certagent rotation clients"
    " present`"
)
OF_MEMBERS = (
    "no handshake shows what the other nodes present as clients, and nobody has said that neither they nor clients of"
    " other hosts present a certificate of a former CA: `certagent rotation clients present --bundle ca-client`"
)
LEAVING = (
    "the former CAs leave the bundle by themselves, once every member was seen again and none has changed for a while"
)
LOADED = "the bundle has no former CA any more; its reload is awaited"
LET_ISSUE = (
    "no certificate of the new root is there yet, and no configured authority is known to issue from it: let the new CA"
    " issue (name it in `authority`, or switch the CA); the agent asks it at the renewal, or at once after"
    " `certagent renew NAME`"
)
NO_PAIR = "there is no certificate of the new root yet that it could be offered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One member, or one port of this host."""

    address: str
    own: bool
    accepts: bool | None  # a pair of the new root; None: nothing is known
    serves: Serves
    reason: str
    forced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """One rotation."""

    bundle: str
    root: str  # the spki of the new root
    subject: str
    former: tuple[str, ...]  # the subjects of the CAs that leave the bundle in the end
    former_roots: tuple[str, ...]  # their spki
    phase: Phase  # the last one that is reached
    waits: Waits
    why: str
    rows: tuple[Row, ...]
    incomplete: str = ""  # why the list of members cannot be relied on
    unissued: bool = False  # no authority is known to issue from the new root: a person lets one do so
    first: bool = False  # this host serves the new pair first
    words: tuple[str, ...] = ()  # what a person said

    @property
    def accepting(self) -> int:
        """How many were shown to accept a pair of the new root."""
        return sum(row.accepts is True for row in self.rows)

    @property
    def serving(self) -> int:
        """How many members were seen to serve a chain that needs no former CA."""
        return sum(row.serves in NEEDLESS for row in self.rows if not row.own)

    @property
    def exit(self) -> int:
        """2: it waits for machines, 3: for a person."""
        return 3 if self.waits == "person" else 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A phase, whether its condition holds, and what is missing."""

    phase: Phase
    holds: bool
    waits: Waits
    why: str


def rotations(view: View) -> tuple[Rotation, ...]:
    """The rotations of one directory; none: nothing changes its root."""
    return tuple(_rotation(view, change) for change in changes(view))


def _rotation(view: View, change: Change) -> Rotation:
    who, rows = fleet(view), _rows(view, change)
    unlisted = PEERS if change.bundle == CA.stem and unnamed(view) else ""
    steps = _steps(view, change, who, rows)
    done = list(takewhile(lambda step: step.holds, steps))
    ahead = steps[len(done)] if len(done) < len(steps) else _end(view, change)
    words = tuple(w.kind for w in view.snapshot.words if (w.bundle, w.root) == (change.bundle, change.new.spki))
    stop = next((STOPPED[w] for w in STOPPED if w in words), None)
    return Rotation(
        bundle=change.bundle,
        root=change.new.spki,
        subject=change.new.subject,
        former=tuple(c.subject for c in change.former),
        former_roots=tuple(c.spki for c in change.former),
        phase=done[-1].phase if done else "known",
        waits="person" if stop else ahead.waits,
        why=stop or ahead.why,
        rows=rows,
        incomplete=who.missing or (unlisted if ahead.phase == "leaves-everywhere" else ""),
        unissued=(ahead.phase, ahead.waits, pair_of(view, change)) == ("trusted-by-all", "person", None),
        first=canary.first(view, change.new.spki),
        words=tuple(dict.fromkeys(words)),
    )


def _end(view: View, change: Change) -> _Step:
    """What is left once nobody needs a former CA."""
    here = set(cas(view.snapshot, change.bundle))
    if here.isdisjoint(change.former):
        return _Step(phase="clients-done", holds=True, waits="machines", why=LOADED)
    if by_itself(view, change.bundle, change.new.spki):
        return _Step(phase="clients-done", holds=True, waits="machines", why=LEAVING)
    return _Step(phase="clients-done", holds=True, waits="person", why=PRUNE)


PRUNE = "the former CAs can leave the bundle: `certagent bundle prune`"
STOPPED = {
    "abort": "it was aborted: pairs go back to the former root, and both roots stay in the bundle",
    "pause": "it is paused; `certagent rotation resume` continues it",
}


def pair_of(view: View, change: Change) -> Pair | None:
    """The pair of the new root that members are offered: staged, or live already."""
    found = (*awaiting(view.snapshot, change.bundle), *leading(view.snapshot, change.bundle))
    return next((p for p in found if change.new.spki in anchors(p)), None)


def _rows(view: View, change: Change) -> tuple[Row, ...]:
    """Everybody who takes part."""
    pair, listed = pair_of(view, change), view.snapshot.members.listed
    if pair is None:
        return tuple(_row(view, change, Accepts(address=at, accepts=None, reason=NO_PAIR), own=False) for at in listed)
    asked = question(view, pair)
    own = tuple(_row(view, change, found, own=True) for found in here(view, asked))
    return own + tuple(_row(view, change, member(view, asked, at), own=False) for at in listed)


def _row(view: View, change: Change, found: Accepts, *, own: bool) -> Row:
    return Row(
        address=found.address,
        own=own,
        accepts=found.accepts,
        serves=_here_served(view, change, found.address) if own else serves(view, change, found.address),
        reason=found.reason,
        forced=found.forced,
    )


def _serves(change: Change, shown: frozenset[str] | None) -> Serves:
    if shown is None:
        return ""
    former = {c.spki for c in change.former}
    if change.new.spki in shown:
        return "both" if shown & former else "new"
    return "other" if shown - former else "old"


def serves(view: View, change: Change, address: str) -> Serves:
    """What a member was last seen to serve; nothing shows what it presents where another bundle verifies clients."""
    look = canary.newest(view, address) if change.bundle == CA.stem else None
    return _serves(change, frozenset(look.anchors) if look else None)


def _here_served(view: View, change: Change, address: str) -> Serves:
    """The same of an own port, which is asked after each installation: what it answered then is newer than a look."""
    look = canary.newest(view, address)
    answers = [s for s in view.snapshot.served if s.address == address and s.fingerprint]
    last = max(answers, key=lambda s: s.at, default=None)
    pairs = [p for p in leading(view.snapshot, CA.stem) if last and p.leaf and p.leaf.fingerprint == last.fingerprint]
    if change.bundle != CA.stem or not pairs or last is None or (look and look.at > last.at):
        return serves(view, change, address)
    return _serves(change, anchors(pairs[0]))


def _steps(view: View, change: Change, who: Fleet, rows: tuple[Row, ...]) -> list[_Step]:
    """Each phase after the first, in order."""
    return [
        _here(view, change),
        _by_all(view, change, who, rows),
        _leaf(view, change),
        *_afterwards(view, change, who, rows),
    ]


def _here(view: View, change: Change) -> _Step:
    """The new root is in the bundle, and the own processes have loaded it."""
    if change.new.spki not in {c.spki for c in cas(view.snapshot, change.bundle)}:
        why = f"{change.bundle}.crt does not contain the new root: `certagent bundle add FILE`"
        return _Step(phase="trusted-here", holds=False, waits="person", why=why)
    late = [p.pid for p in view.snapshot.own_processes if not _has_loaded(view, change, p)]
    why = f"pid {late[0]} has not been seen to have loaded the new {change.bundle}.crt" if late else ""
    return _Step(phase="trusted-here", holds=not late, waits="machines", why=why)


def _has_loaded(view: View, change: Change, process: Process) -> bool:
    return change.new.spki in (loaded_cas(view.snapshot, process, change.bundle) or ())


def _by_all(view: View, change: Change, who: Fleet, rows: tuple[Row, ...]) -> _Step:
    """Every member, this host included, was shown to accept a pair of the new root."""
    pair = pair_of(view, change)
    left = [r for r in rows if r.accepts is not True and not r.forced]
    if pair is None:
        issues = change.new.spki in issued_from(view, change.bundle)
        why = NO_PAIR if issues else LET_ISSUE
        return _Step(phase="trusted-by-all", holds=False, waits="machines" if issues else "person", why=why)
    if who.missing:
        return _Step(phase="trusted-by-all", holds=False, waits="person", why=who.missing)
    why = f"{len(left)} of {len(rows)} were not shown to accept the new root: {named(left)}" if left else ""
    return _Step(phase="trusted-by-all", holds=not left, waits="machines", why=why)


def _leaf(view: View, change: Change) -> _Step:
    """The own pairs are of the new root."""
    old = [p for p in leading(view.snapshot, change.bundle) if change.new.spki not in anchors(p)]
    if not old:
        return _Step(phase="leaf", holds=True, waits="machines", why="")
    stem = old[0].name.stem
    staged = next((s for s in view.snapshot.staged if s.pair.name.stem == stem), None)
    stop = held(view, staged.pair, old[0], staged.at) if staged else None
    waits: Waits = "person" if stop and stop.person else "machines"
    return _Step(
        phase="leaf", holds=False, waits=waits, why=f"{stem}.crt: {stop.why if stop else 'its renewal is awaited'}"
    )


def _afterwards(view: View, change: Change, who: Fleet, rows: tuple[Row, ...]) -> list[_Step]:
    """Every member serves such a pair; and nobody outside presents a chain that needs a former CA."""
    present = said(view, "clients-present", change.bundle, (change.new.spki,))
    yet = view.policy.rotation.outside_clients and not present
    after = _Step(phase="clients-done", holds=not yet, waits="person", why=PRESENT)
    if change.bundle != CA.stem:
        proven = bool(present) or not by_word(view)
        return [_Step(phase="leaves-everywhere", holds=proven, waits="person", why=OF_MEMBERS), after]
    left = [r for r in rows if not r.own and r.serves not in NEEDLESS]
    missing = who.missing or (f"the former CAs may be needed by {PEERS}" if unnamed(view) else "")
    silent = f"{len(left)} members were not seen to serve a pair of the new root: {named(left)}" if left else ""
    why = "; ".join(part for part in (silent, missing) if part)
    waits: Waits = "person" if missing else "machines"
    return [_Step(phase="leaves-everywhere", holds=not left and not missing, waits=waits, why=why), after]
