"""What a CA's answer says of this host's clock: a certificate that is dated long before it was asked for.

A clock that is ahead makes valid pairs look due or expired, and no other evidence shows it where the host was off, or
where the agent starts under the wrong time. The answer waits then, until the clock is right, the kernel reports it as
synchronised, or an operator asks for the renewal.
"""

from datetime import datetime, timedelta

from certagent.core.catalogue import CLOCK_UNSOUND
from certagent.core.decide.part import Part, blocked
from certagent.core.facts import Attempt, Staged
from certagent.core.findings import Finding
from certagent.core.spans import span, stamp
from certagent.core.timing import BACKDATED, lifetime
from certagent.core.view import View

DATED_BACK = timedelta(days=2)  # by a CA that rounds down to a day, in any time zone; besides BACKDATED
COMPARE = "compare `date -u` with another host, set the clock and start a time service"


def waits(view: View, staged: Staged) -> Part | None:
    """What a CA answered and what shows that the clock is ahead is not installed."""
    why = ahead(view, staged)
    return blocked("install", staged.pair.name.stem, f"the clock of this host is ahead: {why}") if why else None


def findings(view: View) -> list[Finding]:
    """One for each such answer."""
    found = ((s.pair.name.stem, ahead(view, s)) for s in view.snapshot.staged)
    remedy = COMPARE + "; if the clock is right, certagent renew {} installs what the CA sent"
    return [
        CLOCK_UNSOUND.found(f"{stem}.crt", f"the clock of this host is ahead: {why}", remedy=remedy.format(stem))
        for stem, why in found
        if why
    ]


def ahead(view: View, staged: Staged) -> str | None:
    """Why a staged answer shows that the clock is ahead; None where it does not."""
    stem, leaf = staged.pair.name.stem, staged.pair.leaf
    if leaf is None or view.snapshot.clock.synchronised or not staged.asked or view.snapshot.renewal(stem):
        return None
    asked = _asked(view, stem)
    if asked is None or staged.pair.name.is_bundle or _by_this_clock(view, asked) or _known(view, stem, staged):
        return None
    gap = min(asked.at, view.now) - leaf.not_before
    if gap <= DATED_BACK + lifetime(leaf) / BACKDATED:
        return None
    return (
        f"it said {stamp(asked.at)} when authority {asked.authority} was asked for {stem}.crt, and the certificate that"
        f" came is dated {stamp(leaf.not_before)}, {span(gap)} earlier"
    )


def _asked(view: View, stem: str) -> Attempt | None:
    """The request that was answered now, as it was first made: some CAs answer days later."""
    first: Attempt | None = None
    for attempt in reversed(view.history.issues(stem)):
        if first is not None and attempt.outcome != "retry":
            break
        if first is None and attempt.outcome != "ok":
            return None
        first = attempt
    return first


def _by_this_clock(view: View, asked: Attempt) -> bool:
    """Whether the certificate was dated by this host's own clock: that of the embedded CA."""
    return any(a.name == asked.authority and a.kind == "local" for a in view.snapshot.authorities)


def _known(view: View, stem: str, staged: Staged) -> bool:
    """Whether the CA sent again what is live already: it may have made no new certificate."""
    live = view.pair(stem)
    return live is not None and live.leaf == staged.pair.leaf


def jumped(now: datetime, steady: datetime | None) -> Finding | None:
    """Given the wall clock and what it would say had nobody set it, return the finding about a jump of over a day."""
    if steady is None or abs(now - steady) <= timedelta(days=1):
        return None
    which = "forward" if steady < now else "back"
    message = (
        f"the clock was set {which} from {stamp(steady)} to {stamp(now)}, and no time service keeps it; what only the"
        " new time makes due waits"
    )
    remedy = "start a time service, which says which is right; or set the clock, or certagent renew NAME if it is right"
    return CLOCK_UNSOUND.found("", message, "warning", remedy)
