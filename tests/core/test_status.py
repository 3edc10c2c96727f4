"""The status document: rows of a snapshot -> what it says of attempts, of the CA's window and of the next action."""

from typing import Any, Literal

import pytest

from certagent.core.decide import decide
from certagent.core.facts import Attempt, InFlight, Snapshot
from certagent.core.facts.records import Window
from certagent.core.status import certs_dir
from tests.core.building import DAY, NOW, pair, policy, snapshot, want

RUNS = (InFlight("issue", "node", NOW),)


def tried(outcome: Literal["asked", "failed", "retry", "ok"]) -> Attempt:
    return Attempt("issue", "node", NOW - DAY, outcome, authority="house")


def shown(found: Snapshot) -> dict[str, Any]:
    return certs_dir(policy(), found, decide(policy(), found, NOW), NOW)


def node(found: Snapshot) -> dict[str, Any]:
    row: dict[str, Any] = next(f for f in shown(found)["files"] if f["name"] == "node")
    return row


ATTEMPTS = [
    ("none", (), (), 0),
    ("one failed", (tried("failed"),), (), 1),
    ("one was interrupted by a crash", (tried("asked"),), (), 1),
    ("the first one runs", (tried("asked"),), RUNS, 0),
    ("one failed and the second runs", (tried("failed"), tried("asked")), RUNS, 1),
    ("the CA answers later", (tried("retry"),), (), 0),
    ("the CA answers later and is asked again now", (tried("retry"), tried("asked")), RUNS, 0),
]


@pytest.mark.parametrize(("label", "attempts", "running", "expected"), ATTEMPTS, ids=[r[0] for r in ATTEMPTS])
def test_status_attempts_count_failures_only(
    label: str, attempts: tuple[Attempt, ...], running: tuple[InFlight, ...], expected: int
) -> None:
    """An issuance that runs now has not failed; one that a crash interrupted has."""
    assert expected == node(snapshot(attempts=attempts, in_flight=running))["attempts"], label


def test_status_shows_window_of_the_ca() -> None:
    """If the CA said when it wants the certificate renewed, the document has the window and its explanation."""
    window = Window(NOW + DAY, NOW + 2 * DAY, "https://ca.example.com/why")
    live = pair().leaf
    assert live is not None
    told = Attempt("window", "node", NOW, "ok", fingerprint=live.fingerprint, window=window)
    found = node(snapshot(attempts=(told,)))["window"]
    assert (found["explanation"], found["start"] < found["end"]) == ("https://ca.example.com/why", True)


def test_status_next_is_running_issuance() -> None:
    """An issuance that runs is the next action."""
    assert shown(snapshot(in_flight=RUNS))["next"]["reason"] == "running now"


def test_status_next_is_null_without_authority() -> None:
    """If nothing is issued and nothing is blocked, there is no next action."""
    rules = policy(want("ca", authorities=()), want("node", authorities=()))
    found = snapshot()
    assert certs_dir(rules, found, decide(rules, found, NOW), NOW)["next"] is None


def test_status_attempt_subject_by_kind() -> None:
    """An issuance names an authority, an installation a certificate."""
    install = Attempt("install", "node", NOW, fingerprint="node-2", authority="house")
    assert (tried("ok").about, install.about) == ("house", "node-2")
