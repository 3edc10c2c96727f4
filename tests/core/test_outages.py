"""A simulated year in which the CA is down now and then."""

from datetime import timedelta

import pytest

from tests.core.outages import LIVES, MINUTE, year


@pytest.mark.slow
@pytest.mark.parametrize("life", LIVES, ids=str)
def test_year_of_outages(life: timedelta) -> None:
    """Once expired, a new leaf is there a minute after the CA is back; before that, 20 attempts; and never a storm."""
    found = year(life, 1)
    assert found.slowest <= MINUTE
    assert found.fewest is None or found.fewest >= 20
    assert found.busiest <= 250
