"""What looks at members are remembered, and what a look should show: for the agent's memory and for `predict`."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from certagent.core.actions import LookAt
from certagent.core.facts import Look, Snapshot
from certagent.core.names import NODE


def newest(looks: Iterable[Look], look: Look) -> tuple[Look, ...]:
    """Given what is known and one look more, return the newest for each member and pair.

    Silence says nothing, so it does not take the place of an answer: beside that the newest silence is kept. Since when
    the member has served its leaf is carried over from any look at it, whatever was offered.
    """
    known = tuple(looks)
    same = [k for k in known if k.address == look.address and k.served and k.served == _last_served(known, look)]
    begun = [k.served_since or k.at for k in same if k.served == look.served]
    new = replace(look, served_since=min(begun)) if begun else look
    return (*(k for k in known if not _replaces(new, k)), new)


def _replaces(new: Look, known: Look) -> bool:
    same = (new.address, new.offered) == (known.address, known.offered)
    return same and (new.outcome != "silent" or known.outcome == "silent")


def _last_served(known: tuple[Look, ...], look: Look) -> str:
    """The leaf that the member served when it was last seen to serve one."""
    seen = [k for k in known if k.address == look.address and k.served]
    return max(seen, key=lambda k: k.at).served if seen else ""


def of_interest(looks: tuple[Look, ...], snapshot: Snapshot) -> tuple[Look, ...]:
    """Those looks whose pair is live, staged or kept here: what was said of another one is forgotten."""
    if not looks:
        return ()
    pairs = (*snapshot.pairs, *(s.pair for s in snapshot.staged), *(g.pair for g in snapshot.generations))
    here = {pair.leaf.fingerprint for pair in pairs if pair.leaf is not None}
    return tuple(look for look in looks if look.offered in here)


def predicted(snapshot: Snapshot, action: LookAt, now: datetime) -> Snapshot:
    """Given a look, return the snapshot after the member took the pair; it serves what it was last seen to serve.

    One that was never seen to serve anything is taken to serve a chain to the same CAs as this host.
    """
    before = [k for k in snapshot.members.looks if k.address == action.address and k.anchors]
    own = snapshot.pair(NODE.stem)
    look = Look(
        address=action.address,
        at=now,
        stem=action.offers,
        offered=action.fingerprint,
        outcome="accepted",
        served=before[-1].served if before else "",
        anchors=before[-1].anchors if before else own.trust.anchors if own and own.trust else (),
    )
    return replace(snapshot, members=replace(snapshot.members, looks=newest(snapshot.members.looks, look)))
