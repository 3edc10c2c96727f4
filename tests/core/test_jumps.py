"""Wrong clocks: a certificate of the future, and what only a jump makes due."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certagent.core.actions import Install, Issue, Plan, RejectStaged, Rollback
from certagent.core.clock import believed, clock_fact
from certagent.core.decide import decide
from certagent.core.facts import Adopted, Attempt, Clock, Generation, InFlight, Pair, Request, Snapshot, Trust
from certagent.core.timing import AHEAD
from tests.core.building import DAY, NOW, generation, leaf, pair, policy, snapshot, staged, want

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
DID = Issue | Install | RejectStaged | Rollback


def plan(found: Snapshot, rules: Any = None, now: datetime = NOW) -> Plan:
    return decide(rules or policy(), found, now)


def did(made: Plan) -> list[str]:
    return [type(a).__name__ for a in made.actions if isinstance(a, DID)]


def future(ahead: timedelta, **changes: Any) -> Snapshot:
    """A live pair whose validity begins that long from now."""
    return snapshot(pair("ca"), pair(cert=leaf(not_before=NOW + ahead, not_after=NOW + ahead + 30 * DAY)), **changes)


def failed(*ago: timedelta) -> tuple[Attempt, ...]:
    bad = generation().pair.leaf
    assert bad is not None
    return tuple(Attempt("rollback", "node", NOW - t, "failed", fingerprint=bad.fingerprint) for t in ago)


EARLIER: tuple[Generation, ...] = (generation(),)
OTHER_CA = replace(generation(), pair=replace(generation().pair, trust=Trust("ca", "its issuer is not in the bundle")))
ADOPTED = (Adopted("node", "node-1", want().digest),)
ASKED = (Request("renew", "node", NOW),)
RUNS = (InFlight("issue", "node", NOW),)
FUTURES = [
    ("by an hour, with an earlier pair", future(HOUR, generations=EARLIER), ["Rollback"]),
    ("by an hour, without one", future(HOUR), ["Issue"]),
    ("by six minutes", future(6 * MINUTE), ["Issue"]),
    ("by five minutes: the CA's clock", future(AHEAD), []),
    ("that another made", future(HOUR, issued=frozenset(), adopted=ADOPTED), ["Issue"]),
    ("the earlier pair has expired", future(HOUR, generations=(generation(not_after=NOW - DAY),)), ["Issue"]),
    (
        "the earlier pair is of the future as well",
        future(HOUR, generations=(generation(not_before=NOW + HOUR),)),
        ["Issue"],
    ),
    ("the earlier pair is of a CA that nobody trusts", future(HOUR, generations=(OTHER_CA,)), ["Issue"]),
    ("the rollback failed a moment ago", future(HOUR, generations=EARLIER, attempts=failed(SECOND / 2)), []),
    ("it failed a second ago", future(HOUR, generations=EARLIER, attempts=failed(SECOND)), ["Rollback"]),
    ("another pair is asked for", future(HOUR, generations=EARLIER, in_flight=RUNS), []),
    ("another pair is staged", future(HOUR, generations=EARLIER, staged=(staged(),)), ["Install"]),
    ("under an unsound clock", future(HOUR, generations=EARLIER, clock=Clock(sound=False, reason="1970")), []),
    ("under a clock that a jump set back", future(HOUR, generations=EARLIER, clock=Clock(steady=NOW + 2 * HOUR)), []),
    ("which is synchronised", future(HOUR, generations=EARLIER, clock=Clock(synchronised=True)), ["Rollback"]),
]


@pytest.mark.parametrize(("label", "found", "expected"), FUTURES, ids=[r[0] for r in FUTURES])
def test_certificate_of_the_future_gives_way_to_earlier_pair(label: str, found: Snapshot, expected: list[str]) -> None:
    """A clock was ahead for a moment: its certificate is not valid yet, and an earlier valid pair is restored.

    Every handshake fails meanwhile. Without an earlier pair another one is issued.
    """
    assert expected == did(plan(found)), label


def test_certificate_of_the_future_externally_managed_stays() -> None:
    """A certificate of the future that no authority of ours issues is reported, and stays."""
    made = plan(future(HOUR, generations=EARLIER), policy(want("ca"), want(authorities=())))
    assert [] == did(made)
    assert "cert.not-yet-valid" in [f.code for f in made.findings]


def test_certificate_of_the_future_successor_may_expire_earlier() -> None:
    """It expires an hour later than any that is issued now: no reason to refuse the new one."""
    made = plan(future(HOUR, staged=(staged(),)))
    assert ["Install"] == did(made)


def aged(age: timedelta) -> Pair:
    return pair(cert=leaf(not_before=NOW - age, not_after=NOW - age + 30 * DAY))


def jumped(found: Snapshot, jump: timedelta) -> Snapshot:
    """The clock was set by that much, and no time service vouches for it."""
    return replace(found, clock=Clock(steady=NOW - jump))


DUE, EXPIRED = snapshot(pair("ca"), aged(21 * DAY)), snapshot(pair("ca"), aged(31 * DAY))
SOON = replace(snapshot(), staged=(staged(cert=leaf(serial=2, not_before=NOW - HOUR, not_after=NOW + 30 * DAY)),))
LATE = replace(
    snapshot(pair("ca")), staged=(staged(cert=leaf(serial=2, not_before=NOW - 9 * DAY, not_after=NOW - HOUR)),)
)
JUMPS = [
    ("five days ahead, due by these", jumped(DUE, 5 * DAY), []),
    ("an hour ahead, due before it", jumped(DUE, HOUR), ["Issue"]),
    ("a month ahead, expired by that", jumped(EXPIRED, 29 * DAY), []),
    ("a month ahead, and synchronised", replace(EXPIRED, clock=Clock(synchronised=True)), ["Issue"]),
    ("a month ahead, and asked for", replace(jumped(EXPIRED, 29 * DAY), requests=ASKED), ["Issue"]),
    ("an hour ahead, and the certificate is missing", jumped(snapshot(pair("ca")), HOUR), ["Issue"]),
    ("two hours ahead, an answer of the future before", jumped(SOON, 2 * HOUR), []),
    ("two hours ahead, asked for", replace(jumped(SOON, 2 * HOUR), requests=ASKED), ["Install"]),
    ("half an hour ahead", jumped(SOON, HOUR / 2), ["Install"]),
    ("a day ahead, an answer that has expired by that", jumped(LATE, 2 * DAY), []),
    ("and that expired before it", jumped(LATE, HOUR / 2), ["RejectStaged"]),
]


@pytest.mark.parametrize(("label", "found", "expected"), JUMPS, ids=[r[0] for r in JUMPS])
def test_clock_jump_makes_nothing_due_until_synchronised(label: str, found: Snapshot, expected: list[str]) -> None:
    """While the kernel does not say that the clock is synchronised, a jump renews, installs and rejects nothing.

    What was due without it is done, and so is what an operator asks for.
    """
    made = plan(found)
    assert expected == did(made), label
    assert expected or any("the clock was set and is not synchronised" in b.reason for b in made.blocked)


def test_clock_set_forward_says_how_long_it_waits() -> None:
    """`plan` says that it ends by itself; for a clock that was set back, only the kernel's word ends it."""
    ahead = [b.reason for b in plan(jumped(DUE, 5 * DAY)).blocked]
    assert [r.endswith("waits for 1 h") for r in ahead] == [True]
    back = [b.reason for b in plan(replace(future(HOUR), clock=Clock(steady=NOW + 2 * HOUR))).blocked]
    assert [r.endswith("makes due waits") for r in back] == [True]


