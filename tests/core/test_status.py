"""The status document: rows of a snapshot -> what it says of attempts, of the CA's window and of the next action."""

from dataclasses import replace
from typing import Any, Literal

import pytest

from certagent.core.decide import decide
from certagent.core.facts import Attempt, InFlight, Look, Members, Snapshot
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


def test_status_shows_members_and_looks() -> None:
    """The newest look at each for each pair, by address; what is not known is null."""
    look = Look(address="db2:26257", at=NOW, stem="node", offered="f", outcome="refused", reason='alert "unknown CA"')
    seen = replace(
        look, address="db1:26257", outcome="accepted", reason="", served="s", anchors=("a" * 64,), ca_ends=1_800_000_000
    )
    world = snapshot(members=Members(source="join", listed=("db2:26257",), live=2, live_at=NOW, looks=(look, seen)))
    found = certs_dir(policy(), world, decide(policy(), world, NOW), NOW)["members"]
    assert (found["source"], found["listed"], found["own"], found["problem"]) == ("join", ["db2:26257"], None, None)
    assert (found["live"], found["live_at"]) == (2, "2026-11-24T12:00:00.000Z")
    first, second = found["looks"]
    assert (first["address"], first["served"], first["served_since"], first["anchors"]) == (
        "db1:26257",
        "s",
        "2026-11-24T12:00:00.000Z",
        ["a" * 16],
    )
    assert (first["ca_ends"], second["ca_ends"]) == ("2027-01-15T08:00:00.000Z", None)
    assert (second["outcome"], second["reason"], second["served"], second["served_since"]) == (
        "refused",
        'alert "unknown CA"',
        None,
        None,
    )
