"""Layouts: what is superfluous in each, and the order in which a live host moves from one to another."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certagent.core.actions import Install, Issue, LookAt, Plan, RejectStaged, Reload, word_of
from certagent.core.decide import decide
from certagent.core.facts import (
    Attempt,
    Authority,
    CertFile,
    Leaf,
    Listener,
    Look,
    Members,
    Pair,
    Request,
    Snapshot,
    Staged,
    Trust,
)
from certagent.core.policy import Policy, RotationRule, Want
from certagent.core.predict import forecast, predict
from certagent.core.serving import material
from certagent.core.status import certs_dir
from tests.core.building import (
    DAY,
    NOW,
    SANS,
    file,
    leaf,
    pair,
    policy,
    process,
    served,
    snapshot,
    staged,
    want,
)

SECOND = timedelta(seconds=1)
WHO = "100:5000"
OLD = leaf("ca", 1, spki="old root", subject_digest="old", not_after=NOW + 3000 * DAY)
NEW = leaf("ca-client", 2, spki="new root", subject_digest="new", not_after=NOW + 3000 * DAY)
HOUSE, CLIENTS = Authority("house", "local", (OLD,)), Authority("clients", "local", (NEW,))
PORTS = (Listener("127.0.0.1", 26257, "sql"), Listener("127.0.0.1", 8080, "http"))


def bundle(stem: str, *cas: Leaf) -> Pair:
    """A trust bundle of those CAs."""
    return replace(pair(stem), cert=CertFile(file(f"{stem}.crt"), f"{stem} {[c.spki for c in cas]}", cas[0], cas[1:]))


def hung(made: Pair, *anchors: str) -> Pair:
    """The pair, verified by these CAs."""
    trust = made.trust
    assert trust is not None
    return replace(made, trust=replace(trust, anchors=anchors))


NODE = hung(pair(), "old root")
NARROW = leaf(common_names=(SANS[0],), eku=("serverAuth",))
CLIENT_NODE = hung(pair("client.node"), "old root")
SPLIT = want(principal=None, client=False)
STANDARD = policy(want("ca"), want(), want("client.root"))
SPLIT_NODE = policy(want("ca"), SPLIT, want("client.node"), want("client.root"), layout="split-node")


def of_clients(stem: str) -> Want:
    return want(stem, authorities=("clients",))


SPLIT_CA = policy(
    want("ca"),
    of_clients("ca-client"),
    SPLIT,
    of_clients("client.node"),
    of_clients("client.root"),
    layout="split-ca",
)


def live(*pairs: Pair, names: tuple[str, ...] = ("old",), expiry: int = 0, **changes: object) -> Snapshot:
    """A host whose process serves what is on disk, tells its client CAs, and was told so."""
    answers = (
        served(client_cas=names),
        served(address="127.0.0.1:8080", kind="http", node_client_expiry=expiry),
    )
    found = snapshot(*pairs, processes=(process(listeners=PORTS),), served=answers, authorities=(HOUSE, CLIENTS))
    told = Attempt("reload", WHO, NOW - DAY, "presumed", material=material(found))
    return replace(found, attempts=(told,), **changes)  # type: ignore[arg-type]


def plan(rules: Policy, found: Snapshot) -> Plan:
    return decide(rules, found, NOW)


def steps(rules: Policy, found: Snapshot) -> list[str]:
    """Everything that would be done until nothing is left, but for looking."""
    words = [(word_of(a), getattr(a, "stem", getattr(a, "subject", ""))) for a in forecast(rules, found, NOW)]
    return [f"{verb} {what}".strip() for verb, what in words if verb not in {"probe", "scan", "presume", "lookat"}]


def after(rules: Policy, found: Snapshot) -> Snapshot:
    """The world once all of it succeeded."""
    for action in forecast(rules, found, NOW):
        found = predict(found, action, NOW)
    return found


def held(made: Plan, subject: str) -> list[str]:
    return [h.reason for h in made.blocked if h.subject == subject]


def messages(made: Plan, code: str) -> dict[str, str]:
    """File -> severity of the findings of a code."""
    return {f.file: f.severity for f in made.findings if f.code == code}


HOST = live(bundle("ca", OLD), NODE, pair("client.root"))
HOST_SPLIT = live(bundle("ca", OLD), NODE, CLIENT_NODE, pair("client.root"))
BOTH = bundle("ca-client", NEW, OLD)
HOST_BOTH = live(bundle("ca", OLD), BOTH, NODE, CLIENT_NODE, pair("client.root"), names=("old", "new"))
NEXT = ["install client.node", f"reload {WHO}", "proven"]
MOVES = [
    ("standard is quiet", STANDARD, HOST, []),
    (
        "standard to split-node",
        SPLIT_NODE,
        HOST,
        ["issue client.node", "install client.node", f"reload {WHO}", "proven"],
    ),
    (
        "split-node to split-ca",
        SPLIT_CA,
        HOST_SPLIT,
        ["issue ca-client", "install ca-client", f"reload {WHO}", "proven"],
    ),
    (
        "standard to split-ca at once: a node that has no client.node acts as node.crt until others accept another CA",
        SPLIT_CA,
        HOST,
        ["issue ca-client", "install ca-client", f"reload {WHO}", "issue client.node", "proven"],
    ),
    (
        "the same of a node that is alone",
        replace(SPLIT_CA, rotation=RotationRule(peers=())),
        HOST,
        ["issue ca-client", "install ca-client", f"reload {WHO}", "issue client.node", "proven", *NEXT],
    ),
    (
        "split-ca, of a node that is alone",
        replace(SPLIT_CA, rotation=RotationRule(peers=())),
        replace(HOST_BOTH, requests=(Request("renew", "client.node", NOW),)),
        ["issue client.node", "install client.node", f"reload {WHO}", "proven"],
    ),
    (
        "split-ca, of a node whose peers nobody knows",
        SPLIT_CA,
        replace(HOST_BOTH, requests=(Request("renew", "client.node", NOW),)),
        ["issue client.node", "decline client.node"],
    ),
]


@pytest.mark.parametrize(("label", "rules", "found", "expected"), MOVES, ids=[m[0] for m in MOVES])
def test_layout_change_steps_in_order(label: str, rules: Policy, found: Snapshot, expected: list[str]) -> None:
    """The steps of a layout change on a live host, in this order; a step that waits is not done."""
    assert steps(rules, found) == expected, label


def test_split_ca_fresh_host_is_separate_from_start() -> None:
    """In an empty directory ca-client.crt has the clients' CA alone, and no pair comes before its bundle."""
    empty = snapshot(authorities=(Authority("house", "local"), Authority("clients", "local")), pairs=())
    first = [a for a in plan(SPLIT_CA, empty).actions if isinstance(a, Issue)]
    assert {("ca", ""), ("ca-client", "")} == {(a.subject, a.carried_over_bundle) for a in first}
    done = after(SPLIT_CA, empty)
    assert {"ca", "ca-client", "node", "client.node", "client.root"} == {p.name.stem for p in done.pairs}
    own = done.pair("ca-client")
    assert own is not None
    assert own.cert is not None
    assert len(own.cert.certificates) == 1


