"""Whether a pair of another root may go live: only if every listed member, this host included, was shown to accept it.

That is so for whoever put the pair there, and for a rollback too. It does not apply where nothing can become worse,
because the live pair is of no use any more, and where neither a process nor a member is known.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from certagent.core.facts import Pair, Process, Staged, Word
from certagent.core.names import NODE
from certagent.core.rotation import canary
from certagent.core.rotation.accepting import Accepts, Question, here, member, named, question
from certagent.core.rotation.fleet import Fleet, fleet
from certagent.core.rotation.returning import refused
from certagent.core.rotation.roots import (
    OF_NODES,
    anchors,
    before,
    brought,
    cas,
    concerns,
    left,
    of_another_root,
    useless,
)
from certagent.core.serving import loaded_by
from certagent.core.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a pair of another root waits for."""

    why: str
    person: bool = False  # only a person ends it
    until: datetime | None = None
    asked: Question | None = None  # who has to be looked at
    rows: tuple[Accepts, ...] = ()  # of every member, and of this host
    missing: str = ""  # why the list of members cannot be relied on


def said(view: View, kind: str, bundle: str, roots: Iterable[str]) -> Word | None:
    """The newest word of that kind about a rotation to one of these roots."""
    known = frozenset(roots)
    words = (w for w in reversed(view.snapshot.words) if (w.kind, w.bundle) == (kind, bundle))
    return next((w for w in words if w.root in known), None)


def held(view: View, pair: Pair, live: Pair | None, at: datetime | None = None, *, back: bool = False) -> Held | None:
    """Given a pair and what members see now in its place, return what it waits for; None: it may go live.

    `live` is in use, and can be used. `at`: since when the pair is staged; None: it is on disk already, so that it
    waits for no turn, and the own process loads it together with the bundle. `back`: it is an earlier one.
    """
    if live is None or not concerns(pair.name) or not of_another_root(pair, live):
        return None
    who = fleet(view)
    if who.nobody and not who.missing:
        return None
    steps: tuple[Callable[[View, Question, Fleet], Held | None], ...] = (_stopped, _unshown)
    older = back or _older(view, pair, live)
    asked = question(view, pair, back=older or _resumed(view, pair), at_home=at is not None)
    steps += (_left,) if older else (_unsaid,)
    found = next((f for step in steps if (f := step(view, asked, who))), None)
    return found or (None if at is None or back else _early(view, pair, live, at))


def _older(view: View, pair: Pair, live: Pair) -> bool:
    """Whether the pair goes back to a former root: then what was shown before may be untrue by now."""
    bundle, roots = _about(pair)
    if roots and roots <= left(view.snapshot):
        return True
    first = brought(view.snapshot, bundle)
    if first and first.spki in roots:
        return False
    dates = [{c.not_before for c in cas(view.snapshot, bundle) if c.spki in anchors(p)} for p in (pair, live)]
    return bool(dates[0] and dates[1]) and max(dates[0]) < max(dates[1])


def _resumed(view: View, pair: Pair) -> bool:
    """Whether a rotation of the bundle was aborted here once: others may have dropped the new root because of that."""
    return bool(view.history.commands(_about(pair)[0], "rotation abort"))


def _stopped(view: View, asked: Question, _: Fleet) -> Held | None:
    """A person stopped the rotation to this root."""
    bundle, roots = _about(asked.pair)
    if said(view, "abort", bundle, roots):
        return Held(
            why="the rotation to its root was aborted; `certagent rotation resume` takes that back", person=True
        )
    if said(view, "pause", bundle, roots):
        return Held(why="the rotation is paused; `certagent rotation resume` continues it", person=True)
    return None


def _about(pair: Pair) -> tuple[str, frozenset[str]]:
    """The rotation that a pair belongs to."""
    return pair.trust.bundle if pair.trust else "", anchors(pair)


def _unshown(view: View, asked: Question, who: Fleet) -> Held | None:
    """Somebody was not shown to accept it."""
    own = here(view, asked) if asked.at_home else ()
    rows = (*own, *(member(view, asked, at) for at in who.listed))
    open_ = [r for r in rows if not r.settled]
    if who.missing:
        why = f"its root is another one, and not every member is known: {who.missing}"
        return Held(why=why, person=not who.soon, asked=asked, rows=rows, missing=who.missing)
    if not open_:
        return None
    refused = [r for r in open_ if r.accepts is False]
    told = named((*refused, *(r for r in open_ if r not in refused)))
    why = f"its root is another one, and {len(open_)} of {len(rows)} were not shown to accept it: {told}"
    return Held(why=why, asked=asked, rows=rows)


def _unsaid(view: View, asked: Question, _: Fleet) -> Held | None:
    """Clients outside the fleet verify the server by bundles that nobody sees."""
    if asked.pair.name != NODE or not view.policy.rotation.outside_clients:
        return None
    if said(view, "clients-trust", *_about(asked.pair)):
        return None
    why = (
        "its root is another one, and nobody has said that the clients of other hosts trust it: give them the new root,"
        " then `certagent rotation clients trust`; without such clients set outside_clients = false"
    )
    return Held(why=why, person=True)


def _left(view: View, asked: Question, _: Fleet) -> Held | None:
    """On the way back: clients that have left the former root may have dropped it, too."""
    live = view.pair(NODE.stem)
    if asked.pair.name != NODE or not view.policy.rotation.outside_clients or live is None:
        return None
    if not said(view, "clients-present", *_about(live)):
        return None
    why = "its root is a former one, and a person has said that no client of another host needs that any more"
    return Held(why=why, person=True)


def _early(view: View, pair: Pair, live: Pair, at: datetime) -> Held | None:
    """Another host serves such a pair first."""
    turn = canary.turn(view, pair, live, at)
    return Held(why=turn.why, until=turn.until) if turn else None


def unseen(rows: Iterable[Accepts]) -> list[Accepts]:
    """Those that were looked at, and of which nothing is known."""
    return [r for r in rows if r.accepts is None and not r.forced and r.looked]


def refusing(rows: Iterable[Accepts]) -> list[Accepts]:
    """Those that refused it."""
    return [r for r in rows if r.accepts is False and not r.forced]


def staged_held(view: View, staged: Staged) -> Held | None:
    """What a staged pair waits for, whatever the pre-install checks say of it; None: it may go live."""
    live = before(view.snapshot, staged.pair.name)
    if live is None or useless(view, live) or refused(view, live):
        return None
    return held(view, staged.pair, live, staged.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """A pair that a process must not load yet, what it has loaded instead, and what that waits for."""

    stem: str
    was: Pair
    held: Held


def loading(view: View, process: Process) -> Iterator[Loading]:
    """The node's pairs of another root than a process has loaded that not every member was shown to accept."""
    loaded = loaded_by(view.snapshot, process)
    for name in OF_NODES if loaded else ():
        pair, was = view.pair(name.stem), loaded.pair(name.stem) if loaded else None
        if pair is None or pair.leaf is None or was is None or was.effective is None or was.leaf == pair.leaf:
            continue
        found = held(view, pair, was) if view.now < was.effective.not_after else None
        if found:
            yield Loading(stem=name.stem, was=was, held=found)
