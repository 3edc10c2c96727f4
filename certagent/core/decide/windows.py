"""When to ask a CA when it wants a live leaf renewed (RFC 9773): once, then as it says. No answer holds anything."""

from datetime import datetime

from certagent.core.actions import AskWindow
from certagent.core.decide.part import Part, total
from certagent.core.facts import Leaf, Snapshot
from certagent.core.policy import Policy, Want
from certagent.core.windows import KIND, ask_at


def part(policy: Policy, snapshot: Snapshot, now: datetime) -> Part:
    """The questions that are due; a leaf that has expired is not asked about (RFC 9773, section 4.3)."""
    if snapshot.directory.foreign or not snapshot.clock.sound:
        return Part()
    able = {a.name for a in snapshot.authorities if a.windows}
    parts = []
    for want in policy.wants if able else ():
        pair = snapshot.pair(want.name.stem)
        leaf = pair.leaf if pair else None
        authority = _authority(snapshot, want, able)
        if leaf and authority and not want.name.is_bundle and leaf.not_after > now:
            parts.append(_asking(snapshot, want.name.stem, leaf, authority, now))
    return total(parts)


def _asking(snapshot: Snapshot, stem: str, leaf: Leaf, authority: str, now: datetime) -> Part:
    if leaf.fingerprint not in snapshot.issued or any(j.kind == KIND and j.subject == stem for j in snapshot.in_flight):
        return Part()
    at = ask_at(snapshot.tried(stem), stem, leaf)
    if at is not None and now < at:
        return Part(wakes=(at,))
    return Part((AskWindow(stem, leaf.fingerprint, authority, f"when does {authority} want {stem} renewed?"),))


def _authority(snapshot: Snapshot, want: Want, able: set[str]) -> str:
    """The one that issued last, where it has windows; "" where it has none."""
    mine = [a for a in snapshot.tried(want.name.stem) if (a.kind, a.outcome) == ("issue", "ok")]
    asked = mine[-1].digest if mine else want.authorities[0] if want.authorities else ""
    return asked if asked in able and asked in want.authorities else ""
