"""A clock that is ahead: what a CA's answer, and a jump of days, say of it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certagent.core.actions import Install, Issue, RejectCommand
from certagent.core.decide import decide
from certagent.core.facts import Attempt, Authority, Clock, Request, Snapshot, Staged
from tests.core.building import DAY, NOW, leaf, pair, policy, snapshot, staged, want

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
ROOT = pair("ca").leaf
assert ROOT is not None
HOUSE = Authority("house", "vault", (ROOT,))
TRUE = NOW - 46 * DAY  # the time by the CA's clock
LIVE = pair(cert=leaf(not_before=NOW - 55 * DAY, not_after=NOW - 25 * DAY))  # nine days old, by the CA's clock
ROOT_USER = pair("client.root", leaf("client.root", not_before=NOW - 55 * DAY, not_after=NOW - 25 * DAY))
RULES = policy(want("ca"), want(), want("client.root"))
ASKED = (Attempt("issue", "node", NOW, "ok", authority="house"),)
DAYS_AGO = (Attempt("issue", "node", NOW - 44 * DAY, "retry", authority="house"), *ASKED)


def answer(begin: Any = TRUE, **changes: Any) -> Staged:
    return staged(cert=leaf(serial=2, not_before=begin, not_after=begin + 400 * DAY), **changes)


def answered(one: Staged, *, attempts: tuple[Attempt, ...] = ASKED, **changes: Any) -> Snapshot:
    base = {"staged": (one,), "attempts": attempts, "authorities": (HOUSE,), **changes}
    return snapshot(pair("ca"), LIVE, ROOT_USER, **base)


def did(found: Snapshot) -> list[str]:
    return [type(a).__name__ for a in decide(RULES, found, NOW).actions if isinstance(a, Install | Issue)]


HELD: list[tuple[str, Snapshot]] = [
    ("46 days ahead", answered(answer())),
    ("an earlier request was answered", answered(answer(), attempts=(*DAYS_AGO[:1], *ASKED, *ASKED))),
    ("it would be refused as expired", answered(staged(cert=leaf(serial=2, not_before=TRUE, not_after=NOW - DAY)))),
]
INSTALLED: list[tuple[str, Snapshot]] = [
    ("dated a day back", answered(answer(NOW - DAY))),
    ("dated back by a 40th of the lifetime", answered(answer(NOW - 12 * DAY))),
    ("a time service keeps the clock", answered(answer(), clock=Clock(synchronised=True))),
    ("an operator asked", answered(answer(), requests=(Request("renew", "node", NOW),))),
    ("an embedded CA has this clock", answered(answer(), authorities=(replace(HOUSE, kind="local"),))),
    ("the request is as old", answered(answer(NOW - 44 * DAY), attempts=DAYS_AGO)),
    ("somebody put it there", answered(answer(), attempts=())),
    ("a restored backup", answered(answer(asked=False))),
    ("no request was answered", answered(answer(), attempts=(replace(ASKED[0], outcome="failed"),))),
]


@pytest.mark.parametrize(("label", "found"), HELD, ids=[r[0] for r in HELD])
def test_clock_ahead_of_ca_keeps_live_pairs(label: str, found: Snapshot) -> None:
    """A certificate that a CA dates 46 days before it was asked for is not installed; the next pair is asked for.

    The finding names both times, and what to do.
    """
    assert did(found) == ["Issue"], label
    made = decide(RULES, found, NOW)
    (said,) = [f for f in made.findings if f.code == "clock.unsound"]
    assert ("2026-11-24T12:00:00Z" in said.message, "2026-10-09T12:00:00Z" in said.message) == (True, True)
    assert said.remedy.startswith("compare `date -u`")
    assert {b.action for b in made.blocked if "the clock of this host is ahead" in b.reason} == {"install"}


def test_clock_ahead_of_one_ca_keeps_an_embedded_ca_from_issuing() -> None:
    """It would date its certificates by this clock, and other hosts would refuse them as not valid yet."""
    lab = replace(HOUSE, name="lab", kind="local")
    rules = policy(want("ca"), want(), want("client.root", authorities=("lab",)))
    for one, said in ((answer(), [("issue", "client.root"), ("install", "node")]), (answer(NOW), [])):
        made = decide(rules, answered(one, authorities=(HOUSE, lab)), NOW)
        found = [(b.action, b.subject) for b in made.blocked if "the clock of this host is ahead" in b.reason]
        assert sorted(found) == sorted(said)
        assert any(isinstance(a, Issue) and a.want.name.stem == "client.root" for a in made.actions) == (not said)


@pytest.mark.parametrize(("label", "found"), INSTALLED, ids=[r[0] for r in INSTALLED])
def test_clock_is_believed_where_the_answer_is_explained(label: str, found: Snapshot) -> None:
    """Backdating, a slow CA, a backup and the embedded CA explain an old date."""
    assert "Install" in did(found), label
    assert "clock.unsound" not in {f.code for f in decide(RULES, found, NOW).findings}


def test_clock_set_right_after_answer_installs() -> None:
    """Once the clock is right, the answer is one of today."""
    found = answered(answer(NOW), attempts=(replace(ASKED[0], at=NOW + 46 * DAY),))
    assert "Install" in did(found)


def test_answer_of_the_live_certificate_says_nothing_of_the_clock() -> None:
    """A CA that sends again what is live made no new certificate."""
    found = answered(Staged(LIVE, NOW, asked=True))
    assert "clock.unsound" not in {f.code for f in decide(RULES, found, NOW).findings}


def test_host_that_was_off_renews_at_once() -> None:
    """46 days without an entry of the ledger, and a clock that nothing contradicts: both pairs are asked for."""
    assert did(answered(answer(), staged=(), attempts=())) == ["Issue", "Issue"]


@pytest.mark.parametrize(("jump", "words"), [
    (46 * DAY, "the clock was set forward from 2026-10-09T12:00:00Z to 2026-11-24T12:00:00Z"),
    (-3 * DAY, "the clock was set back from 2026-11-27T12:00:00Z to 2026-11-24T12:00:00Z"),
    (DAY, ""),
    (None, ""),
])  # fmt: skip
def test_clock_jump_of_days_is_warning(jump: timedelta | None, words: str) -> None:
    """It names both times; a jump of a day at most only blocks what it makes due."""
    found = snapshot(clock=Clock(steady=None if jump is None else NOW - jump))
    said = [f for f in decide(policy(), found, NOW).findings if f.code == "clock.unsound"]
    assert [f.severity for f in said] == ["warning"] * bool(words)
    assert not words or said[0].message.startswith(words)


@pytest.mark.parametrize("force", [False, True])
def test_command_under_unsound_clock_is_declined(*, force: bool) -> None:
    """It would wait for ever: the answer says what is wrong with the clock, and what to do."""
    clock = Clock(sound=False, reason="the clock says 1970")
    found = snapshot(clock=clock, requests=(Request("renew", "node", NOW - SECOND, force=force),))
    (declined,) = [a for a in decide(policy(), found, NOW).actions if isinstance(a, RejectCommand)]
    assert declined.reason.startswith("the clock says 1970; set the clock and start a time service")
