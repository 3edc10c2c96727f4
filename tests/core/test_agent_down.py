"""Where the configuration expects an agent and none answers, nothing is "ok"."""

from datetime import timedelta
from fractions import Fraction

from certagent.core.catalogue import AGENT_DOWN, WATCH_DEGRADED
from certagent.core.decide import decide
from certagent.core.findings import Finding
from certagent.core.policy import RenewAt
from tests.core.building import NOW, leaf, pair, policy, snapshot, want

DOWN = AGENT_DOWN.found("", "no agent answers at /run/s: nothing is renewed")


def found(not_after: timedelta, **changes: object) -> Finding:
    """What is said of it, where node ends then."""
    node = pair("node", leaf("node", not_before=NOW - timedelta(days=20), not_after=NOW + not_after))
    seen = snapshot(pair("ca"), node, degraded=(DOWN, WATCH_DEGRADED.found("", "")))
    half = RenewAt(fraction=Fraction(1, 2))
    plan = decide(policy(want("ca"), want("node", renew_at=half, **changes)), seen, NOW)
    return next(f for f in plan.findings if f.code == "agent.down")


def test_agent_down_is_warning_until_renewal_is_due() -> None:
    """Before that everything still works."""
    assert found(timedelta(days=100)) == DOWN


def test_agent_down_is_critical_once_renewal_is_due() -> None:
    """It names the pairs that nobody renews, and since when."""
    late = found(timedelta(days=2))
    assert late.severity == "critical"
    assert late.message.startswith(f"{DOWN.message}; the renewal of node has been due since 2026-11-")


def test_agent_down_does_not_count_what_others_renew() -> None:
    """A pair that no authority issues is not the agent's to renew."""
    assert found(timedelta(days=2), authorities=()) == DOWN
