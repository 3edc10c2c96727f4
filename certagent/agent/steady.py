"""What the wall clock would say if nobody had set it: by the boot clock, since it was last believed."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from certagent.agent.wake import JUMP
from certagent.core.clock import believed


def boot_clock() -> timedelta:
    """Since boot, sleep included."""
    return timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME))


def ticking(now: datetime, boot: timedelta) -> Callable[[], datetime]:
    """Given a moment by both clocks, return a clock that goes on from it and that nobody sets.

    One pass of the loop is decided by it: a jump in the middle of a pass would make something due of which nobody knows
    yet that it is a jump's doing.
    """
    return lambda: now + (boot_clock() - boot)


class SteadyClock:
    """Of one agent. The clock is believed at the start, and whenever the kernel says that it is synchronised."""

    def __init__(self) -> None:
        """Nothing is believed before the first moment."""
        self._begin: datetime | None = None  # the wall clock's moment of boot

    def at(self, now: datetime, boot: timedelta, newest: datetime | None, *, synchronised: bool) -> datetime | None:
        """Given both clocks, the ledger's newest entry and the kernel's word, return the moment without jumps.

        None: the wall clock says it itself. While it has been behind the ledger since the start: the moment of that
        entry, so that nothing is done by the wall clock alone before the kernel vouches for it.
        """
        if synchronised or (self._begin is None and believed(now, newest)):
            self._begin = now - boot
        if self._begin is None:
            return newest
        steady = self._begin + boot
        return None if abs((now - steady).total_seconds()) <= JUMP else steady
