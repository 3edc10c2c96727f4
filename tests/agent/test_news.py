"""What was done, in words for the log."""

import io
import json
from dataclasses import replace

import pytest

from certagent.agent.news import UNDER_WAY, News, step
from certagent.core.actions import Action, Adopt, RecordProof, RejectCommand, RejectStaged
from certagent.core.decide import decide
from certagent.core.facts import Snapshot
from certagent.core.view import Planned
from certagent.events import Log
from tests.core.building import DAY, NOW, leaf, pair, policy, snapshot, want

FIRST = replace(snapshot(), pairs=())
EXPIRED = snapshot(pair("ca"), pair(cert=leaf(not_before=NOW - 9 * DAY, not_after=NOW - DAY)))


@pytest.mark.parametrize(("action", "words"), [
    (RecordProof("4711:1000", "m", "it serves it"), "verified pid 4711"),
    (RejectCommand("renew", "node", "no authority"), "cancelled the command for node"),
    (RejectStaged("ui", ("a", "b"), "expired"), "set aside ui"),
    (Adopt("node", "f", "w", "found"), "took over node"),
])  # fmt: skip
def test_log_step_is_a_sentence_of_the_house(action: Action, words: str) -> None:
    """The words of `plan --json` are an interface; the log has its own where they say little."""
    assert step(action) == words


@pytest.mark.parametrize("authorities", [("house",), ()])
@pytest.mark.parametrize("found", [FIRST, EXPIRED], ids=["first start", "expired"])
def test_log_finding_has_its_own_remedy(found: Snapshot, authorities: tuple[str, ...]) -> None:
    """Each finding is logged with its own remedy; what the agent is about to mend says that there is nothing to do."""
    rules = policy(want("ca", authorities=authorities), want(authorities=authorities))
    planned = Planned(policy=rules, snapshot=found, plan=decide(rules, found, NOW))
    stream = io.StringIO()
    News("/c", Log(stream, "json", lambda: NOW)).say(planned, ())
    rows = [row for line in stream.getvalue().splitlines() if "code" in (row := json.loads(line))]
    said = {(r["code"], r.get("file", "")): r["remedy"] for r in rows}
    own = {(f.code, f.file): f.remedy for f in planned.plan.findings}
    assert said.keys() == own.keys() != set()
    assert {key for key, remedy in said.items() if remedy not in {own[key], UNDER_WAY}} == set()
    assert (UNDER_WAY in said.values()) == bool(found is FIRST and authorities)
