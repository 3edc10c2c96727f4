"""Findings about renewals: refused, failing, overdue, waiting for a CA's answer."""

from dataclasses import replace
from datetime import datetime

from certagent.core.catalogue import (
    RENEWAL_FAILING,
    RENEWAL_OVERDUE,
    RENEWAL_REFUSED,
    RENEWAL_WAITING,
)
from certagent.core.decide import failover
from certagent.core.decide.part import NOTHING, Part
from certagent.core.facts import Attempt, Pair, counted
from certagent.core.findings import Severity
from certagent.core.policy import Want
from certagent.core.roles import SYSTEM
from certagent.core.spans import stamp
from certagent.core.timing import emergency_at
from certagent.core.view import View

ALARM_AFTER = 3
OTHER_ROOTS = (
    'a CA that browsers on this host trust but the system does not: set `roots = "FILE"` under [certs_dir.file.ui]'
)


def overdue(want: Want, pair: Pair, now: datetime) -> Part:
    """A pair with less than 5 % of its lifetime left."""
    leaf = pair.effective
    if leaf is None or want.name.is_bundle or now < emergency_at(leaf):
        return NOTHING
    ends = f"less than 5 % of the lifetime is left; it ends at {stamp(leaf.not_after)}"
    message = ends if now < leaf.not_after else f"the certificate expired at {stamp(leaf.not_after)}"
    return Part(findings=(RENEWAL_OVERDUE.found(f"{want.name.stem}.crt", f"renewal is overdue: {message}"),))


def refused(stem: str, why: str, severity: Severity = "critical", *wakes: datetime, remedy: str | None = None) -> Part:
    """A renewal that is not asked for, and why; `wakes`: when that is looked at again."""
    return Part(findings=(RENEWAL_REFUSED.found(f"{stem}.crt", why, severity, remedy),), wakes=wakes)


def failing(view: View, want: Want, attempts: tuple[Attempt, ...]) -> Part:
    """Failed attempts: a refusal (by the CA's policy or a pre-install check) is a different finding than no answer.

    That the agent itself ended once is neither. An attempt that runs, or whose answer is staged, says nothing yet: what
    failed before it stays a finding.
    """
    found, stem = Part(), want.name.stem
    told = (a for a in attempts if not (a.unswapped or (a.kind == "rollback" and a.failed)))  # install.blocked says it
    ended = counted(tuple(a for a in told if a.outcome not in {"asked", "ok"} or a.kind == "rollback"))
    newest = [a for a in _newest(want, ended) if a.reason]
    severity: Severity = "critical" if len(ended) > ALARM_AFTER else "warning"
    if turned_down := [a for a in newest if a.outcome == "refused"]:
        message = _told(want, len(ended), "was refused", turned_down)
        remedy = _after_refusal(view, want, turned_down)
        found += Part(findings=(RENEWAL_REFUSED.found(f"{stem}.crt", message, severity, remedy),))
    if others := [a for a in newest if a.outcome != "refused"]:
        message = _told(want, len(ended), "failed", others)
        found += Part(findings=(RENEWAL_FAILING.found(f"{stem}.crt", message, severity),))
    return found


def _after_refusal(view: View, want: Want, refusals: list[Attempt]) -> str:
    if known := [text for a in refusals if (text := failover.advice(view.snapshot, want, a.authority))]:
        return known[0]
    remedy = f"certagent history {want.name.stem}; then change the configuration or the CA's policy"
    system = SYSTEM in want.name.kind.bundles_in(view.snapshot.bundles) and not want.roots
    return f"{remedy}; for {OTHER_ROOTS}" if system else remedy


def remembered(view: View, want: Want, pair: Pair) -> Part:
    """What failed for the live pair, while nothing is due: a person asked for it, and should not have to remember."""
    failed = view.history.failures(want.name.stem)
    if not failed:
        return NOTHING
    since = pair.cert.file.changed if pair.cert else view.now
    told = failing(view, want, tuple(a for a in failed if a.at > since))
    return replace(told, findings=tuple(replace(f, severity="warning") for f in told.findings))


def _newest(want: Want, failed: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """The newest failure; of each authority, where there are several."""
    if len(want.authorities) < 2:  # noqa: PLR2004 - one is not a list
        return failed[-1:]
    rows = {a.authority: a for a in failed if a.kind == "issue"}
    return tuple(sorted(rows.values(), key=lambda a: a.at))


def _told(want: Want, count: int, how: str, attempts: list[Attempt]) -> str:
    if attempts[-1].kind == "rollback":
        return f"the previous pair was restored: {attempts[-1].reason}"
    if len(want.authorities) < 2:  # noqa: PLR2004 - the same
        return f"attempt {count} {how}: {attempts[-1].reason}"
    each = "; ".join(
        f"the attempt with authority {a.authority} {how}: {a.reason}" if a.authority else a.reason for a in attempts
    )
    return f"after {count} attempts: {each}"


def answers_later(want: Want, later: Attempt | None) -> Part:
    """A request that a CA accepted and answers later, `later`; None if there is none."""
    if later is None:
        return NOTHING
    stem = want.name.stem
    message = f"authority {later.authority} accepted the request and issues later: {later.reason}"
    return Part(findings=(RENEWAL_WAITING.found(f"{stem}.crt", message),))