def test_split_ca_first_client_bundle_keeps_old_roots() -> None:
    """If ca.crt verified the clients so far, a first ca-client.crt has those CAs too, the new one first."""
    own = after(SPLIT_CA, HOST_SPLIT).pair("ca-client")
    assert own is not None
    assert own.cert is not None
    assert [c.spki for c in own.cert.certificates] == ["new root", "old root"]


def test_split_ca_server_without_local_clients_keeps_old_roots() -> None:
    """Clients elsewhere cannot be seen: a serving process is enough to keep the old CAs in the bundle."""
    narrow = live(bundle("ca", OLD), pair(cert=NARROW))
    made = [a for a in plan(SPLIT_CA, narrow).actions if isinstance(a, Issue)]
    assert [("ca-client", "ca")] == [(a.subject, a.carried_over_bundle) for a in made]


DUE = leaf(not_before=NOW - 21 * DAY, not_after=NOW + 9 * DAY)


def test_split_node_stays_dual_purpose_until_client_node_loaded() -> None:
    """Its renewal is not blocked, and keeps the principal `node`: cockroach would refuse the reload otherwise."""
    found = live(bundle("ca", OLD), hung(pair(cert=DUE), "old root"), pair("client.root"))
    made = {a.subject: a.want for a in plan(SPLIT_NODE, found).actions if isinstance(a, Issue)}
    assert {"node", "client.node"} == set(made)
    assert (made["node"].principal, made["node"].client) == ("node", True)


