"""A setting that was pushed to a whole fleet, and what waits for it."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certagent.core.actions import Issue, Plan
from certagent.core.decide import decide
from certagent.core.facts import Adopted, Attempt, Authority, Leaf, Request, Snapshot
from certagent.core.policy import Policy
from certagent.core.spread import begun, spread_until
from tests.core.building import DAY, NOW, leaf, pair, policy, snapshot, want

MINUTE = timedelta(minutes=1)
LIVES = st.integers(60, 400 * 86400).map(lambda s: timedelta(seconds=s))
CHANGED = (want("ca"), want("node", names=("db1.example.com", "10.0.0.5", "new.example.com")))


def pushed(since: datetime | None = NOW, **changes: object) -> Policy:
    return policy(*CHANGED, **{"since": since, "machine": "a", **changes})


def known(live: Leaf, **changes: object) -> Snapshot:
    adopted = (Adopted("node", live.fingerprint, want().digest, live.not_before),)
    return snapshot(pair("ca"), pair("node", live), adopted=adopted, **changes)


def issued(plan: Plan) -> bool:
    return any(isinstance(action, Issue) for action in plan.actions)


@given(LIVES, st.text())
def test_changed_setting_waits_for_15_minutes_or_a_20th_at_most(life: timedelta, machine: str) -> None:
    """Its moment is the same whenever it is asked for, and then it is over."""
    live, rule = leaf(not_before=NOW, not_after=NOW + life), pushed(machine=machine)
    at = spread_until(rule, "node", live, NOW)
    if at is None:  # the hash is nothing, or below a microsecond
        return
    assert NOW < at <= NOW + min(life / 20, 15 * MINUTE)
    assert at == spread_until(rule, "node", live, NOW + (at - NOW) / 2)
    assert spread_until(rule, "node", live, at) is None


def test_changed_setting_of_a_fleet_is_spread_evenly() -> None:
    """Of a thousand hosts no minute of the fifteen has twice its share."""
    found = [spread_until(pushed(machine=str(n)), "node", leaf(), NOW) for n in range(1000)]
    minutes = [(at - NOW) // MINUTE for at in found if at]
    assert max(minutes.count(n) for n in range(15)) <= 2 * 1000 / 15
    assert min(minutes.count(n) for n in range(15)) >= 1000 / 15 / 2


def test_changed_setting_is_shown_as_blocked_until_it_is_its_turn() -> None:
    """Plan names the moment and the command that does not wait; the agent wakes then, and asks."""
    rule, found = pushed(), known(leaf())
    plan = decide(rule, found, NOW)
    assert not issued(plan)
    (blocked,) = plan.blocked
    assert "`certagent renew node` does not wait" in blocked.reason
    assert blocked.until is not None
    assert plan.wake_at is not None
    assert NOW < plan.wake_at <= blocked.until <= NOW + 15 * MINUTE
    assert issued(decide(rule, found, blocked.until))


LATER = Attempt("issue", "node", NOW - DAY, "retry", authority="house")
HURRIED = [
    ("no agent goes by it", pushed(None), known(leaf()), NOW),
    ("an operator asks", pushed(), known(leaf(), requests=(Request("renew", "node", NOW),)), NOW),
    ("the CA is on this host", pushed(), known(leaf(), authorities=(Authority("house", "local"),)), NOW),
    ("a CA has the request", pushed(), known(leaf(), attempts=(LATER,)), NOW),
    ("it is due anyway", pushed(), known(leaf(not_before=NOW - 25 * DAY, not_after=NOW + 5 * DAY)), NOW),
    ("it has expired", pushed(), known(leaf(not_before=NOW - 25 * DAY, not_after=NOW - DAY)), NOW),
    ("the clock was set back since", pushed(NOW + DAY), known(leaf()), NOW),
    ("the time is over", pushed(), known(leaf()), NOW + 15 * MINUTE),
]


@pytest.mark.parametrize(("label", "rule", "found", "now"), HURRIED, ids=[r[0] for r in HURRIED])
def test_changed_setting_does_not_wait(label: str, rule: Policy, found: Snapshot, now: datetime) -> None:
    """It takes effect immediately where nobody else is spared by a pause, or something else is the reason."""
    assert issued(decide(rule, found, now)), label


def test_missing_pair_does_not_wait() -> None:
    """A host that joins has its first certificate immediately."""
    assert issued(decide(pushed(), snapshot(pair("ca")), NOW))


def test_configuration_that_is_read_again_keeps_its_moment() -> None:
    """Only a directory whose own settings changed counts from now; a new one does, too."""
    first = begun((policy(), policy(path="/other")), (), NOW)
    assert [NOW, NOW] == [p.since for p in first]
    later = begun((policy(), replace(pushed(None), path="/other"), policy(path="/new")), first, NOW + DAY)
    assert [NOW, NOW + DAY, NOW + DAY] == [p.since for p in later]
