"""How the newest renewal ended, and what was taken back, as `status` says it."""

from typing import Any

import pytest

from certagent.core.facts import Attempt, History
from certagent.core.renewals import last_renewal, taken_back
from tests.core.building import DAY, NOW, snapshot


def attempt(kind: Any, days: float, outcome: Any = "ok", **changes: Any) -> Attempt:
    return Attempt(kind, "node", NOW - days * DAY, outcome, "why", **changes)


ASKED = attempt("issue", 3, authority="house")


@pytest.mark.parametrize(
    ("attempts", "outcome", "authority", "reason"),
    [
        ((ASKED,), "issued", "house", ""),
        ((ASKED, attempt("install", 2)), "installed", "house", ""),
        ((ASKED, attempt("install", 2), attempt("rollback", 1)), "restored", "house", ""),
        ((attempt("install", 2),), "installed", "", ""),
        ((ASKED, attempt("install", 2, "refused")), "refused", "house", "why"),
        ((attempt("issue", 1, "failed", authority="b"),), "failed", "b", "why"),
        ((attempt("issue", 1, "retry", authority="b"),), "waiting", "b", "why"),
        ((attempt("issue", 1, "asked", authority="b"),), "running", "b", "why"),
    ],
)
def test_last_renewal_is_the_newest_attempt(
    attempts: tuple[Attempt, ...], outcome: str, authority: str, reason: str
) -> None:
    """By which authority, and why, where it is no success."""
    found = last_renewal(History(attempts), "node")
    assert found is not None
    assert (found.outcome, found.authority, found.reason, found.at) == (outcome, authority, reason, attempts[-1].at)


def test_last_renewal_of_a_pair_without_attempts() -> None:
    """Another pair's attempts, and signals, are none."""
    assert last_renewal(History((ASKED, Attempt("reload", "7:1", NOW))), "ui") is None


def test_taken_back_is_what_was_installed_before() -> None:
    """Known while the restored pair is the live one; of a certificate that is not quarantined only the moment."""
    swaps = (attempt("install", 5, fingerprint="a"), attempt("install", 3, fingerprint="b"), attempt("rollback", 2))
    seen = snapshot(attempts=swaps, quarantined=frozenset({"b"}))
    found = taken_back(seen, "node")
    assert found is not None
    assert (found.fingerprint, found.at, found.reason) == ("b", NOW - 2 * DAY, "why")
    unknown = taken_back(snapshot(attempts=swaps), "node")
    assert unknown is not None
    assert unknown.fingerprint == ""
    for attempts in ((), swaps[:2], (*swaps, attempt("install", 1, fingerprint="c"))):
        assert taken_back(snapshot(attempts=attempts, quarantined=frozenset({"b"})), "node") is None
