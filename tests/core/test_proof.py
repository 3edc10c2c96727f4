"""What verifies each file, and who still owes it: every address of every owning process, since the last change."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from certagent.core.actions import AssumeLoaded, Probe, RecordProof
from certagent.core.decide import decide
from certagent.core.facts import (
    Attempt,
    CertFile,
    Leaf,
    Listener,
    Loaded,
    Pair,
    Process,
    Served,
    Snapshot,
    Trust,
)
from certagent.core.proof import Proof, awaited, proof, unloaded
from certagent.core.serving import material
from certagent.core.status import certs_dir
from tests.core.building import DAY, NOW, file, leaf, pair, policy, process, served, snapshot, want

SECOND = timedelta(seconds=1)
SQL, HTTP, OTHER = "127.0.0.1:26257", "127.0.0.1:8080", "127.0.0.1:26320"
PORTS = (Listener("127.0.0.1", 26257, "sql"), Listener("127.0.0.1", 8080, "http"))
ONE = process(listeners=PORTS)
TWO = process(pid=101, start=6000, listeners=(Listener("127.0.0.1", 26320, "sql"),))
FIRST = served(at=NOW - SECOND)
CONSOLE = served(at=NOW - SECOND, address=HTTP, kind="http")
SECOND_ONE = served(at=NOW - SECOND, address=OTHER, process=TWO.identity)
OLD = served("node-0", at=NOW - SECOND)


def changed(made: Pair, ago: timedelta) -> Pair:
    """The same, put where it is that long ago."""
    when = int((NOW - ago).timestamp() * 1e9)
    assert made.cert is not None
    return replace(made, cert=replace(made.cert, file=file(made.cert.file.name, ctime_ns=when)))


def host(*answers: Served, **changes: Any) -> Snapshot:
    """A directory, changed a minute ago, whose one process has two ports, and what they answered."""
    pairs = (pair("ca"), changed(pair(), timedelta(minutes=1)))
    return snapshot(*pairs, **{"processes": (ONE,), "served": answers, **changes})


def of(found: Snapshot, stem: str = "node", now: datetime = NOW) -> Proof:
    made = found.pair(stem)
    assert made is not None
    return proof(found, made, now)


def owing(*who: str) -> Proof:
    return Proof(kind="pending", owed=who)


def sent(ago: timedelta, outcome: Any = "unproven", digest: str = "", who: Process = ONE) -> Attempt:
    return Attempt("reload", who.identity, NOW - ago, outcome, material=digest)


BOTH = (FIRST, CONSOLE)
DONE = Proof(kind="served")
UNREACHABLE = replace(CONSOLE, outcome="unreachable", fingerprint="", reason="Connection refused")
BEFORE = replace(CONSOLE, at=NOW - timedelta(minutes=1))
ROWS: list[tuple[str, Snapshot, Proof]] = [
    ("every address of one process", host(*BOTH), DONE),
    ("one is unreachable", host(FIRST, UNREACHABLE), owing(HTTP)),
    ("its handshake fails", host(FIRST, replace(CONSOLE, outcome="refused")), owing(HTTP)),
    ("one was never asked", host(FIRST), owing(HTTP)),
    ("nobody was asked", host(), owing(SQL, HTTP)),
    ("one serves the old certificate", host(OLD, CONSOLE), owing(SQL)),
    ("one answered before the change", host(FIRST, BEFORE), owing(HTTP)),
    (
        "one answered in the moment of the change",
        host(FIRST, replace(BEFORE, at=NOW - timedelta(minutes=1))),
        owing(HTTP),
    ),
    ("one answered before the signal", host(*BOTH, attempts=(sent(SECOND / 2),)), owing(SQL, HTTP)),
    ("they answered after the signal", host(*BOTH, attempts=(sent(2 * SECOND),)), DONE),
    ("what was noted later is no signal", host(*BOTH, attempts=(sent(SECOND / 2, "ok"),)), DONE),
    ("one answered in the future: the clock was set back", host(FIRST, replace(CONSOLE, at=NOW + DAY)), owing(HTTP)),
    ("a signal in the future: the clock was set back", host(*BOTH, attempts=(sent(-DAY),)), DONE),
    ("a second process, not probed", host(*BOTH, processes=(ONE, TWO)), owing(OTHER)),
    ("both processes", host(*BOTH, SECOND_ONE, processes=(ONE, TWO)), DONE),
    ("an answer of a process that is gone", host(*BOTH, SECOND_ONE, processes=(TWO,)), DONE),
    ("the address of a process that is gone", host(FIRST, processes=(replace(ONE, start=1),)), owing(SQL, HTTP)),
    (
        "a second process that starts",
        host(*BOTH, processes=(ONE, replace(TWO, state="starting", listeners=()))),
        owing("pid 101"),
    ),
    (
        "a second process that nobody may look into",
        host(*BOTH, processes=(ONE, replace(TWO, state="forbidden"))),
        owing("pid 101"),
    ),
    (
        "another user's, that nobody may look into: it may only say that it is ours",
        host(*BOTH, processes=(ONE, replace(TWO, state="forbidden", uid=1234))),
        DONE,
    ),
    (
        "nothing but another user's",
        host(processes=(replace(TWO, state="forbidden", uid=1234),)),
        owing("pid 101"),
    ),
    ("a process without an address", host(processes=(replace(ONE, listeners=()),)), owing("pid 100")),
    (
        "one that started after the change, not asked",
        host(processes=(replace(ONE, started=NOW - SECOND),)),
        owing(SQL, HTTP),
    ),
    ("one that started after the change", host(*BOTH, processes=(replace(ONE, started=NOW - 2 * SECOND),)), DONE),
    ("no process", host(processes=()), Proof(kind="none-needed")),
    (
        "no process, by a look before the swap",
        host(processes=(), processes_at=NOW - SECOND, attempts=(Attempt("install", "node", NOW, "ok"),)),
        owing(),
    ),
    ("no process was looked for", host(processes=(), processes_at=None), owing()),
]


@pytest.mark.parametrize(("label", "found", "expected"), ROWS, ids=[r[0] for r in ROWS])
def test_node_is_served_when_every_address_returned_it(label: str, found: Snapshot, expected: Proof) -> None:
    """`node` is served when every address of every owning process returned it since the files changed."""
    assert expected == of(found), label


def test_unreadable_certificate_is_not_served() -> None:
    """Whatever the ports answer: the disk has no certificate that they could serve."""
    empty = CertFile(file("node.crt"), "", None, problem="empty", problem_kind="empty")
    found = replace(host(*BOTH), pairs=(pair("ca"), Pair(pair().name, empty)))
    assert owing() == of(found)


def test_ui_is_verified_by_http_port_alone() -> None:
    """If the DB Console has a pair of its own, the SQL port verifies `node` and the HTTP port verifies `ui`."""
    with_ui = replace(host(FIRST, replace(CONSOLE, fingerprint="ui-1")), pairs=(pair("ca"), pair(), pair("ui")))
    assert (DONE, DONE) == (of(with_ui), of(with_ui, "ui"))
    stale = replace(with_ui, served=BOTH)
    assert (DONE, owing(HTTP)) == (of(stale), of(stale, "ui"))
    assert (owing(SQL), owing(HTTP)) == (of(replace(stale, served=())), of(replace(stale, served=()), "ui"))


def test_port_of_unknown_kind_counts_for_node_and_ui() -> None:
    """Until it has answered it may serve either pair."""
    ports = (Listener("127.0.0.1", 26257), Listener("127.0.0.1", 8080))
    found = replace(host(FIRST, processes=(replace(ONE, listeners=ports),)), pairs=(pair("ca"), pair(), pair("ui")))
    assert (owing(HTTP), owing(HTTP)) == (of(found), of(found, "ui"))
    told = replace(found, served=(FIRST, replace(CONSOLE, fingerprint="ui-1")))
    assert (DONE, DONE) == (of(told), of(told, "ui"))


TAKEN = replace(FIRST, client="client.root", client_fingerprint="client.root-1")
ELSEWHERE = replace(SECOND_ONE, client="client.root", client_fingerprint="client.root-1")
ACCEPTED = Proof(kind="accepted")
CLIENTS: list[tuple[str, Snapshot, Proof]] = [
    ("accepted", host(*BOTH, TAKEN), ACCEPTED),
    ("refused", host(*BOTH, replace(TAKEN, outcome="refused")), owing(SQL)),
    ("unreachable", host(*BOTH, replace(TAKEN, outcome="unreachable")), owing(SQL)),
    ("never offered", host(*BOTH), owing(SQL)),
    ("another was offered", host(*BOTH, replace(TAKEN, client_fingerprint="client.root-0")), owing(SQL)),
    ("offered before the signal", host(*BOTH, TAKEN, attempts=(sent(SECOND / 2),)), owing(SQL)),
    ("by one of two processes", host(*BOTH, SECOND_ONE, TAKEN, processes=(ONE, TWO)), owing(OTHER)),
    ("by both", host(*BOTH, SECOND_ONE, TAKEN, ELSEWHERE, processes=(ONE, TWO)), ACCEPTED),
    ("TLS took it, and nobody knows of the log-in", host(*BOTH, replace(TAKEN, only_tls=True)), Proof(kind="tls")),
    (
        "by one of two TLS alone took it",
        host(*BOTH, SECOND_ONE, TAKEN, replace(ELSEWHERE, only_tls=True), processes=(ONE, TWO)),
        Proof(kind="tls"),
    ),
    (
        "the log-in is refused",
        host(*BOTH, replace(TAKEN, outcome="refused", sqlstate="28000")),
        owing(SQL),
    ),
    ("whatever the node's pair is", host(OLD, TAKEN), ACCEPTED),
    ("no SQL port", host(CONSOLE, processes=(replace(ONE, listeners=PORTS[1:]),)), owing("pid 100")),
    ("no process", host(processes=()), Proof(kind="none-needed")),
]


@pytest.mark.parametrize(("label", "found", "expected"), CLIENTS, ids=[r[0] for r in CLIENTS])
def test_client_pair_is_verified_when_every_sql_port_accepts_it(label: str, found: Snapshot, expected: Proof) -> None:
    """A client pair is accepted when the SQL port of every process accepted it since the server's files changed."""
    assert expected == of(replace(found, pairs=(*found.pairs, pair("client.root"))), "client.root"), label


