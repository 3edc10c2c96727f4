"""The scheduler's hint: a moment that is asked for wakes the loop."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from certagent.agent.wake import Wake

PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def wake() -> Iterator[Wake]:
    made = Wake(60)
    yield made
    made.stop()


def test_wake_timer_past_moment_wakes_once_each(wake: Wake) -> None:
    """A moment in the past wakes the loop immediately, another one again, and so does the first after none was set."""
    for when in (PAST, PAST + timedelta(days=1), PAST):
        wake.at(when)
        assert wake.wait(60) == ["due"]
    wake.at(None)
    wake.at(PAST)
    assert wake.wait(60) == ["due"]


def test_wake_timer_earlier_moment_replaces_later(wake: Wake) -> None:
    """The newest moment counts: an earlier one does not wait for the one set before it."""
    wake.at(datetime.now(UTC) + timedelta(days=1))
    wake.at(PAST)
    assert wake.wait(60) == ["due"]


def test_wake_scheduler_stopped_while_moment_due_ends_without_error() -> None:
    """The scheduler's thread ends without an error at any point of its work, so that no traceback reaches the log."""
    for _ in range(100):
        made = Wake(60)
        made.at(datetime.now(UTC) + timedelta(days=1))
        made.at(PAST)
        assert made.wait(60) == ["due"]
        made.stop()
