"""What the wall clock would say if nobody had set it: by the boot clock, since it was last believed."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from certagent.agent.wake import JUMP, clock_synchronised
from certagent.core.clock import SETTLED, believed, clock_fact
from certagent.core.facts import Clock
from certagent.posix.clock import clock
from certagent.posix.errors import HostError
from certagent.state.boots import Boots
from certagent.state.ledger import Ledger


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
    """Of one agent. The clock is believed at the start, and whenever the kernel says that it is synchronised.

    At a restart within the same boot of the host a jump is measured by what was believed before: else a restart
    would make a clock right that is wrong. A host that was off has booted since, and its clock is believed.

    A host without a time service never says so: there a clock that was set forward, as by a person who corrects it, is
    believed once it has run for SETTLED without another jump. One that was set back is not: nothing that is due waits
    for that, and by a wrong clock an older certificate would come back. Rejected: believing it after a number of
    passes, because events cause any number of them within a second.
    """

    def __init__(self, begin: datetime | None = None) -> None:
        """`begin`: the wall clock's moment of this boot as it was believed last; None: nothing is believed yet."""
        self._begin = begin
        self._earlier: datetime | None = None  # as it was believed before a jump that has settled
        self._seen: tuple[datetime, timedelta] | None = None  # as it is, and since when by the boot clock

    def at(self, now: datetime, boot: timedelta, newest: datetime | None, *, synchronised: bool) -> datetime | None:
        """Given both clocks, the ledger's newest entry and the kernel's word, return the moment without jumps.

        None: the wall clock says it itself. While it has been behind the ledger since the start: the moment of that
        entry, so that nothing is done by the wall clock alone before the kernel vouches for it.
        """
        begin = now - boot
        if self._seen is None or _apart(begin, self._seen[0]):
            self._seen = begin, boot
        if synchronised or (self._begin is None and believed(now, newest)):
            self._begin, self._earlier = begin, None
        elif self._begin is not None and _apart(begin, self._begin) and self._settled(begin, boot):
            self._begin, self._earlier = begin, self._begin
        if self._begin is None:
            return newest
        return self._begin + boot if _apart(begin, self._begin) else None

    @property
    def begin(self) -> datetime | None:
        """The wall clock's moment of boot, as it is believed."""
        return self._begin

    def _settled(self, begin: datetime, boot: timedelta) -> bool:
        """Whether the wall clock may be believed from now on: it was set back to what it was, or forward long ago."""
        if self._earlier is not None and not _apart(begin, self._earlier):
            return True
        since = self._seen[1] if self._seen else boot
        return self._begin is not None and begin > self._begin and boot - since >= SETTLED


def _apart(one: datetime, other: datetime) -> bool:
    return abs((one - other).total_seconds()) > JUMP


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """By what one pass over a certs directory is decided."""

    fact: Clock
    ticking: Callable[[], datetime]


class Clocks:
    """The clocks of one agent; safe to use from every thread."""

    def __init__(self, ledger: Ledger) -> None:
        """Reads what was believed before, where this boot has seen an agent already."""
        self._ledger, self._boots = ledger, Boots(ledger)
        self._recorded = self._boots.begin()
        self._lock, self._steady = threading.Lock(), SteadyClock(self._recorded)
        self._newest: tuple[int, datetime | None] | None = None  # of the ledger, and after how many changes of it

    def moment(self) -> Moment:
        """Now, by all of them."""
        newest = self._newest_entry()
        with self._lock:
            now, boot, synchronised = clock(), boot_clock(), clock_synchronised()
            steady = self._steady.at(now, boot, newest, synchronised=synchronised)
        fact = clock_fact(now, newest, synchronised=synchronised, steady=steady)
        return Moment(fact=fact, ticking=ticking(now, boot))

    def remember(self) -> None:
        """Record what is believed, where that is something new; what cannot be written is written later."""
        with self._lock:
            begin = self._steady.begin
        if begin is None or (self._recorded is not None and not _apart(begin, self._recorded)):
            return
        if self._boots.remember(begin):
            self._recorded = begin

    def _newest_entry(self) -> datetime | None:
        """When the ledger's newest entry was made; read again after the ledger changed."""
        changes, known = self._ledger.changes, self._newest
        if known is not None and known[0] == changes:
            return known[1]
        try:
            found = self._ledger.newest()
        except HostError:
            return None
        self._newest = (changes, found)
        return found
