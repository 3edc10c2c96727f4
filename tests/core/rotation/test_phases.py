"""The phases of a rotation: what is reached, who is missing, and whether machines or a person are waited for."""

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from certagent.core.facts import Authority, Loaded, Members, Served, Snapshot, Staged, Trust, Word
from certagent.core.policy import Policy
from certagent.core.rotation import shown
from certagent.core.rotation.phases import Rotation, rotations
from certagent.core.view import View
from tests.core.building import NOW, leaf, pair, policy, snapshot, want
from tests.core.rotation.network import NEW, OLD, Host, Network, bundle_of, root_of
from tests.core.rotation.test_network import settle
from tests.core.rotation.test_serve import (
    FLEET,
    FRESH,
    LIVE,
    OWN,
    RULE,
    RULES,
    A,
    B,
    host,
    look,
    of,
    word,
)

MINUTE = timedelta(minutes=1)


def seen(found: Snapshot, rules: Policy = RULES) -> tuple[Rotation, ...]:
    return rotations(View(policy=rules, snapshot=found, now=NOW))


def one(found: Snapshot, rules: Policy = RULES) -> Rotation:
    (made,) = seen(found, rules)
    return made


def of_host(net: Network, host: Host) -> list[tuple[str, str, int]]:
    view = View(policy=net.policy(host), snapshot=net.snapshot(host), now=net.now)
    return [(r.phase, r.waits, r.exit) for r in rotations(view)]


def say(net: Network, *kinds: Any) -> None:
    for each in net.hosts.values():
        each.words += tuple(Word(kind=kind, bundle="ca", root="new", at=net.now) for kind in kinds)


def test_invariant_10_progress() -> None:
    """Each phase of a rotation in order; three acts of a person, and O(N) looks."""
    net = Network(random=Random(1))
    a, b, c = net.hosts.values()
    assert of_host(net, a) == []
    for each in (a, b, c):
        each.bundle = ("new", "old")
    assert of_host(net, a) == [("known", "machines", 2)]
    settle(net, a, b, c)
    assert of_host(net, a) == [("trusted-here", "person", 3)]  # the new CA does not issue yet
    net.issues = "new"
    for each in (a, b, c):
        each.staged = (Staged(net.pair(), net.now, asked=True),)
    settle(net, a, b, c)
    assert of_host(net, a) == [("trusted-by-all", "person", 3)]
    net.client_trusts.add("new")
    say(net, "clients-trust")
    settle(net, a, b, c, seconds=120)
    assert [root_of(h.loaded[1]) for h in net.hosts.values()] == ["new"] * 3
    assert of_host(net, a) == [("leaves-everywhere", "person", 3)]
    net.client_shows = "new"
    say(net, "clients-present")
    assert of_host(net, a) == [("clients-done", "machines", 2)]
    assert sum("LookAt" in line for line in net.told) < 40
    settle(net, a, b, c)
    assert [(h.loaded[0], of_host(net, h)) for h in (a, b, c)] == [(("new",), [])] * 3
    assert sum("LookAt" in line for line in net.told) < 80


def test_rows_show_who_accepts_and_who_serves() -> None:
    """Of this host and of each member; the counts are of members that serve, and of all that accept."""
    told = (
        look(OWN),
        look(A, served="x", anchors=("new",)),
        look(B, "refused", served="y", anchors=("old",)),
    )
    made = one(host(looks=told, loaded=(Loaded("x", (bundle_of(("new", "old")), LIVE)),)))
    rows = {r.address: (r.own, r.accepts, r.serves, r.reason) for r in made.rows}
    assert rows == {
        OWN: (True, True, "", "accepted!"),
        A: (False, True, "new", "accepted!"),
        B: (False, False, "old", "refused!"),
    }
    assert (made.phase, made.waits, made.accepting, made.serving) == ("trusted-here", "machines", 2, 1)
    assert (made.bundle, made.root, made.former_roots, made.former) == ("ca", "new", ("old",), ("CN=old",))
    assert "1 of 3 were not shown to accept the new root: b:26257: refused!" in made.why
    forced = one(
        host(looks=told, words=(word("force", peer=B),), loaded=(Loaded("x", (bundle_of(("new", "old")), LIVE)),))
    )
    assert (forced.phase, forced.words) == ("trusted-by-all", ("force",))
    assert [r.address for r in forced.rows if r.forced] == [B]


