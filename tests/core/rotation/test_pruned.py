"""The former CAs leave a bundle by themselves after the word of a person, once every member is calm."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certagent.core.actions import Blocked, LookAt, Plan, Prune
from certagent.core.decide import decide
from certagent.core.facts import Attempt, Loaded, Look, Members, Snapshot, Staged
from certagent.core.policy import Policy
from certagent.core.predict import predict
from certagent.core.rotation.phases import rotations
from certagent.core.view import View
from tests.core.building import NOW, VOLUME, pair, policy, want
from tests.core.rotation.network import bundle_of
from tests.core.rotation.test_serve import FLEET, FRESH, OWN, RULE, RULES, SECOND, A, B, host, look, of, word

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
ROLLED = of("new", pair("node", FRESH))


def calm(address: str, *anchors: str, age: timedelta = SECOND, **changes: Any) -> Look:
    """It has served that for an hour, and was seen a second ago."""
    since = {"served_since": NOW - HOUR, **changes}
    return look(address, served="x", anchors=anchors or ("new",), age=age, **since)


def done(*looks: Look, **changes: Any) -> Snapshot:
    """Every member serves the new root, and a person has said that clients do."""
    loaded = Loaded("before", (bundle_of(("new", "old")), replace(ROLLED, key=None)))
    known = {"staged": (), "words": (word("clients-present"),), "loaded": (loaded,)}
    return host(ROLLED, looks=(*(looks or (calm(A), calm(B))), look(OWN)), **{**known, **changes})


def prunes(made: Plan) -> list[tuple[str, list[str]]]:
    return [(a.subject, [c.spki for c in a.removed]) for a in made.actions if isinstance(a, Prune)]


def waits(made: Plan) -> list[Blocked]:
    return [b for b in made.blocked if b.action == "prune"]


def test_former_ca_leaves_by_itself_after_the_word() -> None:
    """It is staged as `bundle prune` does; then every member is looked at once more, as always."""
    found = done()
    (action,) = (a for a in decide(RULES, found, NOW).actions if isinstance(a, Prune))
    assert (action.subject, [c.spki for c in action.removed]) == ("ca", ["old"])
    after = predict(found, action, NOW)
    (made,) = after.staged
    assert made.pair.cert is not None
    assert ([c.spki for c in made.pair.cert.certificates], made.asked) == (["new"], True)
    assert after.attempts[-1].command == "bundle prune"
    assert prunes(decide(RULES, after, NOW)) == []
    assert predict(replace(found, pairs=(ROLLED,)), action, NOW) == replace(found, pairs=(ROLLED,))


STAYS: list[tuple[str, Snapshot, Policy]] = [
    ("no word", done(words=()), RULES),
    ("a word about trust", done(words=(word("clients-trust"),)), RULES),
    ("a word about another root", done(words=(replace(word("clients-present"), root="old"),)), RULES),
    ("it is paused", done(words=(word("clients-present"), word("pause"))), RULES),
    ("it was aborted", done(words=(word("clients-present"), word("abort"))), RULES),
    ("a member serves the former root", done(calm(A), calm(B, "old")), RULES),
    ("a member was never seen", done(calm(A)), RULES),
    ("more nodes are live", done(members=replace(FLEET, live=4)), RULES),
    ("nothing is former", done(pairs=(bundle_of(("new",)), ROLLED), loaded=()), RULES),
    ("a bundle is staged already", done(staged=(Staged(bundle_of(("new",)), NOW - SECOND, asked=True),)), RULES),
    ("the bundle is not managed", done(), policy(want(), rotation=RULE)),
    ("no authority is for the bundle", done(), policy(want("ca", authorities=()), want(), rotation=RULE)),
    ("another tool owns the files", done(), RULES),
]


@pytest.mark.parametrize(("label", "found", "rules"), STAYS, ids=[r[0] for r in STAYS])
def test_former_ca_stays(label: str, found: Snapshot, rules: Policy) -> None:
    """Whatever is missing: nothing is staged."""
    if label == "another tool owns the files":
        found = replace(found, directory=replace(found.directory, observe_only=VOLUME))
        (seen,) = rotations(View(policy=rules, snapshot=found, now=NOW))
        assert (seen.phase, seen.waits) == ("clients-done", "person")
    assert prunes(decide(rules, found, NOW)) == [], label


def test_every_member_has_to_be_seen_a_moment_ago() -> None:
    """One was seen five minutes ago: it is looked at first, and that is said."""
    made = decide(RULES, done(calm(A), calm(B, age=5 * MINUTE)), NOW)
    assert (prunes(made), [b.reason for b in waits(made)]) == (
        [],
        ["a CA leaves the bundle once every member was seen again: b:26257"],
    )
    assert [a.address for a in made.actions if isinstance(a, LookAt)] == [B]


def test_members_have_to_be_calm() -> None:
    """Twice as long as a proof of the way back counts: nobody changed what it serves, and nobody was silent."""
    quiet = 2 * timedelta(seconds=62)
    changed = done(calm(A), calm(B, served_since=NOW - MINUTE))
    silent = done(calm(A), calm(B), look(B, "silent", age=MINUTE, offered="another"))
    for found in (changed, silent):
        made = decide(RULES, found, NOW)
        assert (prunes(made), [b.until for b in waits(made)]) == ([], [NOW - MINUTE + quiet])
    later = done(calm(A), calm(B, served_since=NOW - quiet))
    assert prunes(decide(RULES, later, NOW)) == [("ca", ["old"])]


def test_prune_that_failed_waits() -> None:
    """A full disk, or a refusal of the staged bundle: again after about a minute."""
    for kind, outcome in (("command", "failed"), ("install", "refused")):
        found = done(attempts=(Attempt(kind, "ca", NOW - SECOND, outcome),))  # type: ignore[arg-type]
        made = decide(RULES, found, NOW)
        assert (prunes(made), [b.until for b in waits(made)]) == ([], [NOW + 61 * SECOND])
        assert prunes(decide(RULES, done(attempts=(Attempt(kind, "ca", NOW - 62 * SECOND, outcome),)), NOW))  # type: ignore[arg-type]


def test_node_that_is_alone_waits_for_nobody() -> None:
    """Its own pairs are all there is."""
    rules = replace(RULES, rotation=replace(RULE, peers=()))
    assert prunes(decide(rules, done(members=Members(source="peers")), NOW)) == [("ca", ["old"])]


def test_without_the_word_a_person_prunes() -> None:
    """`outside_clients = false` is a setting, and no word: `certagent bundle prune` is the next command."""
    (seen,) = rotations(View(policy=RULES, snapshot=done(words=()), now=NOW))
    assert (seen.phase, seen.waits, "bundle prune" in seen.why) == ("clients-done", "person", True)
    (seen,) = rotations(View(policy=RULES, snapshot=done(), now=NOW))
    assert (seen.phase, seen.waits, "bundle prune" in seen.why) == ("clients-done", "machines", False)
