"""How the newest renewal of a pair ended, and which certificate was taken back, in an attempt's own terms."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from certagent.core.facts import History, Snapshot
from certagent.core.facts.history import SWAPS

Outcome = Literal["issued", "installed", "restored", "failed", "refused", "waiting", "running"]
DONE: dict[str, Outcome] = {"issue": "issued", "install": "installed", "rollback": "restored"}
ENDED: dict[str, Outcome] = {"failed": "failed", "refused": "refused", "retry": "waiting", "asked": "running"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRenewal:
    """`authority`: the one that was asked, "" of a pair that somebody put there. `reason`: of what is no success."""

    at: datetime
    outcome: Outcome
    authority: str
    reason: str


def last_renewal(history: History, stem: str) -> LastRenewal | None:
    """The newest attempt to issue, install or restore a pair; None: there was none."""
    mine = [a for a in history if a.subject == stem and a.kind in {"issue", *SWAPS}]
    if not mine:
        return None
    newest = mine[-1]
    asked = next((a.authority for a in reversed(mine) if a.kind == "issue"), "")
    if newest.outcome == "ok":
        return LastRenewal(at=newest.at, outcome=DONE[newest.kind], authority=asked, reason="")
    return LastRenewal(at=newest.at, outcome=ENDED[newest.outcome], authority=asked, reason=newest.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """A certificate that was rolled back, and is not installed again."""

    at: datetime
    fingerprint: str
    reason: str


def taken_back(snapshot: Snapshot, stem: str) -> TakenBack | None:
    """What was live before the pair that is there now was restored; None where it was not restored."""
    mine = [a for a in snapshot.history.swaps if a.subject == stem]
    if not mine or mine[-1].kind != "rollback":
        return None
    before = next((a.fingerprint for a in reversed(mine[:-1]) if a.fingerprint in snapshot.quarantined), "")
    return TakenBack(at=mine[-1].at, fingerprint=before, reason=mine[-1].reason)