def held(*answers: Served, **changes: Any) -> Snapshot:
    """The same with `client.node`, of a process that was told of all of it."""
    base = host(*answers, **changes)
    found = replace(base, pairs=(*base.pairs, pair("client.node")))
    assumed = tuple(sent(DAY, "presumed", material(found), p) for p in found.processes)
    return found if "attempts" in changes else replace(found, attempts=assumed)


UNTIL = int(leaf("client.node").not_after.timestamp())
NAMED = replace(FIRST, client_cas=("subject-ca",))
METRIC = replace(CONSOLE, node_client_expiry=UNTIL)
SENT, ADVERTISED = Proof(kind="sent"), Proof(kind="advertised")
LOADED: list[tuple[str, Snapshot, Proof, Proof]] = [
    ("shown by both ports", held(NAMED, METRIC), ADVERTISED, Proof(kind="metric")),
    ("shown by none", held(*BOTH), SENT, SENT),
    ("other client CAs", held(replace(FIRST, client_cas=("else",)), METRIC), owing(SQL), owing(SQL)),
    ("another expiry", held(NAMED, replace(CONSOLE, node_client_expiry=7)), owing(HTTP), owing(HTTP)),
    (
        "another server has its own client CAs",
        held(replace(FIRST, client_cas=("else",)), CONSOLE, processes=(replace(ONE, found_by="pid_file"),)),
        SENT,
        SENT,
    ),
    ("a port that cannot show it", held(NAMED, UNREACHABLE), ADVERTISED, SENT),
    ("a port that was not asked yet", held(NAMED), owing(HTTP), owing(HTTP)),
    ("the old certificate is still served", held(OLD, CONSOLE), owing(SQL), owing(SQL)),
    (
        "no signal for this material",
        held(*BOTH, attempts=(sent(DAY, "presumed", "other"),)),
        owing("pid 100"),
        owing("pid 100"),
    ),
    (
        "the signal is being sent",
        held(*BOTH, attempts=(sent(2 * SECOND, "asked", material(held())),)),
        owing("pid 100"),
        owing("pid 100"),
    ),
    (
        "the signal failed",
        held(*BOTH, attempts=(sent(DAY, "presumed", "other"), sent(2 * SECOND, "failed", material(held())))),
        owing("pid 100"),
        owing("pid 100"),
    ),
    ("the signal was sent", held(*BOTH, attempts=(sent(2 * SECOND, "unproven", material(held())),)), SENT, SENT),
    ("nothing came after its start", held(*BOTH, attempts=()), SENT, SENT),
    ("one of two processes shows it", held(NAMED, METRIC, SECOND_ONE, processes=(ONE, TWO)), SENT, SENT),
    ("one of two was not asked", held(NAMED, METRIC, processes=(ONE, TWO)), owing(OTHER), owing(OTHER)),
    (
        "a process that starts",
        held(NAMED, METRIC, processes=(ONE, replace(TWO, state="starting"))),
        owing("pid 101"),
        owing("pid 101"),
    ),
]


