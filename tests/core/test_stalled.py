"""A certs directory that does not respond, or was not checked for too long."""

from datetime import UTC, datetime, timedelta

import pytest

from certagent.core.decide import decide
from certagent.core.exits import exit_code
from certagent.core.stalled import limit, stalled, unresponsive, with_stalled
from certagent.core.status import document, plan_document
from certagent.core.view import Planned
from tests.core.building import NOW, policy, snapshot

SINCE = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
RESCAN = timedelta(seconds=30)


def known() -> Planned:
    """A directory in which something is due."""
    seen = snapshot(pairs=())
    planned = Planned(policy=policy(), snapshot=seen, plan=decide(policy(), seen, NOW))
    assert planned.plan.actions
    return planned


@pytest.mark.parametrize(("rescan", "longest"), [(1, 5), (2, 6), (30, 90)])
def test_limit_is_three_rescans(rescan: int, longest: int) -> None:
    """And never less than five seconds: a check of a large directory takes as long."""
    assert limit(timedelta(seconds=rescan)) == timedelta(seconds=longest)


def test_directory_checked_within_three_rescans_is_not_stalled() -> None:
    """Exactly three are no finding, and nothing changes in what is known."""
    found = stalled(policy(), 3 * RESCAN, RESCAN)
    assert found is None
    planned = known()
    assert with_stalled(planned, found) is planned


def test_stalled_directory_is_critical_and_plans_nothing() -> None:
    """The finding names the directory and how long ago it was checked; what was due then is not planned."""
    found = stalled(policy(), timedelta(minutes=3, milliseconds=20), RESCAN)
    assert found is not None
    assert (found.code, found.severity, found.file) == ("agent.stalled", "critical", policy().path)
    assert "3 min ago" in found.message
    shown = with_stalled(known(), found)
    assert shown.plan.findings[0] == found
    assert (shown.plan.actions, shown.plan.blocked, shown.plan.wake_at) == ((), (), None)
    plan = plan_document(shown.policy, shown.snapshot, NOW, shown.plan)
    assert (plan["actions"], plan["steps"], plan["held"]) == ([], [], [])
    assert plan["findings"][0]["code"] == "agent.stalled"


def test_unresponsive_directory_keeps_what_was_seen_last() -> None:
    """It is said since when it has not responded, once; earlier findings stay, nothing is planned."""
    before = known()
    first = unresponsive(policy(), before, SINCE)
    again = unresponsive(policy(), first, SINCE)
    for shown in (first, again):
        assert [f.code for f in shown.plan.findings].count("path.hung") == 1
        assert shown.plan.findings[0].severity == "critical"
        assert "2026-11-30 12:00:00 UTC" in shown.plan.findings[0].message
        assert set(before.plan.findings) < set(shown.plan.findings)
        assert shown.snapshot == before.snapshot
        assert not shown.current


def test_unresponsive_directory_that_was_never_seen_has_no_other_finding() -> None:
    """Nothing is known of it."""
    shown = unresponsive(policy(), None, SINCE)
    assert [f.code for f in shown.plan.findings] == ["path.hung"]
    assert not shown.snapshot.pairs


def test_exit_code_is_unknown_where_a_directory_is_stalled() -> None:
    """3 although a finding is critical; 2 while the directory only does not respond; 3 before anything was observed."""
    hung = unresponsive(policy(), None, SINCE)
    found = stalled(policy(), timedelta(minutes=3), RESCAN)
    assert exit_code(document([hung], NOW, None)) == 2
    assert exit_code(document([with_stalled(hung, found)], NOW, None)) == 3
    assert exit_code(document([], NOW, None)) == 0
    assert exit_code({"severity": "unknown", "certs_dirs": []}) == 3
