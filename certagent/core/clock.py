"""Whether the wall clock is plausible, and which attempts then count."""

from datetime import UTC, datetime, timedelta

from certagent.core.facts import Attempt, Clock

BUILT = datetime(2026, 1, 1, tzinfo=UTC)
FAR = timedelta(days=20 * 365)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
AHEAD = timedelta(minutes=5)
SETTLED = timedelta(hours=1)  # a time service corrects a clock within minutes; a certificate of a day can wait as long


def believed(now: datetime, newest: datetime | None) -> bool:
    """Whether an agent that starts takes the clock as it is: not where the ledger knows of a later moment.

    Then either it was ahead when that was written, or it is behind now; only the kernel's word tells which.
    """
    return newest is None or newest - now <= AHEAD


def clock_fact(now: datetime, newest: datetime | None, *, synchronised: bool, steady: datetime | None = None) -> Clock:
    """Given the wall clock, the ledger's newest entry and the kernel's word, say whether the clock can be believed.

    `steady`: what the clock would say if nobody had set it; that counts while the kernel does not vouch for it.
    """
    if synchronised:
        return Clock(synchronised=True)
    if now < BUILT:
        return Clock(
            sound=False, reason=f"the clock says {now:%Y-%m-%d %H:%M} UTC, which is before this program was built"
        )
    if now > BUILT + FAR:
        return Clock(
            sound=False,
            reason=f"the clock says {now:%Y-%m-%d %H:%M} UTC, which is 20 years after this program was built",
        )
    if newest is not None and newest - now > DAY:
        reason = (
            f"the clock says {now:%Y-%m-%d %H:%M} UTC, but the ledger has an entry of {newest:%Y-%m-%d %H:%M} UTC: the"
            " clock is behind, or it was ahead when that was written"
        )
        return Clock(sound=False, reason=reason)
    return Clock(steady=steady)


def believable(attempts: tuple[Attempt, ...], now: datetime, clock: Clock) -> tuple[Attempt, ...]:
    """Given the recorded attempts, drop those from the future once the kernel says that the clock is synchronised."""
    return tuple(a for a in attempts if a.at <= now + MINUTE) if clock.synchronised else attempts