@pytest.mark.parametrize(("label", "found", "bundle", "metric"), LOADED, ids=[r[0] for r in LOADED])
def test_files_not_served_are_verified_by_cas_metric_or_reload(
    label: str, found: Snapshot, bundle: Proof, metric: Proof
) -> None:
    """Bundles by the CAs that the server names, `client.node` by its metric; if neither is available, by the reload."""
    assert (bundle, metric) == (of(found, "ca"), of(found, "client.node")), label


def test_status_names_unverified_addresses() -> None:
    """For each file and for each process."""
    found = host(FIRST, UNREACHABLE, processes=(ONE, TWO))
    told = certs_dir(policy(), found, decide(policy(), found, NOW), NOW)
    node = next(f for f in told["files"] if f["name"] == "node")
    assert ("pending", [HTTP, OTHER]) == (node["proof"], node["owed"])
    assert [[HTTP], [OTHER]] == [p["owed"] for p in told["processes"]]


def recorded(found: Snapshot) -> list[str]:
    kinds = (AssumeLoaded, RecordProof)
    return [type(a).__name__ for a in decide(policy(), found, NOW).actions if isinstance(a, kinds)]


def test_reload_is_verified_by_every_address() -> None:
    """One that does not answer keeps the reload unverified, by the same rule as the status."""
    told = (sent(2 * SECOND, "unproven", material(host())),)
    assert ["RecordProof"] == recorded(host(*BOTH, attempts=told))
    assert [] == recorded(host(FIRST, UNREACHABLE, attempts=told))
    assert [] == recorded(host(FIRST, attempts=told))


