"""A pair of another root goes live only if every listed member, and this host, was shown to accept it."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from certagent.core.actions import Install, LookAt, Plan, RejectCommand, RejectStaged, Reload, Rollback
from certagent.core.decide import decide
from certagent.core.facts import (
    Authority,
    Generation,
    InFlight,
    Listener,
    Loaded,
    Look,
    Members,
    Pair,
    Request,
    Snapshot,
    Staged,
    Trust,
    Word,
)
from certagent.core.policy import Policy, RotationRule
from certagent.core.rotation.canary import rank
from tests.core.building import DAY, NOW, leaf, pair, policy, process, revocation, served, snapshot, want
from tests.core.rotation.network import NEW, OLD, bundle_of

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
OWN, A, B = "127.0.0.1:26257", "a:26257", "b:26257"
RULE = RotationRule(outside_clients=False, soak=timedelta(0))
ALONE = replace(RULE, peers=())
RULES = policy(want("ca"), want(), rotation=RULE)
FLEET = Members(source="peers", listed=(A, B), live=3)


def of(root: str, made: Pair, bundle: str = "ca") -> Pair:
    """The pair, verified by a root of a bundle."""
    return replace(made, trust=Trust(bundle, anchors=(root,)))


LIVE = of("old", pair())
FRESH = leaf("node", 2, not_before=NOW, not_after=NOW + 30 * DAY)
NEXT = Staged(of("new", pair("node", FRESH)), NOW - HOUR, asked=True)


def look(
    address: str, outcome: Any = "accepted", offered: str = "node-2", age: timedelta = HOUR, **changes: Any
) -> Look:
    made = Look(address=address, at=NOW - age, stem="node", offered=offered, outcome=outcome, reason=f"{outcome}!")
    return replace(made, **changes)


ALL = (look(OWN), look(A), look(B))


def host(*pairs: Pair, looks: tuple[Look, ...] = ALL, members: Members = FLEET, **changes: Any) -> Snapshot:
    """A node of three, whose CA has switched: the new pair is staged, everybody accepted it."""
    found = snapshot(bundle_of(("new", "old")), *(pairs or (LIVE,)), staged=(NEXT,), processes=(process(),))
    return replace(found, members=replace(members, looks=looks), **changes)


def installs(found: Snapshot, rules: Policy = RULES, now: datetime = NOW) -> list[str]:
    return [a.stem for a in decide(rules, found, now).actions if isinstance(a, Install)]


def looks(made: Plan) -> list[tuple[str, str, bool]]:
    return [(a.address, a.offers, a.staged) for a in made.actions if isinstance(a, LookAt)]


def why(made: Plan, action: str = "install") -> str:
    return "; ".join(b.reason for b in made.blocked if b.action == action)


def codes(made: Plan) -> dict[str, str]:
    ours = ("peer.refuses", "peer.unseen", "peers.incomplete", "layout.waiting")
    return {f.code: f.severity for f in made.findings if f.code in ours}


def test_invariant_1_serve() -> None:
    """Each member and the own process accepted it: it goes live. Without any one of these answers it does not."""
    assert installs(host()) == ["node"]
    for missing in (OWN, A, B):
        made = decide(RULES, host(looks=tuple(k for k in ALL if k.address != missing)), NOW)
        assert not [a for a in made.actions if isinstance(a, Install)]
        assert looks(made) == [(missing, "node", True)]
        assert "1 of 3 were not shown to accept it" in why(made)


SAME = [
    ("the same root", of("old", pair("node", FRESH)), LIVE),
    ("one that is cross-signed by the live root", replace(LIVE, trust=Trust("ca", anchors=("new", "old"))), LIVE),
]


@pytest.mark.parametrize(("label", "new", "live"), SAME, ids=[r[0] for r in SAME])
def test_renewal_under_same_root_waits_for_nobody(label: str, new: Pair, live: Pair) -> None:
    """Whoever is away: nobody is looked at, and nothing is said."""
    new = replace(new, cert=pair("node", FRESH).cert, key=pair("node", FRESH).key)
    found = host(live, looks=(), members=replace(FLEET, live=None), staged=(replace(NEXT, pair=new),))
    made = decide(RULES, found, NOW)
    assert [a.stem for a in made.actions if isinstance(a, Install)] == ["node"], label
    assert (looks(made), codes(made)) == ([], {})


OTHER = [
    ("a cross-signature that is gone", replace(LIVE, trust=Trust("ca", anchors=("new", "old")))),
    ("a live pair that the own bundle does not verify", replace(LIVE, trust=Trust("ca", "no chain"))),
    ("a live pair that was not verified yet", replace(LIVE, trust=Trust("ca", unread=True))),
]


@pytest.mark.parametrize(("label", "live"), OTHER, ids=[r[0] for r in OTHER])
def test_pair_that_others_may_not_verify_waits(label: str, live: Pair) -> None:
    """What others verify the live pair by is not known to verify the new one."""
    assert not installs(host(live, looks=())), label
    assert installs(host(live)) == ["node"], label


ENDED = leaf("node", not_before=NOW - 30 * DAY, not_after=NOW)
USELESS = [
    ("it is missing", replace(LIVE, cert=None), {}),
    ("it has expired", of("old", pair("node", ENDED)), {}),
    ("its key is another one", replace(LIVE, key=pair("node", leaf("node", 9)).key), {}),
    ("it is revoked", LIVE, {"revocations": (revocation("node-1", "revoked"),)}),
    ("it is for no node", of("old", pair("node", leaf("node", common_names=("web",)))), {}),
]


@pytest.mark.parametrize(("label", "live", "more"), USELESS, ids=[r[0] for r in USELESS])
def test_useless_live_pair_is_replaced_at_once(label: str, live: Pair, more: dict[str, Any]) -> None:
    """Nothing becomes worse, whoever accepts the new one."""
    assert installs(host(live, looks=(), **more)) == ["node"], label


LONELY = [
    ("no process, no list", Members(), (), RULES, True),
    ("peers = []", Members(), (process(),), replace(RULES, rotation=ALONE), True),
    ("peers = [], two nodes are live", Members(live=2), (process(),), replace(RULES, rotation=ALONE), False),
    ("start-single-node", Members(), (process(command="cockroach start-single-node"),), RULES, True),
    ("it is the only live node", Members(live=1), (process(),), RULES, True),
    ("a list of nobody else", Members(source="peers"), (process(),), RULES, True),
    ("--join of itself", Members(source="join"), (process(),), RULES, False),
    ("nothing is said", Members(), (process(),), RULES, False),
    ("the list cannot be read", Members(problem="no such file"), (), RULES, False),
    ("two of three are listed", replace(FLEET, live=4), (process(),), RULES, False),
    ("the number of live nodes is not known", replace(FLEET, live=None), (process(),), RULES, False),
    ("the same without a process", replace(FLEET, live=None), (), RULES, True),
    ("a process that is gone", Members(), (process(state="gone"),), RULES, True),
    ("a stranger's process", Members(), (process(strange=True),), RULES, True),
]


@pytest.mark.parametrize(("label", "members", "running", "rules", "goes"), LONELY, ids=[r[0] for r in LONELY])
def test_invariant_9_completeness(label: str, members: Members, running: Any, rules: Policy, goes: bool) -> None:
    """All that are live are listed, or this node is alone; where neither is known, nothing changes its root."""
    made = decide(rules, host(members=members, processes=running), NOW)
    assert [a.stem for a in made.actions if isinstance(a, Install)] == (["node"] if goes else []), label
    assert codes(made) == ({} if goes else {"peers.incomplete": "warning"})


def test_processes_that_were_not_looked_for_are_waited_for() -> None:
    """In the first moments nobody knows whether this node is alone; a command is not refused for that."""
    asked = (Request("renew", "node", NOW),)
    made = decide(RULES, host(members=Members(), processes=(), processes_at=None, requests=asked), NOW)
    assert not [a for a in made.actions if isinstance(a, Install | RejectCommand)]
    assert "were not looked for yet" in why(made)


def test_refusal_and_silence_are_told_apart() -> None:
    """The member's own alert is the reason; critical once the live pair is about to expire. A yes of before stays."""
    found = host(looks=(look(OWN), look(A, "refused"), look(B, "silent")))
    made = decide(RULES, found, NOW)
    assert codes(made) == {"peer.refuses": "warning", "peer.unseen": "warning"}
    assert "a:26257: refused!; b:26257: silent!" in why(made)
    assert {b for b, _, _ in looks(made)} == {A, B}
    late = decide(RULES, found, NOW + 19 * DAY)
    assert codes(late) == {"peer.refuses": "critical", "peer.unseen": "critical"}
    assert not looks(decide(RULES, host(looks=(look(OWN), look(A), look(B, "silent", age=SECOND * 29))), NOW))
    assert looks(decide(RULES, host(looks=(look(OWN), look(A), look(B, "silent", age=-SECOND))), NOW))
    many = tuple(f"m{n}:1" for n in range(5))
    bad = tuple(look(m, "refused") for m in many)
    made = decide(RULES, host(members=replace(FLEET, listed=many, live=6), looks=(look(OWN), *bad)), NOW)
    assert "and 2 more" in why(made)
    assert all("and 2 more" in f.message for f in made.findings if f.code == "peer.refuses")


