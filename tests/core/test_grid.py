"""The points at which the leaves of a fleet are renewed by default."""

from datetime import timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certagent.core.actions import Issue
from certagent.core.decide import decide
from certagent.core.facts import Adopted
from certagent.core.policy import RenewAt
from certagent.core.status import document, rfc3339
from certagent.core.timing import EPOCH, emergency_at, renew_at, unit
from certagent.core.view import Planned, View
from tests.core.building import DAY, NOW, leaf, pair, policy, snapshot, want

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
LIVES = st.integers(60, 800 * 86400).map(lambda s: timedelta(seconds=s))
PARTS = st.floats(0, 1, exclude_max=True)
CASES = [(HOUR, 1 / 2), (DAY, 1 / 2), (7 * DAY, 1 / 2), (30 * DAY, 2 / 3), (90 * DAY, 2 / 3), (365 * DAY, 2 / 3)]
HOSTS = [f"machine-{n}\ndb1\n/certs" for n in range(2000)]
CAS = [  # lifetime, and how far the CA dates back
    ("the embedded CA", 30 * DAY, timedelta(0)),
    ("Let's Encrypt", 90 * DAY - SECOND, HOUR),
    ("Let's Encrypt, six days", 160 * HOUR, HOUR),
    ("step-ca", DAY + MINUTE, MINUTE),
    ("step-ca, an hour", HOUR + MINUTE, MINUTE),
    ("Vault", 30 * DAY + 30 * SECOND, 30 * SECOND),
]


def fraction(life: timedelta) -> Fraction:
    return Fraction(1, 2) if life < 10 * DAY else Fraction(2, 3)


@pytest.mark.parametrize(("life", "part"), CASES, ids=[str(r[0]) for r in CASES])
def test_grid_spreads_a_fleet_that_was_issued_together(life: timedelta, part: float) -> None:
    """The first renewals fill the second half of the fraction evenly: no slice of 20 has twice the mean of a cycle."""
    cert = leaf(not_before=NOW, not_after=NOW + life)
    ages = [(renew_at(want(), cert, host) - NOW) / life for host in HOSTS]
    assert part / 2 < min(ages)
    assert max(ages) <= part + 1e-9
    slices = [sum(part / 2 <= age - n * part / 40 < part / 2 + part / 40 for age in ages) for n in range(20)]
    assert max(slices) <= 1.4 * len(HOSTS) / 20  # the mean of the whole cycle is half of that of its second half
    assert min(slices) >= 0.6 * len(HOSTS) / 20


@pytest.mark.parametrize(("ca", "life", "back"), CAS, ids=[r[0] for r in CAS])
def test_grid_period_is_the_fraction_exactly(ca: str, life: timedelta, back: timedelta) -> None:
    """From the first renewal on a leaf is renewed after exactly the fraction, though CAs date back and take seconds."""
    for host in HOSTS[:50]:
        now, renewals = NOW, []
        for cycle in range(6):
            took = SECOND * unit(host, cycle)
            cert = leaf(not_before=now + took - back, not_after=now + took - back + life)
            now = renew_at(want(), cert, host, known=now + took * 2)
            renewals.append(now)
        whole = life * fraction(life).numerator / fraction(life).denominator
        assert all(abs(b - a - whole) < MINUTE / 1e6 for a, b in pairwise(renewals)), ca


def test_grid_phase_survives_an_outage() -> None:
    """Hosts that an outage made late go back to their own points: what it brought together is apart a cycle later."""
    life = 30 * DAY
    for host in HOSTS[:50]:
        point = renew_at(want(), leaf(not_before=NOW, not_after=NOW + life), host)
        late = point + life / 4
        again = renew_at(want(), leaf(not_before=late, not_after=late + life), host, known=late)
        assert again == point + life * 2 / 3


