"""The invariants of a rotation that no other module is about: overlap, return, join and earliest end.

`grep -rn test_invariant_` finds all ten: 1, 4, 5 and 9 in test_serve.py, 2 in test_shrink.py, 10 in test_phases.py.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certagent.core.actions import Install, Issue, LookAt, Plan, Reload
from certagent.core.decide import decide
from certagent.core.facts import Authority, Loaded, Members, Pair, Request, Snapshot, Trust
from certagent.core.findings import Severity
from certagent.core.policy import Policy, RotationRule
from certagent.core.predict import forecast, predict
from certagent.core.rotation.phases import rotations
from certagent.core.rotation.returning import hindrance
from certagent.core.timing import emergency_at
from certagent.core.view import View
from tests.core.building import DAY, NOW, leaf, pair, policy, served, snapshot, want
from tests.core.rotation.network import NEW, OLD, bundle_of
from tests.core.rotation.test_serve import FLEET, FRESH, LIVE, OWN, RULE, RULES, SECOND, A, B, host, look, of, word

BOTH = ("new", "old")
ROLLED = of("new", pair("node", FRESH))
OUTSIDE = replace(RULES, rotation=replace(RULE, outside_clients=True))


def shown(address: str, *anchors: str, age: timedelta = SECOND, **changes: Any) -> Any:
    return look(address, served="x", anchors=anchors, age=age, **changes)


def lacking(*looks: Any, disk: tuple[str, ...] = ("new",), was: tuple[str, ...] = BOTH, **changes: Any) -> Snapshot:
    """A node whose process has loaded both roots, and whose ca.crt somebody has replaced since."""
    live = changes.pop("live", ROLLED)
    loaded = Loaded("before", (bundle_of(was), replace(live, key=None)))
    mark = live.leaf.fingerprint if live.leaf else ""
    told = served(mark, client_cas=was)  # their subjects have the same names
    known = {"pairs": (bundle_of(disk), live), "staged": (), "loaded": (loaded,), "served": (told,)}
    return host(looks=looks, **{**known, **changes})


def signals(made: Plan) -> list[str]:
    return [type(a).__name__ for a in made.actions if isinstance(a, Reload)]


def breaks(made: Plan) -> list[str]:
    return [f.message for f in made.findings if f.code == "bundle.breaks"]


ALL_NEW = (shown(A, "new"), shown(B, "new"))
NOBODY_ELSE = Members(source="peers")
SHRUNK: list[tuple[str, Snapshot, Policy, str]] = [
    ("every member serves the new root", lacking(*ALL_NEW), RULES, ""),
    ("one serves the former root", lacking(shown(A, "new"), shown(B, "old")), RULES, "by b:26257"),
    ("one serves what no CA here verifies", lacking(shown(A, "new"), shown(B)), RULES, "by b:26257"),
    ("one was never seen", lacking(shown(A, "new")), RULES, "by b:26257"),
    ("nobody was seen", lacking(), RULES, "by a:26257, b:26257"),
    ("one is silent", lacking(shown(A, "new"), look(B, "silent", age=SECOND)), RULES, "by b:26257"),
    ("the proof is two minutes old", lacking(ALL_NEW[0], shown(B, "new", age=120 * SECOND)), RULES, "by b:26257"),
    ("a look of the future", lacking(ALL_NEW[0], shown(B, "new", age=-SECOND)), RULES, "by b:26257"),
    ("a cross-signed chain suffices", lacking(ALL_NEW[0], shown(B, *BOTH)), RULES, ""),
    ("more nodes are live", lacking(*ALL_NEW, members=replace(FLEET, live=4)), RULES, "1 live nodes that are not"),
    ("nobody knows how many are live", lacking(*ALL_NEW, members=replace(FLEET, live=None)), RULES, "the other nodes"),
    ("nobody spoke for clients", lacking(*ALL_NEW), OUTSIDE, "by clients of other hosts"),
    ("a person did", lacking(*ALL_NEW, words=(word("clients-present"),)), OUTSIDE, ""),
    ("a word about trust is another one", lacking(*ALL_NEW, words=(word("clients-trust"),)), OUTSIDE, "clients of"),
    (
        "the root that they go to was dropped",
        lacking(shown(A, "old"), shown(B, "old"), disk=("old",), live=LIVE),
        RULES,
        "it is the next root",
    ),
    (
        "the same, aborted here: nobody knows of the others",
        lacking(shown(A, "old"), shown(B, "old"), disk=("old",), live=LIVE, words=(word("abort"),)),
        RULES,
        "may still go on",
    ),
    (
        "aborted, and what was said of it was said before",
        lacking(
            shown(A, "old"),
            shown(B, "old"),
            disk=("old",),
            live=LIVE,
            words=(word("clients-present", root="old"), replace(word("abort"), at=NOW + SECOND)),
        ),
        RULES,
        "may still go on",
    ),
    (
        "aborted, and a person says so of everybody",
        lacking(
            shown(A, "old"),
            shown(B, "old"),
            disk=("old",),
            live=LIVE,
            words=(word("abort"), word("clients-present", root="old")),
        ),
        RULES,
        "",
    ),
    ("a root is added", lacking(disk=BOTH, was=("old",), live=LIVE), RULES, ""),
    ("a node that is alone", lacking(members=NOBODY_ELSE), replace(RULES, rotation=replace(RULE, peers=())), ""),
]


@pytest.mark.parametrize(("label", "found", "rules", "why"), SHRUNK, ids=[r[0] for r in SHRUNK])
def test_invariant_3_overlap(label: str, found: Snapshot, rules: Policy, why: str) -> None:
    """A bundle that lacks a loaded root is not signalled, unless it was shown and said that nobody needs it."""
    made = decide(rules, found, NOW)
    assert signals(made) == ([] if why else ["Reload"]), label
    assert len(breaks(made)) == bool(why)
    assert all(why in told for told in breaks(made)), breaks(made)


def test_invariant_3_overlap_of_a_ca_that_has_ended() -> None:
    """An expired CA verifies nothing: whoever is away, it may go."""
    ended = replace(OLD, not_after=NOW)
    cert = bundle_of(BOTH).cert
    assert cert is not None
    was = replace(bundle_of(BOTH), cert=replace(cert, chain=(ended,)))
    assert signals(decide(RULES, lacking(loaded=(Loaded("before", (was, replace(ROLLED, key=None))),)), NOW))


def test_invariant_3_overlap_of_one_key_under_another_name() -> None:
    """A CA of the same key and another subject verifies other chains, so it does not take the place of the former."""
    cert = bundle_of(("new",)).cert
    assert cert is not None
    other = replace(bundle_of(("new",)), cert=replace(cert, leaf=replace(NEW, spki="old"), digest="other"))
    found = lacking(shown(A, "old"), shown(B, "old"), live=LIVE, was=("old",), pairs=(other, LIVE))
    assert breaks(decide(RULES, found, NOW))


def test_invariant_3_overlap_is_looked_for() -> None:
    """Who has to be seen is looked at, without a word of anybody; then the reload goes."""
    made = decide(RULES, lacking(), NOW)
    assert [(a.address, a.offers) for a in made.actions if isinstance(a, LookAt)] == [(A, "node"), (B, "node")]
    assert not [a for a in decide(RULES, lacking(*ALL_NEW), NOW).actions if isinstance(a, LookAt)]
    bare = decide(RULES, lacking(pairs=(bundle_of(("new",)),)), NOW)
    assert not [a for a in bare.actions if isinstance(a, LookAt)]


def test_invariant_3_overlap_whoever_reloads() -> None:
    """Where the agent sends no signal it is said all the same; an operator's --force alone goes on."""
    by_hand = replace(RULES, process=replace(RULES.process, reload=False))
    assert breaks(decide(by_hand, lacking(), NOW))
    asked = replace(lacking(), requests=(Request("reload", "", NOW - SECOND, force=True),))
    assert signals(decide(RULES, asked, NOW)) == ["Reload"]