def test_looks_are_two_a_second() -> None:
    """Those that were not looked at for longest come first; what runs counts, and nobody is asked twice at a time."""
    many = tuple(f"m{n}:1" for n in range(9))
    found = host(members=replace(FLEET, listed=many, live=10), looks=(look(OWN),))
    made = decide(RULES, found, NOW)
    assert [at for at, _, _ in looks(made)] == ["m0:1", "m1:1"]
    assert made.wake_at == NOW + SECOND
    running = (InFlight("look", "m0:1 node-2", NOW),)
    assert [at for at, _, _ in looks(decide(RULES, replace(found, in_flight=running), NOW))] == ["m1:1"]
    just = replace(found, members=replace(found.members, looks=(look(OWN), look("m0:1", age=SECOND / 2))))
    assert [at for at, _, _ in looks(decide(RULES, just, NOW))] == ["m1:1"]
    old = replace(found.members, listed=many[:2], live=3, looks=(look(OWN), look("m0:1", "silent")))
    assert [at for at, _, _ in looks(decide(RULES, replace(found, members=old), NOW))] == ["m1:1", "m0:1"]


PAUSES = [
    ("a pair of this moment", timedelta(0), SECOND, 2 * SECOND),
    ("a pair of 40 seconds", 40 * SECOND, 4 * SECOND, 9 * SECOND),
    ("a pair of an hour", HOUR, SECOND, 30 * SECOND),
]


