"""Findings about renewals: refused, failing, overdue, waiting for a CA's answer."""

from datetime import datetime

from certagent.core.catalogue import RENEWAL_FAILING, RENEWAL_OVERDUE, RENEWAL_REFUSED, RENEWAL_WAITING
from certagent.core.decide.part import Part
from certagent.core.facts import Attempt, Pair
from certagent.core.findings import Severity
from certagent.core.policy import Want
from certagent.core.roles import SYSTEM
from certagent.core.rules import stamp
from certagent.core.timing import emergency_at

ALARM_AFTER = 3
OTHER_ROOTS = (
    'a CA that browsers on this host trust but the system does not: set `roots = "FILE"` under [certs_dir.file.ui]'
)


def overdue(want: Want, pair: Pair, now: datetime) -> Part:
    """A pair with less than 5 % of its lifetime left."""
    leaf = pair.effective
    if leaf is None or want.name.is_bundle or now < emergency_at(leaf):
        return Part()
    until = stamp(leaf.not_after)
    message = f"renewal is overdue: less than 5 % of the lifetime is left, it expires at {until}"
    return Part(findings=(RENEWAL_OVERDUE.found(f"{want.name.stem}.crt", message),))


def refused(stem: str, why: str, severity: Severity = "critical", *wakes: datetime, remedy: str | None = None) -> Part:
    """A renewal that is not asked for, and why; `wakes`: when that is looked at again."""
    return Part(findings=(RENEWAL_REFUSED.found(f"{stem}.crt", why, severity, remedy),), wakes=wakes)


def failing(
    want: Want, pair: Pair, failed: tuple[Attempt, ...], now: datetime, bundles: frozenset[str] = frozenset()
) -> Part:
    """Failed attempts: a refusal (by the CA's policy or a pre-install check) is a different finding than no answer.

    `bundles`: the trust bundles that are there, for a pair that the system's roots verify where its own is not.
    """
    found, stem = overdue(want, pair, now), want.name.stem
    newest = [a for a in _newest(want, failed) if a.reason and (a.kind == "rollback" or a.failed)]
    severity: Severity = "critical" if len(failed) > ALARM_AFTER else "warning"
    if turned_down := [a for a in newest if a.outcome == "refused"]:
        message = _told(want, len(failed), "was refused", turned_down)
        remedy = f"certagent history {stem}; then change the configuration or the CA's policy"
        if SYSTEM in want.name.kind.bundles_in(bundles) and not want.roots:
            remedy += f"; for {OTHER_ROOTS}"
        found += Part(findings=(RENEWAL_REFUSED.found(f"{stem}.crt", message, severity, remedy),))
    if others := [a for a in newest if a.outcome != "refused"]:
        message = _told(want, len(failed), "failed", others)
        found += Part(findings=(RENEWAL_FAILING.found(f"{stem}.crt", message, severity),))
    return found


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
    each = "; ".join(f"authority {a.authority} {how}: {a.reason}" if a.authority else a.reason for a in attempts)
    return f"after {count} attempts: {each}"


def answers_later(want: Want, later: Attempt | None) -> Part:
    """A request that a CA accepted and answers later, `later`; None if there is none."""
    if later is None:
        return Part()
    stem = want.name.stem
    message = f"authority {later.authority} accepted the request and issues later: {later.reason}"
    return Part(findings=(RENEWAL_WAITING.found(f"{stem}.crt", message),))