def test_invariant_3_rotation_lasts_until_the_smaller_bundle_is_loaded() -> None:
    """What people said about it counts until then, and the way to say it stays open."""
    found = lacking(*ALL_NEW, look(OWN))
    (seen,) = rotations(View(policy=OUTSIDE, snapshot=found, now=NOW))
    assert (seen.phase, seen.waits, seen.former) == ("leaves-everywhere", "person", ("CN=old",))
    said = replace(found, words=(word("clients-present"),))
    (seen,) = rotations(View(policy=OUTSIDE, snapshot=said, now=NOW))
    assert (seen.phase, seen.waits) == ("clients-done", "machines")
    assert not [a for a in decide(OUTSIDE, said, NOW).actions if type(a).__name__ == "EndWords"]


CLIENTS = replace(pair("ca-client"), cert=bundle_of(("new",)).cert)
CLIENTS_BEFORE = replace(pair("ca-client"), cert=bundle_of(BOTH).cert)


@pytest.mark.parametrize("said", [False, True])
def test_invariant_3_overlap_of_the_clients_bundle(said: bool) -> None:
    """Under split CA no handshake shows what other nodes present as clients: only a person's word lets a CA go."""
    pairs = (bundle_of(("old",)), CLIENTS, LIVE, of("new", pair("client.node"), "ca-client"))
    before = (bundle_of(("old",)), CLIENTS_BEFORE, *(replace(p, key=None) for p in pairs[2:]))
    words = (replace(word("clients-present"), bundle="ca-client"),) if said else ()
    found = lacking(*ALL_NEW, pairs=pairs, loaded=(Loaded("before", before),), words=words)
    made = decide(RULES, found, NOW)
    assert signals(made) == (["Reload"] if said else [])
    assert [("what the other nodes present as clients" in told) for told in breaks(made)] == [True] * (not said)


RETURNING = policy(want("ca"), want("node"), rotation=RotationRule(peers=(A, B), outside_clients=False))


def away(**changes: Any) -> Snapshot:
    """A host that was off while the others went to a new root; its configuration pins that, and its server is off."""
    house = Authority("house", "step", (NEW,))
    told = tuple(look(at, "refused", offered="node-1", age=SECOND, reason="unknown CA") for at in (A, B))
    found = snapshot(bundle_of(("old",)), LIVE, authorities=(house,))
    return replace(found, members=Members(source="peers", listed=(A, B), looks=told), **changes)