SERVES = [((), "old"), (("old",), "old"), (("new",), "new"), (("new", "old"), "both"), (("third",), "other")]


@pytest.mark.parametrize(("anchors", "serves"), SERVES)
def test_what_a_member_serves(anchors: tuple[str, ...], serves: str) -> None:
    """Its chain may lead to several roots: of a former one alone, or of none that is known, it still needs it."""
    made = one(host(looks=(look(A, served="x", anchors=anchors),)))
    assert [r.serves for r in made.rows if r.address == A] == [serves]


@pytest.mark.parametrize(
    ("fingerprint", "age", "serves"),
    [
        ("node-1", timedelta(0), "old"),
        ("node-1", 3 * MINUTE, "new"),
        ("unknown", timedelta(0), "new"),
        ("", MINUTE, "new"),
    ],
    ids=["newer than the look", "older", "of another pair", "no answer"],
)
def test_own_port_shows_what_it_answered_after_an_installation(fingerprint: str, age: timedelta, serves: str) -> None:
    """The agent asks its own ports after each swap; a look that is older does not say what is served now."""
    told = (look(OWN, age=2 * MINUTE, served="x", anchors=("new",)),)
    answer = Served(OWN, "sql", "", NOW - age, "served" if fingerprint else "unreachable", fingerprint)
    made = one(host(looks=told, served=(answer,)))
    assert [r.serves for r in made.rows if r.address == OWN] == [serves]


def test_many_that_are_missing_are_counted() -> None:
    """Three are named."""
    listed = tuple(f"m{n}:1" for n in range(6))
    loaded = (Loaded("x", (bundle_of(("new", "old")), LIVE)),)
    members = replace(FLEET, listed=listed, live=7)
    made = one(host(members=members, looks=(look(OWN),), loaded=loaded))
    assert "6 of 7 were not shown to accept the new root" in made.why
    assert made.why.endswith("and 3 more")


@pytest.mark.parametrize(("kind", "says"), [("pause", "it is paused"), ("abort", "it was aborted")])
def test_stopped_rotation_waits_for_a_person(kind: Any, says: str) -> None:
    """Whatever phase it is in."""
    made = one(host(words=(word(kind),)))
    assert (made.waits, made.exit, says in made.why) == ("person", 3, True)


def test_incomplete_list_is_for_a_person() -> None:
    """Before the leaves, and before the prune."""
    loaded = (Loaded("x", (bundle_of(("new", "old")), LIVE)),)
    made = one(host(members=replace(FLEET, live=9), loaded=loaded))
    assert (made.phase, made.waits, "9 nodes are live" in made.incomplete) == ("trusted-here", "person", True)


def test_node_that_no_setting_calls_alone_never_has_clients_done() -> None:
    """`bundle prune` would refuse; the reason names the remedy, and so does the next command."""
    mine = of("new", pair("node", FRESH))
    about: dict[str, Any] = {
        "staged": (),
        "loaded": (Loaded("x", (bundle_of(("new", "old")), mine)),),
        "looks": (look(OWN),),
    }
    found, rule = host(mine, members=Members(live=1), **about), replace(RULE, peers=None)
    made = one(found, replace(RULES, rotation=rule))
    assert (made.phase, made.waits, "`peers = []` says that this node is alone" in made.why) == ("leaf", "person", True)
    assert shown.command(RULES, made) == "set `peers` in [certs_dir.rotation]"
    alone = one(replace(found, members=Members(live=1, source="peers", looks=about["looks"])))
    assert (alone.phase, alone.incomplete) == ("clients-done", "")


