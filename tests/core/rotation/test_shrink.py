"""A CA leaves a bundle only if every member serves, and every word says, chains that do not need it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from certagent.core.actions import Install, LookAt, Plan, RejectStaged
from certagent.core.decide import decide
from certagent.core.facts import Look, Members, Request, Snapshot, Staged
from certagent.core.needs import pruning
from certagent.core.view import View
from tests.core.building import NOW, VOLUME, pair, process
from tests.core.rotation.network import bundle_of
from tests.core.rotation.test_serve import FLEET, FRESH, LIVE, RULES, SECOND, A, B, backs, host, look, of, turned

SMALLER = Staged(bundle_of(("new",)), NOW - 10 * SECOND, asked=True)


def seen(address: str, *anchors: str, age: timedelta = SECOND) -> Look:
    return look(address, served="x", anchors=anchors, age=age)


def smaller(*looks: Look, **changes: Any) -> Snapshot:
    """A pair of the new root is live, and somebody asked for the prune."""
    return host(of("new", pair("node", FRESH)), looks=looks, **{"staged": (SMALLER,), **changes})


def swapped(made: Plan) -> list[str]:
    return [type(a).__name__ for a in made.actions if isinstance(a, Install | RejectStaged)]


def test_invariant_2_shrink() -> None:
    """All serve the new root since the smaller bundle was staged: the former CA goes."""
    assert swapped(decide(RULES, smaller(seen(A, "new"), seen(B, "new")), NOW)) == ["Install"]
    assert swapped(decide(RULES, smaller(seen(A, "new"), seen(B, "old")), NOW)) == ["RejectStaged"]
    assert swapped(decide(RULES, smaller(seen(A, "new"), seen(B, "new", "old")), NOW)) == ["Install"]
    short = smaller(seen(A, "new"), seen(B, "new"), members=replace(FLEET, live=4))
    assert swapped(decide(RULES, short, NOW)) == ["RejectStaged"]


def test_every_member_is_looked_at_once_more() -> None:
    """What was seen before the prune was asked for may be untrue: it is waited for, a minute and a second for each."""
    found = smaller(seen(A, "new"), seen(B, "new", age=timedelta(hours=1)))
    made = decide(RULES, found, NOW)
    assert (swapped(made), [a.address for a in made.actions if isinstance(a, LookAt)]) == ([], [B])
    assert "b:26257 was not seen since" in "; ".join(b.reason for b in made.blocked)
    assert swapped(decide(RULES, found, NOW + timedelta(seconds=53))) == ["RejectStaged"]
    assert swapped(decide(RULES, replace(found, quarantined=frozenset({"ca-2"})), NOW)) == ["RejectStaged"]


def test_addition_waits_for_nobody() -> None:
    """A bundle that only grows, or of which no member is listed, is not looked at for."""
    grown = host(
        LIVE, pairs=(bundle_of(("old",)), LIVE), staged=(replace(SMALLER, pair=bundle_of(("new", "old"))),), looks=()
    )
    assert swapped(decide(RULES, grown, NOW)) == ["Install"]
    alone = smaller(members=Members(live=1, source="peers"))
    assert swapped(decide(RULES, alone, NOW)) == ["Install"]


def test_unknown_number_of_nodes_keeps_the_former_ca() -> None:
    """The list may be too short: a process runs, and nobody knows how many there are."""
    found = smaller(seen(A, "new"), seen(B, "new"), members=replace(FLEET, live=None), processes=(process(),))
    waits = pruning(View(policy=RULES, snapshot=found, now=NOW), "ca").waits
    assert ["liveness_livenodes" in w for w in waits] == [True]


def test_no_rollback_where_another_tool_owns_the_files() -> None:
    """Whatever generations there are."""
    found = turned((), requests=(Request("rollback", "node", NOW),))
    found = replace(found, directory=replace(found.directory, observe_only=VOLUME))
    assert backs(decide(RULES, found, NOW)) == []