@pytest.mark.parametrize(("label", "age", "ago", "pause"), PAUSES, ids=[r[0] for r in PAUSES])
def test_silent_member_is_looked_at_soon_while_the_pair_is_new(
    label: str, age: timedelta, ago: timedelta, pause: timedelta
) -> None:
    """What is awaited mostly comes soon; a member that is off for days is asked each 30 seconds."""
    silent = (look(OWN), look(A), look(B, "silent", age=ago))
    made = decide(RULES, host(looks=silent, staged=(replace(NEXT, at=NOW - age),)), NOW)
    assert (looks(made), made.wake_at) == ([], NOW - ago + pause), label
    later = decide(RULES, host(looks=silent, staged=(replace(NEXT, at=NOW - age),)), NOW - ago + pause)
    assert [at for at, _, _ in looks(later)] == [B], label


def test_silent_member_is_looked_at_each_half_minute_for_a_pair_of_another_tool() -> None:
    """Nobody recorded when that pair came."""
    rules = replace(RULES, wants=tuple(replace(w, authorities=()) for w in RULES.wants))
    seen = (look(OWN), look(A), look(B, "silent", age=10 * SECOND))
    asked = [{at for at, _, _ in looks(decide(rules, replaced(seen), at))} for at in (NOW, NOW + 20 * SECOND)]
    assert [B in each for each in asked] == [False, True]