def test_reload_with_closed_port_is_assumed_loaded() -> None:
    """So that a later change is known to be new; it verifies nothing."""
    assert ["AssumeLoaded"] == recorded(host(FIRST, UNREACHABLE))


@pytest.mark.parametrize(
    ("outcome", "ago", "expected"),
    [
        ("unproven", SECOND, True),
        ("asked", SECOND, True),
        ("unproven", 11 * SECOND, False),
        ("ok", SECOND, False),
        ("failed", SECOND, False),
    ],
)
def test_run_once_waits_ten_seconds_for_verification(outcome: str, ago: timedelta, *, expected: bool) -> None:
    """`run --once` ends ten seconds after the last signal, verified or not; a process that is gone delays nothing."""
    found = host(attempts=(sent(ago, outcome),))
    assert expected == awaited(found, NOW)
    assert not awaited(replace(found, processes=()), NOW)


def probes(found: Snapshot) -> set[str]:
    rules = policy(want("ca"), want(), want("client.root"))
    return {f"{a.port}/{a.client}" for a in decide(rules, found, NOW).actions if isinstance(a, Probe)}


def test_unverified_address_is_probed_again_soon() -> None:
    """After half of the time since the change, thirty seconds at most; one that does not answer like any other."""
    late = replace(UNREACHABLE, at=NOW - 11 * SECOND)  # 9 s after the signal
    signal = (sent(20 * SECOND, "unproven", material(host())),)
    assert {"8080/"} == probes(host(FIRST, late, attempts=signal))
    assert set() == probes(host(FIRST, replace(late, at=NOW - 4 * SECOND), attempts=signal))
    quiet = replace(host(FIRST), pairs=(pair("ca"), pair()))
    assert set() == probes(replace(quiet, served=(FIRST, replace(UNREACHABLE, at=NOW - 29 * SECOND))))
    assert {"8080/"} == probes(replace(quiet, served=(FIRST, replace(UNREACHABLE, at=NOW - 31 * SECOND))))


def test_client_pair_is_offered_again_after_sighup() -> None:
    """What the server accepted before it was reloaded says nothing about what it accepts now."""
    found = replace(host(*BOTH, TAKEN), pairs=(*host().pairs, pair("client.root")))
    assert set() == probes(found)
    after = replace(found, attempts=(sent(SECOND / 2, "unproven", material(found)),))
    assert {"26257/", "8080/", "26257/client.root"} == probes(after)


