"""What is missing on the first day is no error in the log, until an attempt to mend it failed."""

from dataclasses import replace
from typing import Any

import pytest

from certagent.core.catalogue import CA_MISSING, CERT_EXPIRED, CERT_MISSING
from certagent.core.decide import decide
from certagent.core.facts import Attempt, InFlight, Snapshot
from certagent.core.mending import mending
from certagent.core.view import Planned
from tests.core.building import NOW, VOLUME, policy, snapshot, staged, want

RULES = policy(want("ca"), want("node"))
NODE, CA = CERT_MISSING.found("node.crt", "m"), CA_MISSING.found("ca.crt", "m")


def planned(seen: Snapshot, rules: Any = RULES) -> Planned:
    return Planned(policy=rules, snapshot=seen, plan=decide(rules, seen, NOW))


EMPTY = replace(snapshot(), pairs=())
ASKED = replace(EMPTY, in_flight=(InFlight("issue", "ca", NOW),))
FAILED = Attempt("issue", "node", NOW, "failed", "it says no", authority="house")


def test_missing_file_is_expected_while_it_is_requested() -> None:
    """The bundle that is about to be made, and the pair that waits for nothing else."""
    for seen in (EMPTY, ASKED, replace(EMPTY, staged=(staged(),))):
        assert mending(NODE, planned(seen))
    assert mending(CA, planned(ASKED))


@pytest.mark.parametrize("outcome", ["failed", "refused"])
def test_missing_file_is_an_error_after_a_failure(outcome: Any) -> None:
    """Also where it is tried again at this moment."""
    tried = replace(FAILED, outcome=outcome)
    assert not mending(NODE, planned(replace(ASKED, attempts=(tried,))))
    bundle = replace(tried, subject="ca")
    assert not mending(NODE, planned(replace(ASKED, attempts=(bundle,))))


def test_what_nobody_mends_is_an_error() -> None:
    """Nothing is under way, an authority is missing, the directory is observed only, it is another finding."""
    nothing = Planned(policy=RULES, snapshot=EMPTY, plan=replace(decide(RULES, EMPTY, NOW), actions=()))
    assert not mending(NODE, nothing)
    assert not mending(CERT_MISSING.found("client.app.crt", "m"), planned(ASKED))
    assert not mending(NODE, planned(ASKED, policy(want("ca"), want("node", authorities=()))))
    watched = replace(ASKED, directory=replace(EMPTY.directory, observe_only=VOLUME))
    assert not mending(NODE, planned(watched))
    assert not mending(CERT_EXPIRED.found("node.crt", "m"), planned(ASKED))