def word(kind: Any, **changes: Any) -> Word:
    return replace(Word(kind=kind, bundle="ca", root="new", at=NOW), **changes)


def test_force_is_for_one_peer_and_one_rotation() -> None:
    """The others are still waited for; a word about another root or bundle counts for nothing."""
    silent = host(looks=(look(OWN), look(A)))
    assert installs(replace(silent, words=(word("force", peer=B),))) == ["node"]
    for other in (word("force", peer=A), word("force", peer=B, root="old"), word("force", peer=B, bundle="ca-client")):
        assert not installs(replace(silent, words=(other,)))


@pytest.mark.parametrize("kind", ["pause", "abort"])
def test_person_stops_it(kind: Any) -> None:
    """Nothing goes live, and a command is refused with the reason."""
    made = decide(RULES, host(words=(word(kind),), requests=(Request("renew", "node", NOW),)), NOW)
    assert not [a for a in made.actions if isinstance(a, Install)]
    assert [a.command for a in made.actions if isinstance(a, RejectCommand)] == ["renew"]
    assert codes(made) == {"layout.waiting": "warning"}
    assert installs(host(words=(word(kind, root="another"),))) == ["node"]


def test_outside_clients_need_a_word_before_the_first_leaf() -> None:
    """Servers are verified by bundles that nobody sees; a client's pair is not."""
    rules = replace(RULES, rotation=replace(RULE, outside_clients=True))
    assert codes(decide(rules, host(), NOW)) == {"layout.waiting": "warning"}
    assert installs(host(words=(word("clients-trust"),)), rules) == ["node"]
    assert not installs(host(words=(word("clients-trust", root="old"),)), rules)


def test_live_pair_does_not_expire_while_a_rotation_waits() -> None:
    """An authority of the live root renews it in the emergency; without one the finding is critical."""
    found = host(looks=(), authorities=(Authority("next", "step", (NEW,)), Authority("house", "step", (OLD,))))
    both = policy(want("ca"), want(authorities=("next", "house")), rotation=RULE)
    assert not [a for a in decide(both, found, NOW).actions if isinstance(a, RejectStaged)]
    late = NOW + 18 * DAY + 13 * HOUR
    made = decide(both, found, late)
    assert [a.stem for a in made.actions if isinstance(a, RejectStaged)] == ["node"]
    alone = decide(policy(want("ca"), want(authorities=("next",)), rotation=RULE), found, late)
    assert not [a for a in alone.actions if isinstance(a, RejectStaged)]
    assert "critical" in {f.severity for f in alone.findings if f.code == "cert.expires-soon"}


def ranked(*addresses: str) -> tuple[str, ...]:
    return tuple(sorted(addresses, key=lambda at: rank("new", at)))


def test_first_host_serves_and_the_others_follow_after_the_soak() -> None:
    """By rank or by configuration; once it has served for the soak; by themselves if nobody is seen to begin."""
    soak = timedelta(minutes=10)
    rules = replace(RULES, rotation=replace(RULE, soak=soak))
    low, middle, high = ranked("x:1", "y:1", "z:1")
    first = replace(FLEET, listed=(middle, high), own=low)
    later = replace(FLEET, listed=(low, high), own=middle)
    said = (look(OWN), *(look(at) for at in (low, middle, high)))
    now = {"staged": (replace(NEXT, at=NOW),)}
    assert installs(host(members=first, looks=said, **now), rules) == ["node"]
    assert installs(host(members=later, looks=said, **now), replace(rules, rotation=replace(RULE, canary=True))) == [
        "node"
    ]
    waits = decide(rules, host(members=later, looks=said, **now), NOW)
    assert "another host serves a pair of the new root first" in why(waits)
    assert {at for at, _, _ in looks(waits)} == {low, high}
    unknown = host(members=replace(first, own=""), looks=said, **now)
    assert not installs(unknown, rules)
    assert installs(replace(unknown, staged=(replace(NEXT, at=NOW - 40 * MINUTE),)), rules) == ["node"]
    for since, goes in ((9, []), (10, ["node"])):
        shown = look(low, served="x", anchors=("new",), served_since=NOW - since * MINUTE)
        assert installs(host(members=later, looks=(*said[:1], look(high), shown), **now), rules) == goes
    emergency = NOW + 18 * DAY + 13 * HOUR
    assert installs(host(members=later, looks=said, staged=(replace(NEXT, at=emergency),)), rules, emergency) == [
        "node"
    ]
    own = of("new", pair("client.node", leaf("client.node", 4)))
    split = policy(want("ca"), want(principal=None, client=False), want("client.node"), rotation=rules.rotation)
    assert installs(host(LIVE, own, members=later, looks=said, **now), split) == ["node"]


