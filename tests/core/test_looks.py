"""Looks at members: the newest for each member and pair, and since when a member has served its leaf."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from certagent.core.actions import LookAt, subject_of
from certagent.core.facts import Look, Trust
from certagent.core.looks import newest, of_interest
from certagent.core.predict import predict
from tests.core.building import NOW, generation, pair, snapshot, staged

MINUTE = timedelta(minutes=1)
ACTION = LookAt(address="db2:26257", offers="node", staged=True, fingerprint="node-2", reason="a new root")


def look(minute: int = 0, **changes: Any) -> Look:
    """An accepted look at db2, at which the live pair was offered."""
    found = Look(address="db2:26257", at=NOW + minute * MINUTE, stem="node", offered="node-1", outcome="accepted")
    return replace(found, **changes)


def test_look_runs_once_for_each_member_and_leaf() -> None:
    """Its job is known by both."""
    assert subject_of(ACTION) == "db2:26257 node-2"


def test_look_takes_the_place_of_an_earlier_one_with_the_same_pair() -> None:
    """A look with another pair, or at another member, stays."""
    kept = (look(offered="node-2"), look(address="db3:26257"))
    after = newest((look(), *kept), look(1, outcome="refused"))
    assert after == (*kept, look(1, outcome="refused"))


def test_look_that_was_silent_takes_back_no_answer() -> None:
    """What a member said stays known beside the newest silence, until it says something else."""
    found = newest((look(),), look(1, outcome="silent"))
    found = newest(found, look(2, outcome="silent"))
    assert found == (look(), look(2, outcome="silent"))
    assert newest(found, look(3, outcome="refused")) == (look(3, outcome="refused"),)


def test_look_says_since_when_a_leaf_is_served() -> None:
    """Since the first look of those that showed it, whatever was offered; another leaf begins anew."""
    found = newest((), look(served="a"))
    found = newest(found, look(1, served="a", offered="node-2"))
    assert found[-1].served_since == NOW
    found = newest(found, look(2, served="a"))
    assert found[-1].served_since == NOW
    found = newest(found, look(3, served="b"))
    assert found[-1].served_since is None
    found = newest(found, look(4, served="b", offered="node-2"))
    assert found[-1].served_since == NOW + 3 * MINUTE


def test_look_at_a_leaf_that_came_back_begins_anew() -> None:
    """In between another one was served: what is remembered of an older look with another pair does not count."""
    found = newest((look(served="a"),), look(1, served="b", offered="node-2"))
    assert newest(found, look(2, served="a"))[-1].served_since is None


def test_look_without_a_leaf_begins_nothing() -> None:
    """Silence says nothing about the leaf; what was seen before with another pair stays as it is."""
    before = (look(served="a"),)
    after = newest(before, look(1, outcome="silent", offered="node-2"))
    assert after == (*before, look(1, outcome="silent", offered="node-2"))
    assert newest(after, look(2, served="a", offered="node-2"))[-1].served_since == NOW


def test_look_with_a_pair_that_is_gone_is_forgotten() -> None:
    """Live, staged and kept pairs may be offered, or be put back."""
    old = generation()
    kept = old.pair.leaf
    assert kept is not None
    world = snapshot(staged=(staged(),), generations=(old,))
    fresh = world.staged[0].pair.leaf
    assert fresh is not None
    good = tuple(look(offered=f) for f in ("node-1", fresh.fingerprint, kept.fingerprint))
    assert of_interest((*good, look(offered="gone")), world) == good
    assert of_interest((), world) == ()
    assert of_interest((look(),), snapshot(replace(pair(), cert=None))) == ()


def test_predicted_look_is_accepted() -> None:
    """A member that was never seen is taken to serve what verifies this host's own pair, else what it was seen to."""
    world = snapshot(pair(trust=Trust("ca", anchors=("root-1",))))
    found = predict(world, ACTION, NOW).members.looks
    assert [(k.address, k.offered, k.outcome, k.anchors) for k in found] == [
        ("db2:26257", "node-2", "accepted", ("root-1",))
    ]
    seen = replace(world, members=replace(world.members, looks=(look(served="a", anchors=("root-2",)),)))
    assert predict(seen, ACTION, NOW + MINUTE).members.looks[-1].anchors == ("root-2",)
    assert predict(seen, ACTION, NOW + MINUTE).members.looks[-1].served_since == NOW
    assert predict(snapshot(pair(trust=None)), ACTION, NOW).members.looks[-1].anchors == ()
    assert predict(snapshot(pair("client.root")), ACTION, NOW).members.looks[-1].anchors == ()
