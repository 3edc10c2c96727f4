"""Whether the wall clock can be believed: rows of the moment, the ledger's newest entry and the kernel's word."""

from datetime import UTC, datetime, timedelta

import pytest

from certagent.core.clock import BUILT, FAR, believable, clock_fact
from certagent.core.facts import Attempt, Clock
from tests.core.building import DAY, NOW

SECOND = timedelta(seconds=1)
AT_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CLOCKS = [
    ("an ordinary day", NOW, None, True),
    ("the day this program was built", BUILT, None, True),
    ("before it was built", BUILT - SECOND, None, False),
    ("1970, as after a dead battery", AT_EPOCH, None, False),
    ("20 years on", BUILT + FAR, None, True),
    ("more than 20 years on", BUILT + FAR + SECOND, None, False),
    ("a day behind the ledger", NOW, NOW + DAY, True),
    ("more than a day behind the ledger", NOW, NOW + DAY + SECOND, False),
    ("ahead of the ledger", NOW, NOW - 300 * DAY, True),
]


@pytest.mark.parametrize(("label", "now", "newest", "sound"), CLOCKS, ids=[r[0] for r in CLOCKS])
def test_clock_unsynchronised_is_judged_by_its_dates(
    label: str, now: datetime, newest: datetime | None, *, sound: bool
) -> None:
    """Unsynchronised, a clock is believed from the build date to 20 years later, a day behind the ledger at most."""
    found = clock_fact(now, newest, synchronised=False)
    assert (found.sound, bool(found.reason)) == (sound, not sound), label
    assert not found.synchronised


@pytest.mark.parametrize(("label", "now", "newest", "sound"), CLOCKS, ids=[r[0] for r in CLOCKS])
def test_clock_synchronised_is_always_believed(
    label: str, now: datetime, newest: datetime | None, *, sound: bool
) -> None:
    """The kernel says that the clock is synchronised: whatever the dates are, they are right."""
    del sound
    assert clock_fact(now, newest, synchronised=True) == Clock(synchronised=True), label


def test_attempts_from_the_future_are_ignored_once_the_clock_is_synchronised() -> None:
    """What was recorded while the clock was ahead counts until the kernel says that the clock is right now."""
    past, ahead = Attempt("issue", "node", NOW - DAY, "ok"), Attempt("issue", "node", NOW + DAY, "ok")
    assert believable((past, ahead), NOW, Clock()) == (past, ahead)
    assert believable((past, ahead), NOW, Clock(synchronised=True)) == (past,)