def test_sighup_in_future_does_not_probe_forever() -> None:
    """The clock was set back since: current answers count, and the probe is not repeated immediately."""
    assert set() == probes(host(*BOTH, attempts=(sent(-DAY, "unproven", material(host())),)))


def test_process_uninspectable_of_other_user_delays_nothing() -> None:
    """A user who names our directory in the arguments of their own process keeps nothing pending."""
    stranger = process(pid=200, start=7000, uid=1234, state="forbidden", listeners=())
    found = host(*BOTH, processes=(ONE, stranger))
    assert of(found) == DONE
    rows = certs_dir(policy(), found, decide(policy(), found, NOW), NOW)["processes"]
    assert [] == next(r["owed"] for r in rows if r["pid"] == 200)


def test_process_starting_is_unverified_by_pid() -> None:
    """A process that does not listen yet has verified nothing: it is named by its pid."""
    young = process(pid=200, start=7000, state="starting", listeners=())
    found = host(*BOTH, processes=(ONE, young))
    rows = certs_dir(policy(), found, decide(policy(), found, NOW), NOW)["processes"]
    assert ["pid 200"] == next(r["owed"] for r in rows if r["pid"] == 200)


def test_installation_after_start_is_unverified_while_other_is_served() -> None:
    """A process that serves another certificate has loaded nothing that was installed since it started."""
    arrived = Attempt("install", "node", NOW - DAY, "ok", fingerprint="node-1")
    assert unloaded(host(FIRST, CONSOLE, attempts=(arrived,)), ONE, "") is None
    assert "node.crt was installed after" in (unloaded(host(OLD, CONSOLE, attempts=(arrived,)), ONE, "") or "")


def root(serial: int, **changes: Any) -> Leaf:
    return leaf("ca", serial, not_after=NOW + 3000 * DAY, **changes)


def bundle(*roots: Leaf) -> Pair:
    first, *rest = roots
    made = pair("ca", first)
    assert made.cert is not None
    return replace(made, cert=replace(made.cert, digest="+".join(r.fingerprint for r in roots), chain=tuple(rest)))


def rotating(before: Pair | None, now: Pair, *answers: Served, anchors: tuple[str, ...] = ()) -> Snapshot:
    """A bundle that was replaced a minute ago, was signalled for, and what the ports have said since."""
    client = replace(pair("client.root"), trust=Trust("ca", None, anchors))
    base = host(*answers, pairs=(changed(now, timedelta(minutes=1)), pair(), client))
    told = tuple(sent(30 * SECOND, "unproven", material(base), p) for p in base.processes)
    kept = (Loaded("before", (replace(before, key=None),)),) if before else ()
    return replace(base, attempts=told, loaded=kept)