# split layouts

SERVER = leaf("node", 2, not_before=NOW, not_after=NOW + 30 * DAY, eku=("serverAuth",), common_names=("db1",))
NARROW = of("old", pair("node", leaf("node", 1, eku=("serverAuth",), common_names=("db1",))))
CLIENT = of("old", pair("client.node"))
SPLIT = policy(want("ca"), want(principal=None, client=False), want("client.node"), want("client.root"), rotation=RULE)


def split(new: Pair, *live: Pair, looks: tuple[Look, ...], **changes: Any) -> Snapshot:
    return host(*live, looks=looks, staged=(Staged(new, NOW - HOUR, asked=True),), **changes)


def test_client_node_shows_that_the_server_is_accepted() -> None:
    """One bundle verifies both: who takes client.node of the same issuer takes node.crt, too."""
    live = of("new", pair("client.node", leaf("client.node", 3)))
    told = tuple(look(at, offered="client.node-3") for at in (OWN, A, B))
    server = of("new", pair("node", SERVER))
    assert installs(split(server, NARROW, live, looks=told), SPLIT) == ["node"]
    other = replace(live, cert=pair("client.node", leaf("client.node", 3, issuer="CN=other")).cert)
    assert not installs(split(server, NARROW, other, looks=told), SPLIT)


def test_clients_pair_is_accepted_as_the_nodes_pair_is() -> None:
    """A client's pair of another root waits for the same answers, and for nobody's turn."""
    root = leaf("client.root", 2, not_before=NOW, not_after=NOW + 30 * DAY)
    new, live = of("new", pair("client.root", root)), of("old", pair("client.root"))
    rules = policy(want("ca"), want(), want("client.root"), rotation=replace(RULE, soak=HOUR))
    mine = of("new", pair("node", leaf("node", 3)))
    found = split(new, mine, live, looks=tuple(look(at, offered="node-3") for at in (OWN, A, B)))
    assert installs(found, rules) == ["client.root"]
    made = decide(rules, replace(found, members=FLEET), NOW)
    assert looks(made)[0][1:] == ("node", False)


CA_ENDS = int(NEW.not_after.timestamp())
LOADED = Loaded("loaded", (bundle_of(("new", "old")), NARROW))
BY_METRIC = [
    ("it ends with the new root", CA_ENDS, LOADED, ["node"]),
    ("it ends with another one", CA_ENDS - 1, LOADED, []),
    ("it was not read", 0, LOADED, []),
    ("the own process has the old bundle", CA_ENDS, Loaded("loaded", (bundle_of(("old",)), NARROW)), []),
    ("nothing is known of the own process", CA_ENDS, None, []),
]


