"""What `certagent authority test` says of each step, by how asking ended."""

import pytest

from certagent.core.trial import FAILS, STEPS, steps, unknown_steps


@pytest.mark.parametrize(
    ("kind", "endpoint", "shown"),
    [
        ("unreachable", True, "+F------"),
        ("tls", True, "++F-----"),
        ("credentials", True, "+++F----"),
        ("refused", True, "++++F---"),
        ("rate-limited", True, "++++F---"),
        ("malformed", True, "+++--F--"),
        ("failed", True, "+++--F--"),
        ("refused", False, "+---F---"),
        ("credentials", False, "+--F----"),
        ("failed", False, "+----F--"),
    ],
)
def test_trial_failure_marks_steps_passed(kind: str, shown: str, *, endpoint: bool) -> None:
    """A step is ok only if the failure shows that it was passed."""
    found = steps(FAILS[kind], "why", unknown_steps(kind, endpoint=endpoint))
    assert "".join({"ok": "+", "failed": "F", "untried": "-"}[s.outcome] for s in found) == shown
    assert [s.reason for s in found if s.reason] == ["why"]


def test_trial_success_marks_all_steps_ok() -> None:
    """No failure: every step is ok; a failure after the answer: all steps before it are."""
    assert {s.outcome for s in steps("", "")} == {"ok"}
    assert [s.name for s in steps("gate", "why") if s.outcome == "ok"] == list(STEPS[:-1])
