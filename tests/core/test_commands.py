"""Operators' commands that cannot be carried out: answered, taken back, and nothing comes of them later."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certagent.core.actions import Issue, RejectCommand
from certagent.core.decide import decide
from certagent.core.facts import Attempt, Authority, Request, Snapshot
from certagent.core.predict import predict
from tests.core.building import DAY, NOW, VOLUME, leaf, pair, policy, process, snapshot, want

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
RENEW, RELOAD = Request("renew", "node", NOW - SECOND), Request("reload", "", NOW - SECOND)
TWO = policy(want("ca"), want(authorities=("house", "backup")))
STARTING = (process(state="starting"),)
STRANGE = Authority("house", "local", (leaf("ca", 77, spki="another root"),))


def asked(request: Request, **changes: Any) -> Snapshot:
    return snapshot(requests=(request,), **changes)


def failed(outcome: Any, ago: timedelta = timedelta(0), authority: str = "house") -> Attempt:
    return Attempt("issue", "node", NOW - ago, outcome, f"{authority} says no", authority=authority)


def volume() -> Snapshot:
    found = asked(RENEW)
    return replace(found, directory=replace(found.directory, observe_only=VOLUME))


DECLINED = [
    (
        "its root is not trusted",
        policy(),
        asked(RENEW, authorities=(STRANGE,)),
        "ca.crt does not contain the",
    ),
    ("nobody is configured", policy(want("ca"), want(authorities=())), asked(RENEW), "no authority is configured"),
    ("an externally managed directory", policy(), volume(), "the files are externally managed: links through ..data"),
    ("the only one refused", policy(), asked(RENEW, attempts=(failed("refused"),)), "house says no"),
    (
        "both failed",
        TWO,
        asked(RENEW, attempts=(failed("failed"), failed("refused", authority="backup"))),
        "backup says no",
    ),
    ("an hour of pauses", policy(), asked(replace(RENEW, at=NOW - HOUR), ledger_problem="full"), "within an hour"),
    ("an hour without anybody", policy(), asked(replace(RELOAD, at=NOW - HOUR), processes=STARTING), "within an hour"),
]


@pytest.mark.parametrize(("label", "rules", "found", "words"), DECLINED, ids=[r[0] for r in DECLINED])
def test_command_blocked_is_rejected_once(label: str, rules: Any, found: Snapshot, words: str) -> None:
    """Rejected with its reason, once; when the obstacle is gone, no CA is asked for it."""
    del label
    (decline,) = [a for a in decide(rules, found, NOW).actions if isinstance(a, RejectCommand)]
    assert words in decline.reason
    after = predict(found, decline, NOW)
    assert after.requests == ()
    free = replace(after, authorities=(), ledger_problem=None, directory=snapshot().directory, attempts=())
    assert not [a for a in decide(policy(), free, NOW).actions if isinstance(a, Issue | RejectCommand)]


WAITS = [
    ("one of two failed", TWO, asked(RENEW, attempts=(failed("failed"),))),
    ("it failed before the command", policy(), asked(RENEW, attempts=(failed("failed", 2 * SECOND),))),
    ("the ledger is full for a moment", policy(), asked(RENEW, ledger_problem="full")),
    ("a person answers later", policy(), asked(replace(RENEW, at=NOW - HOUR), attempts=(failed("retry", SECOND),))),
    ("who is to be signalled only starts", policy(), asked(RELOAD, processes=STARTING)),
]


@pytest.mark.parametrize(("label", "rules", "found"), WAITS, ids=[r[0] for r in WAITS])
def test_command_waits_for_temporary_obstacle(label: str, rules: Any, found: Snapshot) -> None:
    """An obstacle that ends by itself only delays the command."""
    del label
    made = decide(rules, found, NOW)
    assert not [a for a in made.actions if isinstance(a, RejectCommand)]
    assert made.wake_at is not None


def test_blocked_renewal_without_command_rejects_nothing() -> None:
    """A renewal that is due and blocked: a finding, and no command to answer."""
    due = pair(cert=leaf(not_before=NOW - 21 * DAY, not_after=NOW + 9 * DAY))
    made = decide(policy(), snapshot(pair("ca"), due, authorities=(STRANGE,)), NOW)
    assert "renewal.refused" in {f.code for f in made.findings}
    assert not [a for a in made.actions if isinstance(a, RejectCommand)]


def test_command_rejected_is_not_executed() -> None:
    """A request that took longer than the pause failed: rejected, and no CA is asked for it in the same reconcile."""
    long_ago = replace(RENEW, at=NOW - 41 * SECOND)
    made = decide(policy(), asked(long_ago, attempts=(failed("failed", 40 * SECOND),)), NOW)
    assert [RejectCommand] == [type(a) for a in made.actions if isinstance(a, Issue | RejectCommand)]