@pytest.mark.parametrize(("label", "ends", "loaded", "goes"), BY_METRIC, ids=[r[0] for r in BY_METRIC])
def test_split_ca_shows_the_servers_bundle_by_a_metric(
    label: str, ends: int, loaded: Loaded | None, goes: list[str]
) -> None:
    """No handshake shows by what others verify servers where clients are verified by a bundle of their own."""
    clients = replace(bundle_of(("old",)), name=pair("ca-client", leaf("ca-client")).name)
    told = tuple(look(at, offered="client.node-1", ca_ends=ends) for at in (OWN, A, B))
    more: dict[str, Any] = {
        "pairs": (bundle_of(("new", "old")), clients, NARROW, of("old", pair("client.node"), "ca-client"))
    }
    more["loaded"] = (loaded,) if loaded else ()
    found = split(of("new", pair("node", SERVER)), looks=told, **more)
    assert installs(found, SPLIT) == goes, label
    if ends == 0:
        assert "its metrics do not show the new root first" in why(decide(SPLIT, found, NOW))
        silent = tuple(replace(k, outcome="silent", reason="timed out") for k in told)
        made = decide(SPLIT, replace(found, members=replace(FLEET, looks=silent)), NOW)
        assert "timed out" in why(made)
        assert "not looked at yet" in why(decide(SPLIT, replace(found, members=FLEET), NOW))


def test_dual_purpose_node_with_a_client_bundle_needs_both_proofs() -> None:
    """Its members verify it as a client by ca-client.crt, and as a server by ca.crt."""
    clients = replace(bundle_of(("new", "old")), name=pair("ca-client", leaf("ca-client")).name)
    pairs = (bundle_of(("new", "old")), clients, LIVE)
    for ends, goes in ((CA_ENDS, ["node"]), (0, [])):
        told = tuple(look(at, ca_ends=ends) for at in (OWN, A, B))
        assert installs(host(pairs=pairs, looks=told)) == goes
    assert not installs(host(pairs=pairs, looks=tuple(look(at, "refused", ca_ends=CA_ENDS) for at in (OWN, A, B))))


def test_without_a_pair_to_offer_nothing_is_shown() -> None:
    """A server's pair alone: it cannot be offered, so nobody is looked at, and it waits for a person."""
    rules = policy(want("ca"), want(principal=None, client=False), rotation=RULE)
    made = decide(rules, split(of("new", pair("node", SERVER)), NARROW, looks=()), NOW)
    assert (looks(made), "no pair by which it could be shown" in why(made)) == ([], True)


OWN_PROCESS = [
    ("it is starting", process(state="starting"), False),
    ("it is gone", process(state="gone"), True),
    ("it has no SQL port, and has loaded both", process(listeners=(Listener("127.0.0.1", 8080, "http"),)), True),
]


@pytest.mark.parametrize(("label", "running", "goes"), OWN_PROCESS, ids=[r[0] for r in OWN_PROCESS])
def test_own_process_has_to_accept_it_too(label: str, running: Any, goes: bool) -> None:
    """By a handshake where it has a port for that, else by what it has loaded."""
    loaded = (Loaded("loaded", (bundle_of(("new", "old")), LIVE)),)
    found = host(processes=(running,), loaded=loaded, looks=(look(A), look(B)))
    assert installs(found) == (["node"] if goes else []), label


# reload

RELOADED = Loaded("before", (bundle_of(("new", "old")), LIVE))


def replaced(looks: tuple[Look, ...], was: Loaded = RELOADED, **changes: Any) -> Snapshot:
    """Another tool has put a pair of the new root there; the process has the old one."""
    found = host(of("new", pair("node", FRESH)), looks=looks, staged=(), served=(served("node-1"),), loaded=(was,))
    return replace(found, **changes)


def test_invariant_4_never_signal_onto_a_pair_that_members_refuse() -> None:
    """Whoever put it there: the process keeps what it has loaded, and everybody is asked."""
    rules = replace(RULES, wants=tuple(replace(w, authorities=()) for w in RULES.wants))
    made = decide(rules, replaced(()), NOW)
    assert not [a for a in made.actions if isinstance(a, Reload)]
    assert "were not shown to accept it" in why(made, "reload")
    assert {at for at, _, ready in looks(made) if not ready} == {A, B}
    assert [a.pid for a in decide(rules, replaced(ALL), NOW).actions if isinstance(a, Reload)] == [100]
    forced = replaced((), requests=(Request("reload", "", NOW, force=True),))
    assert [a.pid for a in decide(rules, forced, NOW).actions if isinstance(a, Reload)] == [100]
    for was in (
        replace(RELOADED, pairs=RELOADED.pairs[:1]),
        replace(RELOADED, pairs=(of("old", pair("node", ENDED)),)),
    ):
        assert [a.pid for a in decide(rules, replaced((), was), NOW).actions if isinstance(a, Reload)] == [100]


