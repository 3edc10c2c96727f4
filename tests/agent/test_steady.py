"""What the wall clock would say if nobody had set it."""

from datetime import timedelta

from certagent.agent.steady import SteadyClock, boot_clock, ticking
from tests.core.building import DAY, NOW

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
BOOT = timedelta(hours=7)


def test_clock_jump_is_remembered_until_synchronised() -> None:
    """The boot clock goes on: the expected wall clock is known until the kernel says that the clock is synchronised."""
    steady = SteadyClock()
    assert steady.at(NOW, BOOT, None, synchronised=False) is None
    assert steady.at(NOW + HOUR, BOOT + HOUR, None, synchronised=False) is None
    for later in (HOUR, 2 * HOUR):
        assert steady.at(NOW + DAY + later, BOOT + later, None, synchronised=False) == NOW + later
    assert steady.at(NOW + DAY + 3 * HOUR, BOOT + 3 * HOUR, None, synchronised=True) is None
    assert steady.at(NOW + DAY + 4 * HOUR, BOOT + 4 * HOUR, None, synchronised=False) is None


def test_clock_jump_taken_back_is_forgotten() -> None:
    """The clock was ahead for a moment: now it is right, whatever the ledger recorded meanwhile."""
    steady = SteadyClock()
    steady.at(NOW, BOOT, None, synchronised=False)
    assert steady.at(NOW + HOUR, BOOT, NOW, synchronised=False) == NOW
    assert steady.at(NOW + SECOND, BOOT + SECOND, NOW + HOUR, synchronised=False) is None


def test_clock_behind_ledger_at_start_is_doubted() -> None:
    """One of the two is wrong: the wall clock alone decides nothing, until it has caught up or is synchronised."""
    steady = SteadyClock()
    assert steady.at(NOW, BOOT, NOW + HOUR, synchronised=False) == NOW + HOUR
    assert steady.at(NOW + HOUR, BOOT + HOUR, NOW + HOUR, synchronised=False) is None
    steady = SteadyClock()
    steady.at(NOW, BOOT, NOW + HOUR, synchronised=False)
    assert steady.at(NOW, BOOT, NOW + HOUR, synchronised=True) is None


def test_reconcile_has_one_time_despite_clock_change() -> None:
    """If the wall clock is set meanwhile, the pass goes on by the boot clock from the moment that it began."""
    begin = boot_clock()
    moment = ticking(NOW, begin)
    assert NOW <= moment() <= moment() <= NOW + (boot_clock() - begin)


def test_boot_clock_goes_on() -> None:
    """It never stands still, and no program can set it."""
    assert timedelta(0) < boot_clock() <= boot_clock()