OLD_ROOT, NEW_ROOT = root(1), root(2)  # of one subject, as `cockroach cert create-ca` makes them
NEXT = root(3, subject_digest="subject-other")
HOUSE = root(4, subject="CN=Cockroach CA,O=Cockroach")
ONE_NAME, TWO_NAMES = (
    replace(FIRST, client_cas=("subject-ca",)),
    replace(FIRST, client_cas=("subject-ca", "subject-other")),
)
LATE = replace(CONSOLE, rotations=(("ca", int((NOW - 20 * SECOND).timestamp())),))
EARLY = replace(CONSOLE, rotations=(("ca", int((NOW - DAY).timestamp())),))
HANDSHAKE = Proof(kind="handshake")
BUNDLES: list[tuple[str, Snapshot, Proof]] = [
    (
        "a root of another name is added",
        rotating(bundle(OLD_ROOT), bundle(NEXT, OLD_ROOT), TWO_NAMES, CONSOLE),
        ADVERTISED,
    ),
    (
        "a root of the same name is added: the names were the same before",
        rotating(bundle(OLD_ROOT), bundle(NEW_ROOT, OLD_ROOT), ONE_NAME, CONSOLE, TAKEN, anchors=(OLD_ROOT.spki,)),
        SENT,
    ),
    (
        "a pair of the new root is accepted",
        rotating(bundle(OLD_ROOT), bundle(NEW_ROOT, OLD_ROOT), ONE_NAME, CONSOLE, TAKEN, anchors=(NEW_ROOT.spki,)),
        HANDSHAKE,
    ),
    (
        "a pair that both roots verify",
        rotating(
            bundle(OLD_ROOT),
            bundle(NEW_ROOT, OLD_ROOT),
            ONE_NAME,
            CONSOLE,
            TAKEN,
            anchors=(NEW_ROOT.spki, OLD_ROOT.spki),
        ),
        SENT,
    ),
    (
        "a pair of the new root was offered before the signal",
        rotating(
            bundle(OLD_ROOT),
            bundle(NEW_ROOT, OLD_ROOT),
            ONE_NAME,
            CONSOLE,
            replace(TAKEN, at=NOW - 31 * SECOND),
            anchors=(NEW_ROOT.spki,),
        ),
        SENT,
    ),
    (
        "the old root of the same name is dropped",
        rotating(bundle(NEW_ROOT, OLD_ROOT), bundle(NEW_ROOT), ONE_NAME, CONSOLE, TAKEN, anchors=(NEW_ROOT.spki,)),
        SENT,
    ),
    (
        "cockroach's own CA, and nobody knows what was before",
        rotating(None, bundle(HOUSE), replace(FIRST, client_cas=(HOUSE.subject_digest,)), CONSOLE),
        SENT,
    ),
    (
        "cockroach's own CA, and a pair of it is accepted",
        rotating(None, bundle(HOUSE), ONE_NAME, CONSOLE, TAKEN, anchors=(HOUSE.spki,)),
        HANDSHAKE,
    ),
    (
        "two roots of one name, nobody knows what was before, and a pair of one of them is accepted",
        rotating(None, bundle(NEW_ROOT, OLD_ROOT), ONE_NAME, CONSOLE, TAKEN, anchors=(OLD_ROOT.spki,)),
        SENT,
    ),
    (
        "the server says that it has loaded the file since",
        rotating(bundle(OLD_ROOT), bundle(NEW_ROOT, OLD_ROOT), ONE_NAME, LATE),
        Proof(kind="metric"),
    ),
    (
        "the server says that it loaded the file last before it changed",
        rotating(bundle(OLD_ROOT), bundle(NEW_ROOT, OLD_ROOT), ONE_NAME, EARLY),
        SENT,
    ),
]


@pytest.mark.parametrize(("label", "found", "expected"), BUNDLES, ids=[r[0] for r in BUNDLES])
def test_bundle_is_verified_by_handshake_or_load_time(label: str, found: Snapshot, expected: Proof) -> None:
    """CA names verify nothing if old and new root share a subject: a handshake does, or the server's load time."""
    assert expected == of(found, "ca"), label


def test_rotation_time_outweighs_equal_expiry() -> None:
    """A renewal may end in the same second as the previous pair: the server's reload time tells them apart."""
    early = replace(METRIC, rotations=(("node_client", int((NOW - 20 * DAY).timestamp())),))
    late = replace(METRIC, rotations=(("node_client", int((NOW - SECOND).timestamp())),))
    assert (SENT, Proof(kind="metric")) == (of(held(NAMED, early), "client.node"), of(held(NAMED, late), "client.node"))


def test_login_refused_is_finding() -> None:
    """TLS succeeded and the server refused the user: the CAs are not the cause."""
    answer = replace(TAKEN, outcome="refused", sqlstate="28000", reason="SQLSTATE 28000: not authorized")
    found = replace(host(*BOTH, answer), pairs=(*host().pairs, pair("client.root")))
    made = decide(policy(want("ca"), want(), want("client.root")), found, NOW)
    assert [("login.refused", "critical", "client.root.crt")] == [(f.code, f.severity, f.file) for f in made.findings]


def test_process_with_unseen_ports_is_probed_every_two_seconds() -> None:
    """`probe` says where; no finding is about a port that is not open yet."""
    hidden = replace(ONE, state="starting", by_probe=True, started=NOW - SECOND)
    closed = tuple(replace(s, outcome="unreachable") for s in BOTH)
    made = decide(policy(), host(*closed, processes=(hidden,)), NOW)
    assert ["process.starting"] == [f.code for f in made.findings]
    late = tuple(replace(s, at=NOW - 2 * SECOND) for s in closed)
    assert {"26257/", "8080/"} == probes(host(*late, processes=(hidden,)))
