"""When to ask a CA for the renewal window of a leaf (RFC 9773): once, then as it says. Nothing waits for it."""

from certagent.core.actions import AskWindow
from certagent.core.decide.part import NOTHING, Part, total
from certagent.core.facts import Leaf, Snapshot
from certagent.core.policy import Want
from certagent.core.view import View
from certagent.core.windows import ask_at


def part(view: View) -> Part:
    """The questions that are due; a leaf that has expired is not asked about (RFC 9773, section 4.3)."""
    if not view.snapshot.directory.managed or not view.snapshot.clock.sound:
        return NOTHING
    able = {a.name for a in view.snapshot.authorities if a.windows}
    parts = []
    for want in view.policy.wants if able else ():
        pair = view.pair(want.name.stem)
        leaf = pair.leaf if pair else None
        authority = _authority(view.snapshot, want, able)
        if leaf and authority and not want.name.is_bundle and leaf.not_after > view.now:
            parts.append(_asking(view, want.name.stem, leaf, authority))
    return total(parts)


def _asking(view: View, stem: str, leaf: Leaf, authority: str) -> Part:
    if leaf.fingerprint not in view.snapshot.issued or view.running("window", stem):
        return NOTHING
    at = ask_at(view.history, stem, leaf)
    if at is not None and view.now < at:
        return Part(wakes=(at,))
    return Part((AskWindow(stem, leaf.fingerprint, authority, f"ask {authority} when to renew {stem}"),))


def _authority(snapshot: Snapshot, want: Want, able: set[str]) -> str:
    """The one that issued last, where it has windows; "" where it has none."""
    mine = snapshot.history.issued(want.name.stem)
    asked = mine[-1].authority if mine else want.authorities[0] if want.authorities else ""
    return asked if asked in able and asked in want.authorities else ""