def test_a_person_lets_the_new_ca_issue() -> None:
    """Unless a configured authority is known to issue from it: then its certificate is awaited."""
    loaded = (Loaded("x", (bundle_of(("new", "old")), LIVE)),)
    known = Authority("house", "step", (NEW,))
    pairs = (bundle_of(("new", "old")), LIVE)
    person = one(host(pairs=pairs, staged=(), loaded=loaded, authorities=(), issued=frozenset({NEW.fingerprint})))
    assert (person.phase, person.waits, person.exit) == ("trusted-here", "person", 3)
    assert shown.command(RULES, person) == "name the new CA in `authority`, or switch the CA"
    machines = one(host(pairs=pairs, staged=(), loaded=loaded, authorities=(known,)))
    assert (machines.phase, machines.waits, shown.command(RULES, machines)) == ("trusted-here", "machines", "")


def test_new_root_that_the_bundle_lacks_is_known() -> None:
    """The configured authority has another root; how the bundle gets it is the reason."""
    found = host(pairs=(bundle_of(("old",)), LIVE), staged=(), authorities=(Authority("house", "step", (NEW,)),))
    made = one(found)
    assert (made.phase, made.waits, made.former) == ("known", "person", ("CN=old",))
    assert "ca.crt does not contain the new root" in made.why
    assert [r.reason for r in made.rows] == ["there is no certificate of the new root yet that it could be offered"] * 2


def test_no_rotation() -> None:
    """One CA and its pair; a fallback authority whose root stands in the bundle for good; no pair at all."""
    assert seen(host(pairs=(bundle_of(("old",)), LIVE), staged=())) == ()
    both = (Authority("house", "step", (OLD,)), Authority("next", "step", (NEW,)))
    rules = policy(want("ca"), want(authorities=("house", "next")), rotation=RULE)
    assert seen(host(staged=(), authorities=both), rules) == ()
    assert seen(host(pairs=(bundle_of(("new", "old")),), staged=())) == ()
    assert seen(host(pairs=(bundle_of(("new", "old")), replace(LIVE, trust=Trust("ca", "no chain"))), staged=())) == ()


def test_fallback_keeps_its_root_in_a_rotation() -> None:
    """The staged pair leads to the other authority: a rotation, in which no CA is a former one."""
    both = (Authority("house", "step", (OLD,)), Authority("next", "step", (NEW,)))
    rules = policy(want("ca"), want(authorities=("next", "house")), rotation=RULE)
    made = one(host(authorities=both), rules)
    assert (made.root, made.former) == ("new", ())


def test_half_of_the_pairs() -> None:
    """node.crt is of the new root, client.node.crt of the old one: the phase is not reached before both are."""
    mine = (of("new", pair("node", FRESH)), of("old", pair("client.node")))
    loaded = (Loaded("x", (bundle_of(("new", "old")), *mine)),)
    told = tuple(look(at) for at in (OWN, A, B))
    made = one(host(*mine, staged=(), loaded=loaded, looks=told))
    assert (made.root, made.phase) == ("new", "trusted-by-all")
    assert made.why == "client.node.crt: its renewal is awaited"


def test_ready_pair_says_what_it_waits_for() -> None:
    """As the plan does."""
    loaded = (Loaded("x", (bundle_of(("new", "old")), LIVE)),)
    rules = replace(RULES, rotation=replace(RULE, outside_clients=True))
    made = one(host(loaded=loaded), rules)
    assert (made.phase, made.waits) == ("trusted-by-all", "person")
    assert made.why.startswith("node.crt: its root is another one, and nobody has said")


def test_split_ca_has_a_rotation_for_each_bundle() -> None:
    """The clients' bundle changes; that of the servers does not."""
    clients = replace(bundle_of(("new", "old")), name=pair("ca-client", leaf("ca-client")).name)
    pairs = (bundle_of(("old",)), clients, LIVE, of("old", pair("client.node"), "ca-client"))
    made = seen(host(pairs=pairs, staged=()))
    assert [(r.bundle, r.root) for r in made] == [("ca-client", "new")]


def test_host_of_clients_alone() -> None:
    """Its pairs change with the root, too."""
    live = of("old", pair("client.root"))
    rules = policy(want("ca"), want("client.root"), rotation=RULE)
    found = snapshot(bundle_of(("new", "old")), live)
    made = one(found, rules)
    assert (made.root, made.rows) == ("new", ())
