"""When a CA is asked for its renewal window, and what the answer does to the plan."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certagent.core.actions import AskWindow, Issue
from certagent.core.decide import decide
from certagent.core.facts import Attempt, Authority, InFlight, Snapshot, Window
from certagent.core.predict import forecast
from tests.core.building import DAY, NOW, leaf, policy, snapshot

PUBLIC = Authority("house", "acme", windows=True)


def ours(**changes: Any) -> Snapshot:
    """A sound world whose certificates this agent issued, at a CA with windows."""
    found = snapshot()
    fingerprints = frozenset(p.leaf.fingerprint for p in found.pairs if p.leaf)
    return replace(found, **{"authorities": (PUBLIC,), "issued": fingerprints, **changes})


UNANSWERED = Attempt("window", "node", NOW, "failed", fingerprint="node-1")


def asked(world: Snapshot) -> list[str]:
    return [a.stem for a in decide(policy(), world, NOW).actions if isinstance(a, AskWindow)]


def answer(start: timedelta, end: timedelta, again: timedelta = DAY, stem: str = "node") -> Attempt:
    told = Window(NOW + start, NOW + end, "https://ca.example/why")
    return Attempt("window", stem, NOW, "ok", fingerprint=leaf(stem).fingerprint, window=told, retry_at=NOW + again)


@pytest.mark.parametrize(
    ("label", "changes"),
    [
        ("the CA has no windows", {"authorities": (Authority("house", "local"),)}),
        ("somebody else issued it", {"issued": frozenset()}),
        ("it is being asked", {"in_flight": (InFlight("window", "node", NOW),)}),
        ("it was asked", {"attempts": (answer(DAY, 2 * DAY),)}),
        (
            "it could not be asked an hour ago",
            {"attempts": (UNANSWERED,)},
        ),
    ],
)
def test_renewal_window_is_asked_once_per_certificate(label: str, changes: dict[str, Any]) -> None:
    """Asked once for each managed certificate of a CA with windows; then as the CA says."""
    assert "node" in asked(ours())
    assert "node" not in asked(ours(**changes)), label


def test_renewal_window_is_asked_again_at_retry_after() -> None:
    """Retry-After is the next wake; then the question is asked again."""
    world = ours(attempts=(answer(DAY, 2 * DAY, timedelta(seconds=10)),))
    assert NOW + timedelta(seconds=10) == decide(policy(), world, NOW).wake_at
    assert ["node"] == asked(replace(world, attempts=(answer(DAY, 2 * DAY, -timedelta(seconds=1)),)))


def test_renewal_window_in_past_renews_now() -> None:
    """The CA's window counts immediately, long before the configured point; a future one changes nothing today."""
    past = decide(policy(), ours(attempts=(answer(-2 * DAY, -DAY),)), NOW)
    assert ["node"] == [a.subject for a in past.actions if isinstance(a, Issue)]
    future = decide(policy(), ours(attempts=(answer(DAY, 2 * DAY),)), NOW)
    assert [] == [a for a in future.actions if isinstance(a, Issue)]


def test_renewal_window_question_is_forecast_once() -> None:
    """The question is in the forecast, and asked once."""
    steps = forecast(policy(), ours(), NOW)
    windows = [s.stem for s in steps if isinstance(s, AskWindow)]
    assert sorted(windows) == sorted(set(windows)) != []