@given(LIVES, PARTS, st.text())
def test_grid_point_is_never_later_than_before(life: timedelta, back: float, host: str) -> None:
    """At 2/3 of the lifetime (1/2) at the latest, as before the grid; a CA that dates back adds a 40th at most."""
    cert, part = leaf(not_before=NOW, not_after=NOW + life), fraction(life)
    latest = NOW + life * part.numerator / part.denominator
    assert NOW + life * float(part) / 2 < renew_at(want(), cert, host) <= latest + SECOND / 1e6
    at = renew_at(want(), cert, host, known=NOW + life * back)
    assert NOW + life * float(part) / 2 < at <= latest + life / 40 + SECOND / 1e6
    assert at < emergency_at(cert)
    if back > float(part) / 2 + 1 / 40:
        assert at <= latest


@given(LIVES, PARTS, st.text())
def test_grid_point_of_leaf_that_was_first_seen_late_is_not_over(life: timedelta, age: float, host: str) -> None:
    """An older leaf is not due when the agent sees it first, unless it would have been before the grid: no stampede."""
    cert, part = leaf(not_before=NOW, not_after=NOW + life), fraction(life)
    before = renew_at(want(renew_at=RenewAt(fraction=part)), cert, host)
    known = NOW + life * age
    assert renew_at(want(), cert, host, known=known) > known or before <= known


@given(LIVES, st.integers(-(10**9), 10**9), st.text())
def test_grid_point_does_not_trust_the_clock_that_saw_the_leaf(life: timedelta, seconds: int, host: str) -> None:
    """Whatever a wrong clock recorded, a leaf is renewed in the second half of the fraction."""
    cert, part = leaf(not_before=NOW, not_after=NOW + life), float(fraction(life))
    at = renew_at(want(), cert, host, known=NOW + seconds * SECOND)
    assert NOW + life * part / 2 - SECOND < at <= NOW + life * (part + 1 / 40) + SECOND


def test_grid_points_of_a_host_lie_a_third_apart() -> None:
    """Whenever it is renewed, the next point is one of the same grid; another file has another one."""
    life = 90 * DAY
    for stem in ("node", "client.root"):
        rests = set()
        for n in range(50):
            start = NOW + n * 5 * DAY
            at = renew_at(want(stem), leaf(stem, not_before=start, not_after=start + life), "db1", known=start)
            rests.add((at - EPOCH) % (life / 3))
        assert rests == {life / 3 * unit("db1", stem)}


def test_grid_point_is_the_one_that_is_shown_and_acted_upon() -> None:
    """Status, the next wake-up and the decision agree to the microsecond; a moment earlier nothing is issued."""
    live, rule = pair("node"), policy()
    assert live.leaf is not None
    adopted = (Adopted("node", live.leaf.fingerprint, want().digest, live.leaf.not_before),)
    found = snapshot(pair("ca"), live, adopted=adopted)
    at = View(policy=rule, snapshot=found, now=NOW).renew_at(want(), live.leaf)
    plan = decide(rule, found, NOW)
    shown = document([Planned(policy=rule, snapshot=found, plan=plan)], NOW, None)
    (node,) = (f for d in shown["certs_dirs"] for f in d["files"] if f["name"] == "node")
    assert node["renew_at"] == rfc3339(at)
    due = (any(isinstance(a, Issue) for a in decide(rule, found, at - late).actions) for late in (SECOND, 0 * SECOND))
    assert [False, True] == list(due)


@pytest.mark.parametrize("age", [11, 14, 17])
def test_adopted_fleet_is_not_due_at_its_first_sight(age: int) -> None:
    """Of a thousand hosts that begin to use the agent with leaves of one age none asks a CA; each will by 2/3."""
    cert = leaf(not_before=NOW - age * DAY, not_after=NOW + (30 - age) * DAY)
    found = snapshot(pair("ca"), pair("node", cert))
    points = [View(policy=policy(machine=str(n)), snapshot=found, now=NOW).renew_at(want(), cert) for n in range(1000)]
    assert min(points) > NOW
    assert max(points) <= cert.not_before + 20 * DAY
