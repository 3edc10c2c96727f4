"""What the wall clock would say if nobody had set it."""

from datetime import timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from certagent.agent.steady import Clocks, SteadyClock, boot_clock, ticking
from certagent.posix.clock import clock
from certagent.state.boots import Boots
from certagent.state.ledger import Ledger
from tests.core.building import DAY, NOW

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
BOOT = timedelta(hours=7)


def test_clock_jump_is_remembered_until_synchronised() -> None:
    """The boot clock goes on: the expected wall clock is known until the kernel says that the clock is synchronised."""
    steady = SteadyClock()
    assert steady.at(NOW, BOOT, None, synchronised=False) is None
    assert steady.at(NOW + HOUR, BOOT + HOUR, None, synchronised=False) is None
    for later in (HOUR, HOUR * 1.5):
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


def test_clock_of_restart_in_same_boot_is_compared_with_earlier_one() -> None:
    """A restart makes no wrong clock right; the wall clock that was believed goes on where nobody set it."""
    assert SteadyClock(NOW - BOOT).at(NOW + HOUR, BOOT + HOUR, None, synchronised=False) is None
    steady = SteadyClock(NOW - BOOT)
    assert steady.at(NOW + 46 * DAY, BOOT, None, synchronised=False) == NOW
    assert steady.begin == NOW - BOOT
    assert steady.at(NOW + 46 * DAY + HOUR, BOOT + HOUR, None, synchronised=True) is None
    assert steady.begin == NOW + 46 * DAY - BOOT


def test_clocks_of_next_agent_know_what_was_believed(tmp_path: Path) -> None:
    """What the first one believed is recorded once, and the next one begins with it."""
    path = str(tmp_path / "ledger.db")
    ledger = Ledger.writing(path)
    clocks = Clocks(ledger)
    clocks.remember()  # nothing is believed yet
    clocks.moment()
    for _ in range(2):
        clocks.remember()
    assert ledger.execute("select count(*) from boots") == [(1,)]
    begin = Boots(Ledger.looking(path)).begin()
    assert begin is not None
    assert abs(begin + boot_clock() - clock()) < HOUR
    Boots(ledger).remember(begin - 46 * DAY)
    fact = Clocks(Ledger.looking(path)).moment().fact
    assert fact.synchronised or (fact.steady is not None and clock() - fact.steady > 45 * DAY)


def steps(steady: SteadyClock, *rows: tuple[timedelta, timedelta]) -> list[timedelta | None]:
    """Given boot clock and jump of each pass, return how far the wall clock counts as ahead; None: it is believed."""
    found = []
    for boot, jump in rows:
        now = NOW + boot + jump
        at = steady.at(now, boot, None, synchronised=False)
        found.append(now - at if at else None)
    return found


MINUTES = [timedelta(minutes=m) for m in range(600)]


def test_clock_set_forward_by_hand_settles() -> None:
    """Without a time service the corrected clock is believed after an hour, and from then on."""
    steady = SteadyClock()
    assert steps(steady, (MINUTES[0], 0 * DAY)) == [None]
    assert steps(steady, *((MINUTES[m], DAY) for m in range(1, 61))) == [DAY] * 60
    assert steps(steady, *((MINUTES[m], DAY) for m in range(61, 200))) == [None] * 139


def test_clock_set_again_settles_an_hour_later() -> None:
    """Each jump begins the hour anew, and so does one that takes back half of it."""
    steady = SteadyClock()
    steps(steady, (MINUTES[0], 0 * DAY), (MINUTES[1], DAY), (MINUTES[59], DAY), (MINUTES[60], DAY / 2))
    assert steps(steady, (MINUTES[62], DAY / 2), (MINUTES[119], DAY / 2)) == [DAY / 2] * 2
    assert steps(steady, (MINUTES[120], DAY / 2)) == [None]


def test_clock_set_back_never_settles() -> None:
    """Under a wrong clock an older certificate would come back; what is due is due by the later moment as well."""
    steady = SteadyClock()
    steps(steady, (MINUTES[0], 0 * DAY))
    assert steps(steady, *((MINUTES[m], -DAY) for m in range(1, 600))) == [-DAY] * 599


def test_clock_set_back_to_what_it_was_is_believed() -> None:
    """A mistake that stood for hours is corrected: what was issued meanwhile is of the future, and is replaced."""
    steady = SteadyClock()
    steps(steady, (MINUTES[0], 0 * DAY), (MINUTES[1], DAY))
    assert steps(steady, (MINUTES[90], DAY), (MINUTES[91], 0 * DAY)) == [None, None]
    assert steps(steady, (MINUTES[92], DAY)) == [None]


@given(st.lists(st.tuples(st.integers(1, 90), st.sampled_from([0, 0, 0, 7, 90, -90, 4000])), min_size=1, max_size=40))
def test_clock_without_time_service_never_delays_for_long(rows: list[tuple[int, int]]) -> None:
    """Whatever it is set to: at most an hour without a jump passes before a clock that is ahead is believed.

    And one that has just been set to a new moment is not.
    """
    steady, boot, jump, known, since = SteadyClock(), timedelta(0), timedelta(0), {timedelta(0)}, timedelta(0)
    steady.at(NOW, boot, None, synchronised=False)
    for minutes, by in rows:
        boot += timedelta(minutes=minutes)
        if by:
            jump, since = jump + timedelta(minutes=by), boot
        [ahead] = steps(steady, (boot, jump))
        assert ahead is None or ahead < timedelta(0) or boot - since < HOUR
        assert ahead is not None or boot - since >= HOUR or jump in known
        known |= {jump} if ahead is None else set()


def test_reconcile_has_one_time_despite_clock_change() -> None:
    """If the wall clock is set meanwhile, the pass goes on by the boot clock from the moment that it began."""
    begin = boot_clock()
    moment = ticking(NOW, begin)
    assert NOW <= moment() <= moment() <= NOW + (boot_clock() - begin)


def test_boot_clock_goes_on() -> None:
    """It never stands still, and no program can set it."""
    assert timedelta(0) < boot_clock() <= boot_clock()
