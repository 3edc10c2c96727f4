"""The timing of a fleet in arrays is that of the core, and its benchmark runs."""

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import numpy as np
import pytest

from bench import arrays
from certagent.core.facts import Attempt
from certagent.core.spread import spread_until
from certagent.core.timing import EPOCH, renew_at, retry_at, unit
from tests.core.building import NOW, leaf, policy, want

TOP = Path(__file__).parents[1]
LIVES = [timedelta(minutes=20), timedelta(hours=1), timedelta(days=1), timedelta(days=7), timedelta(days=10)]
LIVES += [timedelta(days=30, seconds=7), timedelta(days=90, seconds=-1), timedelta(days=397, microseconds=1)]
HOSTS = [f"machine-{n}\ndb{n}\n/certs" for n in range(300)]


def moments(found: list[datetime]) -> arrays.Moments:
    return np.array([(at - EPOCH) // arrays.MICROSECOND for at in found])


def draws(*more: object) -> arrays.Draws:
    return np.array([unit(host, "node", *more) for host in HOSTS])


def within(random: Random, most: timedelta) -> list[datetime]:
    return [NOW + most * random.random() for _ in HOSTS]


def exactly(expected: list[datetime], found: arrays.Moments) -> None:
    assert moments(expected).tolist() == found.tolist()


@pytest.mark.parametrize("life", LIVES, ids=str)
def test_fleet_renewal_points_are_those_of_the_core(life: timedelta) -> None:
    """To the microsecond, for leaves that the agent knew from the first moment, later, or late."""
    begin, rows = within(Random(1), timedelta(days=900)), list(zip(HOSTS, strict=True))
    for share in (0.0, 0.001, 0.02, 0.2, 0.5, 0.9):
        known = [at + life * share for at in begin]
        certs = [leaf(not_before=at, not_after=at + life) for at in begin]
        expected = [renew_at(want(), c, h, known=k) for c, (h,), k in zip(certs, rows, known, strict=True)]
        exactly(expected, arrays.renew_at(life, moments(begin), moments(known), draws()))


@pytest.mark.parametrize("life", LIVES, ids=str)
@pytest.mark.parametrize("count", [1, 2, 9, 30])
def test_fleet_pauses_are_those_of_the_core(life: timedelta, count: int) -> None:
    """To the microsecond, before the expiry and after it, with and without the moment that a CA named."""
    random = Random(count)
    ends, first = within(random, life), within(random, -life)
    named = [NOW + timedelta(seconds=random.randrange(100)) for _ in HOSTS]
    for past in (timedelta(0), life / 2):
        certs = [leaf(not_before=at - life - past, not_after=at - past) for at in ends]
        expected, after = list[datetime](), list[datetime]()
        for host, cert, begun, moment in zip(HOSTS, certs, first, named, strict=True):
            failed = [Attempt("issue", "node", at, "failed") for at in [begun, *[NOW] * (count - 1)]]
            at = retry_at(tuple(failed), want(), cert, host)
            told = retry_at((Attempt("issue", "node", NOW, "failed", retry_at=moment),), want(), cert, host)
            assert at is not None
            assert told is not None
            expected.append(at)
            after.append(told)
        until, last = moments([at - past for at in ends]), moments(first if count == 1 else [NOW] * len(HOSTS))
        exactly(expected, arrays.retry_at(life, until, moments(first), last, count, draws(count)))
        exactly(after, arrays.retry_after(life, until, moments([NOW] * len(HOSTS)), moments(named), draws(1)))


@pytest.mark.parametrize("life", LIVES, ids=str)
def test_fleet_spread_of_a_changed_setting_is_that_of_the_core(life: timedelta) -> None:
    """To the microsecond, by machine-id, host, directory and file."""
    rules = [policy(machine=str(n), since=NOW) for n in range(300)]
    expected = [spread_until(r, "node", leaf(not_before=NOW, not_after=NOW + life), NOW) or NOW for r in rules]
    found = np.array([unit(r.seed, "node", "changed") for r in rules])
    exactly(expected, arrays.spread_until(life, moments([NOW] * 300), found))


@pytest.mark.slow
def test_fleet_benchmark_keeps_its_bounds_at_a_small_number() -> None:
    """`make bench-fleet` measures each row of its table; none is over its bound."""
    words = [sys.executable, "-m", "bench.fleet", "--hosts", "20000", "--json"]
    found = subprocess.run(words, cwd=TOP, capture_output=True, text=True, check=False, timeout=300)
    rows = json.loads(found.stdout)
    assert [] == [row for row in rows["figures"] if row["bound"] is not None and row["measured"] > row["bound"]]
    assert len(rows["figures"]) >= 20
    assert 0 == found.returncode


def test_fleet_numpy_is_for_the_bench_alone() -> None:
    """No module of the program imports it."""
    sources = (TOP / "certagent").rglob("*.py")
    assert [] == [p.name for p in sources if "numpy" in p.read_text(encoding="utf-8")]
