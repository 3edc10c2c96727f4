"""What `certagent authority test` says of each step, by how asking ended."""

import pytest

from certagent.core.trial import STEPS, Contact, place, steps


@pytest.mark.parametrize(
    ("kind", "contact", "shown"),
    [
        ("unreachable", "none", "+F------"),
        ("unreachable", "asked", "+F------"),
        ("tls", "asked", "++F-----"),
        ("tls", "none", "F-------"),
        ("credentials", "answered", "+++F----"),
        ("credentials", "none", "F-------"),
        ("credentials", "asked", "+--F----"),
        ("refused", "answered", "++++F---"),
        ("refused", "none", "F-------"),
        ("rate-limited", "answered", "++++F---"),
        ("malformed", "answered", "+++--F--"),
        ("malformed", "none", "+----F--"),
        ("failed", "answered", "+++--F--"),
        ("failed", "asked", "+----F--"),
        ("failed", "none", "F-------"),
    ],
)
def test_trial_failure_marks_steps_passed(kind: str, contact: Contact, shown: str) -> None:
    """A step is ok only if the failure shows that it was passed: no endpoint is reachable that was not asked."""
    assert marks(*place(kind, contact, endpoint=True)) == shown


@pytest.mark.parametrize(
    ("kind", "shown"), [("refused", "+---F---"), ("credentials", "+--F----"), ("failed", "+----F--")]
)
def test_trial_failure_without_endpoint_tells_of_its_own_step_alone(kind: str, shown: str) -> None:
    """A program, a drop-box and the embedded CA are asked by no HTTPS of ours."""
    assert marks(*place(kind, "none", endpoint=False)) == shown


def marks(failed: str, unknown: tuple[str, ...]) -> str:
    found = steps(failed, "why", unknown)
    assert [s.reason for s in found if s.reason] == ["why"]
    return "".join({"ok": "+", "failed": "F", "untried": "-"}[s.outcome] for s in found)


def test_trial_seconds_belong_to_steps_that_ended() -> None:
    """A step that was not reached took no time, and none is claimed for it."""
    found = steps("tls", "why", (), {"settings": 0.01, "tls": 2.5, "gate": 1.0})
    assert [s.seconds for s in found] == [0.01, None, 2.5, *[None] * 5]


def test_trial_success_marks_all_steps_ok() -> None:
    """No failure: every step is ok; a failure after the answer: all steps before it are."""
    assert {s.outcome for s in steps("", "")} == {"ok"}
    assert [s.name for s in steps("gate", "why") if s.outcome == "ok"] == list(STEPS[:-1])