def arrived(seconds: int) -> Attempt:
    return Attempt("install", "client.node", NOW - seconds * SECOND, "ok")


def proof(found: Snapshot, seconds: int, outcome: str = "ok") -> Attempt:
    return Attempt("reload", WHO, NOW - seconds * SECOND, outcome, material=material(found))  # type: ignore[arg-type]


UNTIL = int(leaf("client.node").not_after.timestamp())
LOADED = [
    ("proven after it came", (arrived(9), proof(HOST_SPLIT, 8)), 0, True),
    ("sent is not loaded", (arrived(9), proof(HOST_SPLIT, 8, "unproven")), 0, False),
    ("proven before it came", (proof(HOST_SPLIT, 10), arrived(9)), 0, False),
    ("the metric says so", (arrived(9),), UNTIL, True),
    ("the metric says otherwise", (arrived(9), proof(HOST_SPLIT, 8)), UNTIL - 5, False),
]


@pytest.mark.parametrize(("label", "tries", "expiry", "loaded"), LOADED, ids=[r[0] for r in LOADED])
def test_client_node_loaded_needs_verified_reload_or_metric(
    label: str, tries: tuple[Attempt, ...], expiry: int, loaded: bool
) -> None:
    """Only a verified reload after the file came, or the process's own metric, lets the node narrow."""
    base = live(bundle("ca", OLD), hung(pair(cert=DUE), "old root"), CLIENT_NODE, pair("client.root"), expiry=expiry)
    made = plan(SPLIT_NODE, replace(base, attempts=(*base.attempts, *tries)))
    wants = [a.want for a in made.actions if isinstance(a, Issue) and a.subject == "node"]
    assert [(w.principal, w.client) for w in wants] == [(None, False) if loaded else ("node", True)], label


def test_split_node_staged_narrow_node_waits_then_discarded() -> None:
    """It does not go live while client.node is not loaded; and it does not block the next request forever."""
    answer = staged(cert=replace(NARROW, serial=2, fingerprint="node-2", not_after=NOW + 30 * DAY))
    base = replace(HOST, staged=(answer,))
    made = plan(SPLIT_NODE, base)
    assert not [a for a in made.actions if isinstance(a, Install | RejectStaged)]
    assert ["client.node.crt is missing" in r for r in held(made, "node")] == [True]
    late = plan(SPLIT_NODE, replace(HOST, staged=(replace(answer, at=NOW - 2 * timedelta(minutes=1)),)))
    assert [RejectStaged] == [type(a) for a in late.actions if isinstance(a, Install | RejectStaged)]
    refused = plan(STANDARD, base)
    assert [RejectStaged] == [type(a) for a in refused.actions if isinstance(a, Install | RejectStaged)]
    of_old = replace(answer, pair=hung(answer.pair, "old root"))
    ready = plan(SPLIT_NODE, replace(HOST_SPLIT, staged=(of_old,), requests=(Request("renew", "node", NOW),)))
    assert [Install] == [type(a) for a in ready.actions if isinstance(a, Install | RejectStaged)]


def test_reload_without_any_node_principal_is_blocked() -> None:
    """node.crt names no `node` and there is no client.node: the reload would be refused, so none is sent."""
    found = replace(live(bundle("ca", OLD), pair(cert=NARROW)), served=(served("node-0"),))
    made = plan(STANDARD, found)
    assert not [a for a in made.actions if isinstance(a, Reload)]
    assert ["there is no client.node.crt" in r for r in held(made, WHO)] == [True]


