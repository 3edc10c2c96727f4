"""An agent that keeps ending is a finding, also while it runs; one that is stopped and started is none."""

from datetime import timedelta

import pytest

from certagent.core.restarts import Start, restarting
from certagent.core.spans import stamp
from tests.core.building import NOW


def starts(*spec: str) -> list[Start]:
    """Each "9" or "9s": started so many minutes ago, and s: stopped afterwards."""
    return [Start(at=NOW - timedelta(minutes=float(s.rstrip("s"))), stopped=s.endswith("s")) for s in spec]


NONE: dict[str, list[str]] = {
    "never started": [],
    "the first start": ["1"],
    "killed once": ["5", "4"],
    "killed twice": ["5", "4", "3"],
    "restarted by hand again and again": ["6s", "5s", "4s", "3s", "2s", "1"],
    "two ends and two stops": ["6s", "5", "4s", "3", "2"],
    "three ends in more than ten minutes": ["12", "11", "6", "1"],
    "long ago": ["60", "59", "58", "57"],
    "starts of a clock that was ahead": ["-57", "-58", "-59", "-60"],
}
FOUND: dict[str, tuple[list[str], int, int]] = {  # the starts, how many count, when the last was
    "killed three times": (["4", "3", "2", "1"], 3, 1),
    "killed five times": (["6", "5", "4", "3", "2", "1"], 5, 1),
    "the first of them long ago": (["600", "9", "8", "7"], 3, 7),
    "with stops between": (["9", "8s", "7", "6s", "5", "4", "3"], 4, 3),
    "stopped at last": (["4", "3", "2", "1s"], 3, 1),
    "exactly ten minutes": (["11", "10", "9", "8"], 3, 8),
    "after the clock was set back": (["-60", "3", "2", "1"], 3, 1),
}


@pytest.mark.parametrize("spec", NONE.values(), ids=NONE)
def test_restarts_that_are_no_finding(spec: list[str]) -> None:
    """Fewer than three unexpected ends within ten minutes, and any number of stops."""
    assert restarting(starts(*spec), NOW) is None


@pytest.mark.parametrize(("spec", "count", "last"), FOUND.values(), ids=FOUND)
def test_restarts_that_are_a_finding(spec: list[str], count: int, last: int) -> None:
    """It says how many times, and when last."""
    found = restarting(starts(*spec), NOW)
    assert found is not None
    assert (found.code, found.severity, found.file) == ("agent.restarting", "warning", "")
    assert f"{count} times within ten minutes, most recently at {stamp(NOW - timedelta(minutes=last))}" in found.message
