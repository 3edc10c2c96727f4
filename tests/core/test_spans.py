"""A length of time in words, one row each."""

from datetime import timedelta

import pytest

from certagent.core.spans import span

ROWS = [
    (timedelta(days=800, hours=5), "2 y 70 d"),
    (timedelta(days=2, hours=4, minutes=9), "2 d 4 h"),
    (timedelta(hours=3), "3 h"),
    (timedelta(seconds=61), "1 min 1 s"),
    (timedelta(seconds=1, milliseconds=900), "1 s"),
    (timedelta(milliseconds=430), "430 ms"),
    (timedelta(microseconds=900), "0 s"),
    (timedelta(), "0 s"),
    (timedelta(seconds=-5), "0 s"),
]


@pytest.mark.parametrize(("length", "expected"), ROWS, ids=[r[1] for r in ROWS[:-2]] + ["none", "negative"])
def test_duration_in_words(length: timedelta, expected: str) -> None:
    """Its two largest units."""
    assert expected == span(length)