def test_client_pair_of_new_ca_waits_until_accepted() -> None:
    """The bundle is on disk, but the process still names the old CAs alone: no pair of the new one is asked for."""
    due = replace(pair("client.root", leaf("client.root", not_before=NOW - 25 * DAY, not_after=NOW + 5 * DAY)))
    found = live(bundle("ca", OLD), BOTH, NODE, CLIENT_NODE, due)
    made = plan(SPLIT_CA, found)
    assert not [a for a in made.actions if isinstance(a, Issue)]
    assert ["does not accept clients of authority 'clients' yet" in r for r in held(made, "client.root")] == [True]
    assert [Reload] == [type(a) for a in made.actions if isinstance(a, Reload)]
    loaded = live(bundle("ca", OLD), BOTH, NODE, CLIENT_NODE, due, names=("new", "old"))
    assert ["client.root"] == [a.subject for a in plan(SPLIT_CA, loaded).actions if isinstance(a, Issue)]


@pytest.mark.parametrize(("state", "waits"), [("serving", True), ("forbidden", False)])
def test_client_pair_does_not_wait_for_unreadable_process(state: str, waits: bool) -> None:
    """A bundle came after a process started: its reload is waited for, unless the process cannot be inspected."""
    came = Attempt("install", "ca", NOW - timedelta(seconds=5), "ok")
    found = snapshot(pair("ca"), pair(), attempts=(came,), processes=(process(state=state),))
    made = decide(policy(want("ca"), want(), want("client.root")), found, NOW)
    asked = [a.subject for a in made.actions if isinstance(a, Issue)]
    assert asked == ([] if waits else ["client.root"])


def test_client_pair_waits_for_client_bundle() -> None:
    """Without ca-client.crt a client pair of the new CA would be judged by ca.crt: it is not asked for."""
    made = plan(SPLIT_CA, live(bundle("ca", OLD), NODE))
    assert ["ca-client"] == [a.subject for a in made.actions if isinstance(a, Issue)]
    assert ["ca-client.crt is needed first" in r for r in held(made, "client.root")] == [True]


def test_node_client_ca_changed_waits_for_every_member() -> None:
    """Other nodes that trust only the old client CA would refuse it: it is staged, and goes live once all accept it."""
    found = live(bundle("ca", OLD), BOTH, NODE, CLIENT_NODE, pair("client.root"), names=("old", "new"))
    answer = staged("client.node", leaf("client.node", 2, not_before=NOW, not_after=NOW + 30 * DAY))
    found = replace(found, staged=(replace(answer, pair=hung(answer.pair, "new root")),))
    made = plan(SPLIT_CA, found)
    assert not [a for a in made.actions if isinstance(a, Install | RejectStaged)]
    assert {"client.node.crt": "warning"} == messages(made, "peers.incomplete")
    assert ["not every member is known" in r for r in held(made, "client.node")] == [True]
    alone = replace(SPLIT_CA, rotation=RotationRule(peers=()))
    shown = Look(address="127.0.0.1:26257", at=NOW, stem="client.node", offered="client.node-2", outcome="accepted")
    known = replace(found, members=Members(looks=(shown,)))
    assert [a.address for a in plan(alone, found).actions if isinstance(a, LookAt)] == ["127.0.0.1:26257"]
    assert [a.stem for a in plan(alone, known).actions if isinstance(a, Install)] == ["client.node"]


SAME_CA = [
    ("the same CA", SPLIT_NODE, CLIENT_NODE),
    (
        "a CA of the list of failover",
        policy(want("ca"), SPLIT, want("client.node", authorities=("clients", "house"))),
        CLIENT_NODE,
    ),
    (
        "an expired pair has nothing to lose",
        SPLIT_CA,
        hung(pair("client.node", leaf("client.node", not_after=NOW)), "old root"),
    ),
]


@pytest.mark.parametrize(("label", "rules", "own"), SAME_CA, ids=[r[0] for r in SAME_CA])
def test_node_client_ca_unchanged_is_not_blocked(label: str, rules: Policy, own: Pair) -> None:
    """If the CA stays the same, or no trust is left to lose, nothing waits."""
    found = live(bundle("ca", OLD), BOTH, NODE, own, pair("client.root"), names=("old", "new"))
    root = "new root" if rules is SPLIT_CA else "old root"
    answer = staged("client.node", leaf("client.node", 2, not_before=NOW, not_after=NOW + 30 * DAY))
    made = plan(rules, replace(found, staged=(replace(answer, pair=hung(answer.pair, root)),)))
    assert [a.stem for a in made.actions if isinstance(a, Install)] == ["client.node"], label


