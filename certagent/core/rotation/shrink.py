"""Before a CA leaves a bundle every member is looked at once more: one may have gone back to it since it was seen."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from certagent.core.bundles import marks
from certagent.core.facts import Staged
from certagent.core.names import CA
from certagent.core.rotation import canary
from certagent.core.rotation.accepting import EACH, FRESH
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
    left = tuple(at for at in listed if at not in seen or not staged.at <= seen[at] <= view.now)
    return Unseen(addresses=left, until=staged.at + longest(len(listed))) if left else None


def longest(members: int) -> timedelta:
    """How long it takes to look at everybody once more."""
    return FRESH + EACH * members
