"""The scheduler's hint: a moment that is asked for wakes the loop."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from certagent.host.wake import Wake

PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def wake() -> Iterator[Wake]:
    made = Wake(60)
    yield made
    made.stop()


def test_each_new_moment_wakes(wake: Wake) -> None:
    """A moment that is there wakes at once, another one does so again, and the first one after nothing was due."""
    for when in (PAST, PAST + timedelta(days=1), PAST):
        wake.at(when)
        assert wake.wait(60) == ["due"]
    wake.at(None)
    wake.at(PAST)
    assert wake.wait(60) == ["due"]


def test_an_earlier_moment_replaces(wake: Wake) -> None:
    """The moment that was asked for last counts: an earlier one does not wait for the one before it."""
    wake.at(datetime.now(UTC) + timedelta(days=1))
    wake.at(PAST)
    assert wake.wait(60) == ["due"]
