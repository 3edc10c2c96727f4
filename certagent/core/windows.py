"""Renewal windows (RFC 9773): when a CA wants a certificate renewed, kept as attempts, so that a restart asks nobody.

An attempt of kind "window" is about one leaf (its digest); where the CA answered, its reason is an ISO 8601 interval
and the CA's explanation; `retry_at` is when to ask again. Rejected: a random point in the window, as the RFC suggests
(status could not show it, and every look would find another one): ours is a hash of host, file and leaf.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from certagent.core.facts import Attempt, Leaf

KIND = "window"
UNANSWERED, NEVER_ANSWERED = timedelta(hours=6), timedelta(days=1)
RESTLESS, FIRST_PAUSE, LONGEST_PAUSE = timedelta(days=1), timedelta(minutes=15), timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Window:
    """When to renew, by the CA's word."""

    start: datetime
    end: datetime
    explanation: str = ""


def written(window: Window) -> str:
    """As an attempt's reason: `START/END EXPLANATION`."""
    return f"{window.start.isoformat()}/{window.end.isoformat()} {window.explanation}".strip()


def _read(reason: str) -> Window | None:
    interval, _, explanation = reason.partition(" ")
    start, _, end = interval.partition("/")
    try:
        return Window(datetime.fromisoformat(start), datetime.fromisoformat(end), explanation)
    except ValueError:
        return None


def _asked(attempts: Iterable[Attempt], stem: str, leaf: Leaf) -> list[Attempt]:
    return [a for a in attempts if (a.kind, a.subject, a.digest) == (KIND, stem, leaf.fingerprint)]


def window_of(attempts: Iterable[Attempt], stem: str, leaf: Leaf) -> Window | None:
    """The newest answer about this very leaf; None where the CA has not given any."""
    answers = [a for a in _asked(attempts, stem, leaf) if a.outcome == "ok"]
    return _read(answers[-1].reason) if answers else None


def ask_at(attempts: tuple[Attempt, ...], stem: str, leaf: Leaf) -> datetime | None:
    """When to ask about this leaf again: as the CA said, else after six hours; None: it was never asked.

    A CA that has no windows at all ("refused", whichever leaf it was asked about) is asked once a day.
    """
    refused = [a for a in attempts if (a.kind, a.subject, a.outcome) == (KIND, stem, "refused")]
    asked = _asked(attempts, stem, leaf) or refused
    if not asked:
        return None
    pause = NEVER_ANSWERED if asked[-1].outcome == "refused" else UNANSWERED
    return asked[-1].retry_at or asked[-1].at + pause


def not_before(attempts: Iterable[Attempt], stem: str) -> datetime | None:
    """The earliest renewal that a window alone may ask for: a CA whose windows always lie in the past makes no storm.

    The first is free; within a day of issuances the pause doubles from a quarter of an hour up to six hours.
    """
    issued = [a.at for a in attempts if (a.kind, a.subject, a.outcome) == ("issue", stem, "ok")]
    recent = [at for at in issued if at > issued[-1] - RESTLESS]
    if len(recent) <= 1:
        return None
    return issued[-1] + min(FIRST_PAUSE * float(2 ** min(len(recent) - 2, 10)), LONGEST_PAUSE)