def test_node_answer_of_other_client_ca_waits() -> None:
    """If the authority's roots are not known beforehand, the staged pair shows them: it is not installed by itself."""
    found = live(bundle("ca", OLD), BOTH, NODE, CLIENT_NODE, names=("old", "new"))
    found = replace(found, authorities=(HOUSE, Authority("clients", "acme")))
    answer = staged("client.node", leaf("client.node", 2, not_before=NOW, not_after=NOW + 30 * DAY))
    for anchors, kinds in ((("new root",), []), (("old root",), [Install])):
        made = plan(SPLIT_CA, replace(found, staged=(Staged(hung(answer.pair, *anchors), NOW, asked=True),)))
        assert kinds == [type(a) for a in made.actions if isinstance(a, Install | RejectStaged)]


SUPERFLUOUS = [
    ("client.node in standard", STANDARD, HOST_SPLIT, {"client.node.crt": "warning"}),
    ("ca-client in split-node", SPLIT_NODE, HOST_BOTH, {"ca-client.crt": "warning", "node.crt": "info"}),
    ("ui that nobody configured", STANDARD, replace(HOST, pairs=(*HOST.pairs, pair("ui"))), {"ui.crt": "info"}),
    ("a node that can still act as a client", SPLIT_NODE, HOST_SPLIT, {"node.crt": "info"}),
    (
        "a node that can still act as a client, of another tool",
        replace(SPLIT_NODE, wants=tuple(replace(w, authorities=()) for w in SPLIT_NODE.wants)),
        HOST_SPLIT,
        {"node.crt": "info"},
    ),
    ("old client CAs in split-ca", SPLIT_CA, HOST_BOTH, {"ca-client.crt": "info", "node.crt": "info"}),
    ("nothing in standard", STANDARD, HOST, {}),
    (
        "nothing in split-ca",
        SPLIT_CA,
        live(bundle("ca", OLD), bundle("ca-client", NEW), pair(cert=NARROW), CLIENT_NODE, names=("new",)),
        {},
    ),
]


@pytest.mark.parametrize(("label", "rules", "found", "expected"), SUPERFLUOUS, ids=[r[0] for r in SUPERFLUOUS])
def test_layout_file_not_requested_is_finding(
    label: str, rules: Policy, found: Snapshot, expected: dict[str, str]
) -> None:
    """A file that cockroach uses without being requested is a finding; an operator removes it, never the agent."""
    assert expected == messages(plan(rules, found), "layout.superfluous"), label


def test_layout_file_missing_is_finding() -> None:
    """A file that the layout requests and that is missing is a finding of its own."""
    made = plan(SPLIT_CA, live(bundle("ca", OLD), NODE))
    assert {"ca-client.crt"} == set(messages(made, "ca.missing"))
    assert {"client.node.crt", "client.root.crt"} == set(messages(made, "cert.missing"))


def test_split_node_is_narrowed_on_renew_command() -> None:
    """`certagent renew node` drops principal and client usage immediately; the plan says so, and the later date."""
    made = plan(SPLIT_NODE, HOST_SPLIT)
    assert any("certagent renew node" in r for r in held(made, "node"))
    asked = plan(SPLIT_NODE, replace(HOST_SPLIT, requests=(Request("renew", "node", NOW),)))
    assert [(None, False)] == [(a.want.principal, a.want.client) for a in asked.actions if isinstance(a, Issue)]