@given(st.integers(0, 40 * 24), st.integers(1, 60 * 24))
def test_clock_set_back_delays_nothing_that_is_due(age: int, hours: int) -> None:
    """What is due now is due by the later moment as well: only a certificate of the future waits."""
    found = snapshot(pair("ca"), aged(age * HOUR))
    assert did(plan(found)) == did(plan(replace(found, clock=Clock(steady=NOW + hours * HOUR))))


BELIEVED = [
    ("no entry yet", None, True),
    ("the newest entry is past", NOW - HOUR, True),
    ("of a moment ahead", NOW + AHEAD, True),
    ("of an hour ahead", NOW + HOUR, False),
]


@pytest.mark.parametrize(("label", "newest", "expected"), BELIEVED, ids=[r[0] for r in BELIEVED])
def test_clock_at_start_is_compared_with_ledger(label: str, newest: datetime | None, expected: bool) -> None:
    """It is believed, unless the ledger has a later moment: one of the two is wrong then."""
    assert expected == believed(NOW, newest), label


def test_clock_synchronised_ends_the_jump() -> None:
    """The kernel confirms the new time; without its confirmation the fact has the expected time."""
    assert clock_fact(NOW, None, synchronised=True, steady=NOW - DAY).steady is None
    assert clock_fact(NOW, None, synchronised=False, steady=NOW - DAY).steady == NOW - DAY