def test_invariant_6_return() -> None:
    """Bundle, then leaf, and the server must not start before both are there: nothing is asked of the other nodes."""
    found, now = away(), NOW
    assert "refuses node.crt" in hindrance(View(policy=RETURNING, snapshot=found, now=now))
    done: list[str] = []
    for _ in range(6):
        plan = decide(RETURNING, found, now)
        for action in plan.actions:
            found = predict(found, action, now)
            if isinstance(action, Install) and action.stem == "node":
                found = leading_to(found, "new")
            staged = tuple(replace(s, pair=by_root(s.pair, "new")) for s in found.staged)
            found = replace(found, staged=staged)
        done += [a.stem for a in plan.actions if isinstance(a, Install)]
        if "node" not in done:
            assert hindrance(View(policy=RETURNING, snapshot=found, now=now))
        now += SECOND
    assert done == ["ca", "node"]
    assert hindrance(View(policy=RETURNING, snapshot=found, now=now)) == ""


def by_root(made: Pair, root: str) -> Pair:
    return made if made.name.is_bundle else replace(made, trust=Trust("ca", anchors=(root,)))


def leading_to(found: Snapshot, root: str) -> Snapshot:
    """The live node pair, as the bundle verifies it."""
    return replace(found, pairs=tuple(by_root(p, root) for p in found.pairs))


JOINING = policy(want("ca"), want("node", authorities=("house", "next")), rotation=RotationRule(peers=(A, B)))
JOIN = replace(JOINING, wants=(want("ca", authorities=("house", "next")), JOINING.wants[1]))


@pytest.mark.parametrize("first", ["house", "next"])
def test_invariant_7_join(first: str) -> None:
    """A first bundle holds the pinned roots of every authority, whichever of them answers, before a server starts."""
    order = (first, *({"house", "next"} - {first}))
    rules = replace(JOIN, wants=tuple(replace(w, authorities=order) for w in JOIN.wants))
    empty = replace(
        snapshot(),
        pairs=(),
        authorities=(Authority("house", "step", (OLD,)), Authority("next", "step", (NEW,))),
        members=Members(source="peers", listed=(A, B)),
    )
    found, now = empty, NOW
    for action in forecast(rules, empty, NOW):
        found, now = predict(found, action, now), now + timedelta(milliseconds=1)
    made = found.pair("ca")
    assert made is not None
    assert made.cert is not None
    assert {c.spki for c in made.cert.certificates} == {"old", "new"}
    assert not [a for a in decide(rules, found, now).actions if isinstance(a, Issue | Install)]


def test_invariant_7_join_of_a_root_that_nobody_pinned() -> None:
    """A member serves a chain that the first bundle does not verify: the server must not start, and it is said why."""
    found = snapshot(bundle_of(("new",)), ROLLED)
    told = look(A, served="x", anchors=(), age=SECOND, offered="node-2")
    found = replace(found, members=Members(source="peers", listed=(A, B), looks=(told,)))
    why = hindrance(View(policy=RETURNING, snapshot=found, now=NOW))
    assert "a:26257 serves a certificate that ca.crt does not verify" in why


ENDS = st.integers(min_value=1, max_value=40)


@given(end=ENDS, chain=st.none() | ENDS, share=st.integers(min_value=0, max_value=999))
def test_invariant_8_earliest_end(end: int, chain: int | None, share: int) -> None:
    """Until it ends, a pair whose intermediate or root ends first is renewed and reported as one whose leaf does."""
    first = min(end, chain) if chain else end
    now = NOW + first * DAY * share / 1000
    by_chain = planned(end, NOW + chain * DAY if chain else None, now)
    by_leaf = planned(first, None, now)
    assert by_chain == by_leaf


def planned(end: int, chain: datetime | None, now: datetime) -> tuple[list[str], list[Severity], datetime | None]:
    """When a pair is asked for, and how severe what is said of it is."""
    cert = leaf("node", not_before=NOW - 10 * DAY, not_after=NOW + end * DAY)
    live = pair("node", cert, trust=Trust("ca", anchors=("old",), ends=chain, ends_by="CN=old" if chain else ""))
    # what verifies it stays: the bundle says of its own end what it says
    ca = replace(OLD, not_after=NOW + 999 * DAY)
    made = decide(RULES, snapshot(pair("ca", ca), live, processes_at=now), now)
    asked = [a.subject for a in made.actions if isinstance(a, Issue)]
    severe = sorted({f.severity for f in made.findings if f.file == "node.crt" and f.code.startswith("cert.exp")})
    ends = live.effective
    return asked, severe, emergency_at(ends) if ends else None


def test_invariants_are_all_named() -> None:
    """One test at least has the number of each, so that it can be found."""
    text = "".join(p.read_text() for p in Path(__file__).parent.glob("test_*.py"))
    assert [n for n in range(1, 11) if f"def test_invariant_{n}_" not in text] == []