def test_node_principal_among_sans_may_vanish() -> None:
    """`cockroach cert` writes `node` among the DNS SANs: it may vanish from a split node without drop_names."""
    made_by_hand = hung(pair(cert=replace(DUE, dns=(SANS[0], "node"))), "old root")
    found = live(bundle("ca", OLD), made_by_hand, CLIENT_NODE, pair("client.root"))
    asked = [a for a in plan(SPLIT_NODE, found).actions if isinstance(a, Issue)]
    assert [SANS] == [a.names for a in asked]
    kept = policy(want("ca"), replace(SPLIT, names=None), want("client.node"), layout="split-node")
    assert [SANS] == [a.names for a in plan(kept, found).actions if isinstance(a, Issue)]


OTHER_MATERIAL = [
    ("other client CAs", HOST_BOTH, {"client_cas": ("old",)}, True),
    ("the client CAs of the disk", HOST_BOTH, {"client_cas": ("new", "old")}, False),
    ("nothing told", HOST_BOTH, {"client_cas": ()}, False),
    ("another client.node", HOST_SPLIT, {"kind": "http", "node_client_expiry": UNTIL - 5}, True),
    ("the client.node of the disk", HOST_SPLIT, {"kind": "http", "node_client_expiry": UNTIL}, False),
]


@pytest.mark.parametrize(("label", "found", "told", "stale"), OTHER_MATERIAL, ids=[r[0] for r in OTHER_MATERIAL])
def test_reload_refused_shows_in_client_cas_and_metrics(
    label: str, found: Snapshot, told: dict[str, object], stale: bool
) -> None:
    """A refused reload shows in its client CAs and its metrics, though its own leaf is the right one."""
    told_now = replace(found, served=(served(**told),))
    assert stale == bool([a for a in plan(SPLIT_CA, told_now).actions if isinstance(a, Reload)]), label
    by_file = replace(told_now, processes=(process(found_by="pid_file"),))
    assert not [a for a in plan(SPLIT_CA, by_file).actions if isinstance(a, Reload)]


def proofs(rules: Policy, found: Snapshot) -> dict[str, str]:
    return {f["name"]: f["proof"] for f in certs_dir(rules, found, plan(rules, found), NOW)["files"]}


def test_file_verification_methods() -> None:
    """How each file is verified, by the table of the design."""
    told = (*HOST_BOTH.served, served(client="client.root", client_fingerprint="client.root-1"))
    found = replace(HOST_BOTH, served=told)
    assert proofs(SPLIT_CA, found) == {
        "ca": "sent",
        "ca-client": "advertised",
        "node": "served",
        "client.node": "sent",
        "client.root": "accepted",
    }
    metric = replace(found, served=tuple(replace(s, node_client_expiry=UNTIL) for s in told))
    assert proofs(SPLIT_CA, metric)["client.node"] == "metric"
    other = replace(found, served=tuple(replace(s, client_cas=("old",), node_client_expiry=7) for s in told))
    assert {"ca-client": "pending", "client.node": "pending"}.items() <= proofs(SPLIT_CA, other).items()
    assert proofs(SPLIT_CA, other)["node"] == "served"


def test_tenant_server_serves_its_tenant_pair() -> None:
    """A directory without node.crt is a SQL server's: its tenant pair is what a port should serve."""
    tenant = replace(pair("client-tenant.5"), trust=Trust("ca-client-tenant"))
    found = live(bundle("ca", OLD), bundle("ca-client-tenant", NEW), tenant, names=("old", "new"))
    rules = policy(want("ca"), want("ca-client-tenant"), want("client-tenant.5"), layout="tenant")
    stale = replace(found, served=(served("other", client_cas=("old", "new")),))
    assert ["client-tenant.5.crt is" in a.reason for a in plan(rules, stale).actions if isinstance(a, Reload)] == [True]
    told = served("client-tenant.5-1", client="client-tenant.5", client_fingerprint="client-tenant.5-1")
    assert proofs(rules, replace(stale, served=(*stale.served, told)))["client-tenant.5"] == "pending"
    now_served = served("client-tenant.5-1", client_cas=("old", "new"))
    console = served("client-tenant.5-1", address="127.0.0.1:8080", kind="http")
    assert proofs(rules, replace(found, served=(now_served, told)))["client-tenant.5"] == "pending"
    assert proofs(rules, replace(found, served=(now_served, console, told)))["client-tenant.5"] == "accepted"
