"""One host serves a pair of a new root first; the others follow once it has been seen to serve it for a while.

The first one is the host of the lowest rank, which everybody computes from the listed addresses, or one that is
configured. A name that is spelled otherwise elsewhere leaves everybody waiting for somebody else, and a host whose
renewal is not due yet begins nothing. So each host waits for a bounded time of its own only. It is safe in any order:
every member was shown to accept the root before the first one serves it.
"""

from dataclasses import dataclass
from datetime import datetime

from certagent.core.facts import Look, Pair
from certagent.core.rotation.roots import OF_NODES, anchors
from certagent.core.spans import stamp
from certagent.core.timing import emergency_at, unit
from certagent.core.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Why it is not this host's turn yet, and until when it waits at most."""

    why: str
    until: datetime


def rank(root: str, address: str) -> float:
    """The lowest one of a root is the first host: another one for each rotation."""
    return unit(root, address)


def first(view: View, root: str) -> bool:
    """Whether this host is the one that begins."""
    members = view.snapshot.members
    if view.policy.rotation.canary or not members.listed:
        return True
    return bool(members.own) and all(rank(root, members.own) < rank(root, m) for m in members.listed)


def serving(view: View, root: str) -> tuple[str, datetime] | None:
    """Which listed member was seen to serve a chain to the root for longest, and since when."""
    shown = [k for m in view.snapshot.members.listed if (k := newest(view, m)) and root in k.anchors]
    since = [(k.served_since or k.at, k.address) for k in shown]
    return (min(since)[1], min(since)[0]) if since else None


def turn(view: View, pair: Pair, live: Pair, at: datetime) -> Turn | None:
    """What a pair that was staged at a moment waits for; None where it is this host's turn."""
    root, rule, ends = min(anchors(pair)), view.policy.rotation, live.effective
    begun = any(root in anchors(view.pair(name.stem)) for name in OF_NODES)
    if pair.name not in OF_NODES or begun or first(view, root) or (ends and view.now >= emergency_at(ends)):
        return None
    seen = serving(view, root)
    if seen is not None:
        until = seen[1] + rule.soak
        why = f"{seen[0]} serves a pair of the new root since {stamp(seen[1])}; the others follow at {stamp(until)}"
        return Turn(why=why, until=until) if view.now < until else None
    longest = rule.soak * (1 + len(view.snapshot.members.listed) * unit(root, view.policy.seed))
    until = at + (min(longest, (ends.not_after - at) / 4) if ends else longest)
    why = f"another host serves a pair of the new root first; if none is seen to, this one does at {stamp(until)}"
    return Turn(why=why, until=until) if view.now < until else None


def newest(view: View, address: str) -> Look | None:
    """The newest look at a member in which it showed a chain."""
    told = [k for k in view.snapshot.members.looks if k.address == address and k.served]
    return max(told, key=lambda k: k.at, default=None)
