"""How much of a staged certificate's lifetime must be left for it to be installed."""

from datetime import datetime, timedelta

from certagent.core.facts import Leaf, Pair, Staged
from certagent.core.policy import Want
from certagent.core.spans import span, stamp
from certagent.core.timing import lifetime


def minimum(want: Want, leaf: Leaf) -> timedelta:
    """The lifetime that must be left for an installation: as configured, else a quarter, a day at most."""
    return want.minimum if want.minimum is not None else min((want.lifetime or lifetime(leaf)) / 4, timedelta(days=1))


def aged(want: Want, staged: Staged, now: datetime) -> bool:
    """Whether a certificate had enough of its lifetime left when it was staged, and has not now.

    Its CA did nothing wrong: the agent, or what the certificate had to wait for, was away for too long.
    """
    leaf = staged.pair.leaf
    if leaf is None or want.name.is_bundle:
        return False
    ends = (staged.pair.effective or leaf).not_after
    return staged.at <= ends - minimum(want, leaf) < now


def lifetime_problem(
    want: Want, staged: Staged, leaf: Leaf, live: Pair | None, asked: bool, now: datetime
) -> str | None:
    """Why too little of its lifetime is left, or it ends no later than the live one; None if neither is so.

    `asked`: the change was asked for, so that NotAfter need not be later.
    """
    least = minimum(want, leaf)
    new, old = staged.pair.effective or leaf, live.effective if live else None
    by_ca = f": its CA {staged.pair.ends_by} expires then" if staged.pair.ends_by else ""
    if new.not_after - now < least:
        return f"the remaining lifetime {span(new.not_after - now)} is below the minimum of {span(least)}{by_ca}"
    if old is not None and old.not_after >= new.not_after and not (asked and staged.asked):
        return (
            f"the new certificate expires at {stamp(new.not_after)}, not later than the live one"
            f" ({stamp(old.not_after)}){by_ca}"
        )
    return None
