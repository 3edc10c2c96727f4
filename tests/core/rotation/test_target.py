"""To which root a rotation leads: what a CA issues, what a person said, what is configured, what was brought."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certagent.core.decide import decide
from certagent.core.facts import Authority, Generation, Leaf, Pair, Snapshot, Staged
from certagent.core.needs import pruning
from certagent.core.policy import Policy
from certagent.core.rotation.target import change, open_to, to_come
from certagent.core.view import View
from tests.core.building import DAY, NOW, leaf, pair, policy, want
from tests.core.rotation.network import NEW, OLD, bundle_of
from tests.core.rotation.test_invariants import shown
from tests.core.rotation.test_serve import FRESH, LIVE, RULE, RULES, A, B, host, installs, look, of, why, word

AGED = leaf(
    "ca", 3, spki="aged", subject="CN=aged", subject_digest="aged", not_before=NOW - 2000 * DAY,
    not_after=NOW + 999 * DAY,
)  # fmt: skip
MOVED = of("aged", pair("node", FRESH))
BEFORE = Generation(1, LIVE, NOW - DAY)
OUTSIDE = replace(RULES, rotation=replace(RULE, outside_clients=True))


def bundle(*cas: Leaf) -> Pair:
    made = bundle_of(("old",))
    assert made.cert is not None
    return replace(made, cert=replace(made.cert, leaf=cas[0], chain=cas[1:], digest=f"{[c.spki for c in cas]}"))


def found_in(found: Snapshot, rules: Policy = RULES) -> tuple[str, tuple[str, ...]] | None:
    made = change(View(policy=rules, snapshot=found, now=NOW), "ca")
    return (made.new.spki, tuple(c.spki for c in made.former)) if made else None


def brings(*cas: Leaf, live: Pair = LIVE, **changes: Any) -> Snapshot:
    """A bundle whose first CA somebody added by `bundle add`."""
    known = {"pairs": (bundle(*cas), live), "staged": (), "issued": frozenset({cas[0].fingerprint}), "looks": ()}
    return host(**{**known, **changes})


def test_root_that_is_older_than_the_live_one_is_brought() -> None:
    """Who adds it in front says where it goes, whatever the dates are; one that another tool put there has dates."""
    assert found_in(brings(AGED, OLD)) == ("aged", ("old",))
    assert found_in(brings(AGED, OLD, issued=frozenset())) == ("old", ("aged",))
    assert found_in(brings(OLD, AGED)) == ("old", ("aged",))
    assert found_in(brings(OLD, NEW)) == ("new", ("old",))
    assert found_in(brings(AGED, NEW, OLD)) == ("aged", ("new", "old"))


def test_older_root_is_a_step_forwards() -> None:
    """Its first pair waits for the word about clients, and for no fresh proof; then it goes live."""
    staged = (Staged(MOVED, NOW - timedelta(hours=1), asked=True),)
    told = tuple(look(at) for at in ("127.0.0.1:26257", A, B))
    found = brings(AGED, OLD, staged=staged, looks=told)
    assert "clients of other hosts trust it" in why(decide(OUTSIDE, found, NOW))
    said = replace(found, words=(replace(word("clients-trust"), root="aged"),))
    assert installs(said, OUTSIDE) == ["node"]
    back = replace(found, generations=(Generation(1, MOVED, NOW - DAY),))
    assert installs(back) == []


def test_host_that_has_moved_knows_what_it_left() -> None:
    """The kept earlier pair leads to the former root, which is newer: that may leave the bundle, and is no target."""
    both = (shown(A, "aged"), shown(B, "aged"))
    found = brings(AGED, OLD, live=MOVED, generations=(BEFORE,), looks=both)
    assert found_in(found) == ("aged", ("old",))
    made = pruning(View(policy=RULES, snapshot=found, now=NOW), "ca")
    assert ([c.spki for c in made.removed], made.waits) == (["old"], ())
    tried = replace(found, generations=(replace(BEFORE, quarantined=True),))
    assert found_in(tried) == ("old", ("aged",))


PINNED = (Authority("house", "step", (OLD, NEW)),)


def pinned(**changes: Any) -> Snapshot:
    return brings(NEW, OLD, **{"authorities": PINNED, **changes})


def test_root_that_is_pinned_beside_the_live_one_may_come() -> None:
    """Nobody knows which of them signs: no rotation is seen until a person speaks about it, or a pair of it comes."""
    assert found_in(pinned()) is None
    view = View(policy=RULES, snapshot=pinned(), now=NOW)
    assert [c.new.spki for c in to_come(view, "ca", "")] == ["new"]
    for kind in ("clients-trust", "force", "abort", "pause"):
        assert found_in(pinned(words=(word(kind),))) == ("new", ())
        assert not [
            a for a in decide(RULES, pinned(words=(word(kind),)), NOW).actions if type(a).__name__ == "EndWords"
        ]
    assert found_in(pinned(words=(word("clients-present"),))) is None
    assert found_in(pinned(words=(replace(word("clients-trust"), root="stranger"),))) is None
    waits = pinned(staged=(Staged(of("new", pair("node", FRESH)), NOW, asked=True),))
    assert found_in(waits) == ("new", ())


def test_half_of_the_pairs_leave_the_rotation_open() -> None:
    """node.crt leads to the new root, client.node.crt to the former one: the word counts until both do."""
    live = (of("new", pair("node", FRESH)), of("old", pair("client.node")))
    found = pinned(pairs=(bundle(NEW, OLD), *live), words=(word("clients-trust"),))
    assert found_in(found) == ("new", ())


@pytest.mark.parametrize(
    ("named", "roots"),
    [
        ("", ["aged", "new"]),
        ("CN=new", ["new"]),
        ("aged", ["aged"]),
        ("CA-2", ["new"]),
        ("c:a:-3", ["aged"]),
        ("old", []),
        (":", []),
    ],
)
def test_root_is_named_by_subject_or_fingerprint(named: str, roots: list[str]) -> None:
    """One that the live pairs lead to already is none that may come."""
    view = View(policy=RULES, snapshot=brings(AGED, NEW, OLD), now=NOW)
    assert [c.new.spki for c in to_come(view, "ca", named)] == roots


def test_word_names_one_of_several() -> None:
    """The root that was brought last is not the one that the person means."""
    words = (replace(word("clients-trust"), root="new"),)
    assert found_in(brings(AGED, NEW, OLD, words=words)) == ("new", ("aged", "old"))


def test_root_of_a_fallback_authority_never_comes() -> None:
    """It stands there for a failure, also where a person names it; without a live pair nothing is known."""
    both = (Authority("house", "step", (OLD,)), Authority("next", "step", (NEW,)))
    rules = policy(want("ca"), want(authorities=("house", "next")), rotation=RULE)
    found = brings(NEW, OLD, authorities=both, words=(word("clients-trust"),))
    assert found_in(found, rules) is None
    assert open_to(View(policy=rules, snapshot=found, now=NOW), "ca") == ()
    bare = replace(found, pairs=found.pairs[:1])
    assert open_to(View(policy=RULES, snapshot=bare, now=NOW), "ca") == ()
