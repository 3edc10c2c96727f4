"""Renewal windows (RFC 9773): when a CA wants a certificate renewed, stored as attempts so that they survive a restart.

An attempt of kind "window" is about one leaf; `retry_at` is when to ask again. The renewal point is a hash of host,
file and leaf. Rejected: a random point in the window, as the RFC suggests, because it would change with every decision
and status could not show it.
"""

from datetime import datetime, timedelta

from certagent.core.backoff import Backoff
from certagent.core.facts import History, Leaf

UNANSWERED, NEVER_ANSWERED = timedelta(hours=6), timedelta(days=1)
RESTLESS, PAUSES = timedelta(days=1), Backoff(timedelta(minutes=15), timedelta(hours=6))


def ask_at(history: History, stem: str, leaf: Leaf) -> datetime | None:
    """When to ask about this leaf again: as the CA said, else after six hours; None: it was never asked.

    A CA that has no windows at all ("refused", whichever leaf it was asked about) is asked once a day.
    """
    every = history.windows(stem)
    asked = [a for a in every if a.fingerprint == leaf.fingerprint] or [a for a in every if a.outcome == "refused"]
    if not asked:
        return None
    pause = NEVER_ANSWERED if asked[-1].outcome == "refused" else UNANSWERED
    return asked[-1].retry_at or asked[-1].at + pause


def not_before(history: History, stem: str) -> datetime | None:
    """The earliest renewal that a window alone may ask for: a CA whose windows always lie in the past makes no storm.

    The first is free; within a day of issuances the pause doubles from a quarter of an hour up to six hours.
    """
    issued = [a.at for a in history.issued(stem)]
    recent = [at for at in issued if at > issued[-1] - RESTLESS]
    return issued[-1] + PAUSES.after(len(recent) - 1) if len(recent) > 1 else None