# the way back

KEPT = Generation(1, of("old", pair("node", leaf("node", 101))), NOW - DAY)


def turned(looks: tuple[Look, ...], **changes: Any) -> Snapshot:
    """The new pair is live, the old one a generation."""
    return host(of("new", pair("node", FRESH)), staged=(), generations=(KEPT,), looks=looks, **changes)


def backs(made: Plan) -> list[str]:
    return [a.fingerprint for a in made.actions if isinstance(a, Rollback)]


def told(age: timedelta, outcome: Any = "accepted") -> tuple[Look, ...]:
    return tuple(look(at, outcome, "node-101", age=age) for at in (A, B))


def test_invariant_5_back_needs_a_fresh_proof() -> None:
    """A rollback to another root: all are asked now; who refuses or is silent ends it, an old answer says nothing."""
    asked: dict[str, Any] = {"requests": (Request("rollback", "node", NOW),)}
    made = decide(RULES, turned(told(HOUR), **asked), NOW)
    assert (backs(made), looks(made)) == ([], [(A, "node", False), (B, "node", False)])
    assert [a.generation for a in made.actions if isinstance(a, LookAt)] == [1, 1]
    assert not [a for a in made.actions if isinstance(a, RejectCommand)]
    assert "were not shown to accept it" in why(made, "rollback")
    assert backs(decide(RULES, turned(told(SECOND * 5), **asked), NOW)) == ["node-101"]
    for outcome in ("refused", "silent"):
        made = decide(RULES, turned(told(SECOND * 5, outcome), **asked), NOW)
        assert [a.reason for a in made.actions if isinstance(a, RejectCommand)] != []
        assert backs(made) == []
    same = replace(KEPT, pair=of("new", KEPT.pair))
    assert backs(decide(RULES, replace(turned((), **asked), generations=(same,)), NOW)) == ["node-101"]


def test_rollback_of_a_pair_that_fails_everywhere_waits_for_nobody() -> None:
    """Every handshake fails with it: nothing is worse."""
    before = Loaded("x", (bundle_of(("new", "old")), of("new", pair("node", FRESH))))
    found = turned((), loaded=(before,), served=(served("", outcome="refused", reason="alert", at=NOW),))
    made = decide(RULES, found, NOW)
    assert made.findings


def test_abort_turns_leaves_back_and_keeps_both_roots() -> None:
    """As soon as everybody accepts the former root now; an abort of another rotation changes nothing."""
    aborted: dict[str, Any] = {"words": (word("abort"),)}
    waits = decide(RULES, turned((), **aborted), NOW)
    assert (backs(waits), len(looks(waits))) == ([], 2)
    assert "aborted" in why(waits, "rollback")
    assert backs(decide(RULES, turned(told(SECOND), **aborted), NOW)) == ["node-101"]
    nothing = replace(turned(told(SECOND), **aborted), generations=())
    assert "no earlier pair of the former root" in why(decide(RULES, nothing, NOW), "rollback")
    assert backs(decide(RULES, turned(told(SECOND), words=(word("abort", root="x"),)), NOW)) == []


def test_nobody_goes_back_once_clients_have_left_the_former_root() -> None:
    """They may have dropped it: only a person knows."""
    rules = replace(RULES, rotation=replace(RULE, outside_clients=True))
    asked: dict[str, Any] = {"requests": (Request("rollback", "node", NOW),)}
    assert backs(decide(rules, turned(told(SECOND), **asked), NOW)) == ["node-101"]
    made = decide(rules, turned(told(SECOND), words=(word("clients-present"),), **asked), NOW)
    assert backs(made) == []
    assert [a.command for a in made.actions if isinstance(a, RejectCommand)] == ["rollback"]
