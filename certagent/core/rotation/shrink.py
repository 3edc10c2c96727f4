"""Before a CA leaves a bundle every member is looked at once more: one may have gone back to it since it was seen.

Where a person's word is what makes it leave, nobody watches that moment. So the agent waits for calm: every member was
seen a moment ago, and for twice as long as a proof of the way back counts none was silent and none changed what it
serves. A host that wants to go back, and waits for a member that was away, does so within that time, and is seen.
"""

from dataclasses import dataclass
from datetime import datetime

from certagent.core.bundles import marks
from certagent.core.facts import Staged
from certagent.core.names import CA
from certagent.core.rotation import canary
from certagent.core.rotation.accepting import longest
from certagent.core.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """The members that were not seen since the smaller bundle was staged, and until when that is waited for."""

    addresses: tuple[str, ...]
    until: datetime


def loses(view: View, staged: Staged) -> bool:
    """Whether a staged bundle lacks a CA of the live one by which members are verified."""
    return staged.pair.name == CA and bool(marks(view.pair(CA.stem)) - marks(staged.pair))


def unseen(view: View, staged: Staged) -> Unseen | None:
    """Whom a staged bundle waits for; None: nobody, or it takes nothing away."""
    listed = view.snapshot.members.listed
    if not listed or not loses(view, staged):
        return None
    seen = {at: look.at for at in listed if (look := canary.newest(view, at))}
    since = max(staged.at, view.now - longest(len(listed)))
    left = tuple(at for at in listed if at not in seen or not since <= seen[at] <= view.now)
    return Unseen(addresses=left, until=staged.at + longest(len(listed))) if left else None


def stale(view: View) -> tuple[str, ...]:
    """The members that were not seen a moment ago, as a CA that leaves a bundle asks."""
    listed, since = view.snapshot.members.listed, view.now - longest(len(view.snapshot.members.listed))
    seen = {at for at in listed if (k := canary.newest(view, at)) and since <= k.at <= view.now}
    return tuple(at for at in listed if at not in seen)


def calm_at(view: View) -> datetime | None:
    """When no member has been silent, or has changed what it serves, for long enough; None: it never was otherwise."""
    listed = view.snapshot.members.listed
    looks = [k for k in view.snapshot.members.looks if k.address in listed]
    changed = [k.served_since or k.at for at in listed if (k := canary.newest(view, at))]
    last = max((*changed, *(k.at for k in looks if k.outcome == "silent")), default=None)
    return last + 2 * longest(len(listed)) if last else None
