"""Processes: when a signal goes, when it must not, what proves it, and when a pair goes back."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from certagent.core.actions import AssumeLoaded, Plan, Probe, RecordProof, RejectCommand, Reload, Rollback, Scan
from certagent.core.decide import decide
from certagent.core.facts import Attempt, Generation, InFlight, Pair, Process, Request, Snapshot, Trust
from certagent.core.policy import OcspRule, Policy, ProcessRule
from certagent.core.serving import material
from certagent.core.status import certs_dir
from tests.core.building import (
    DAY,
    NOW,
    file,
    generation,
    leaf,
    pair,
    policy,
    process,
    revocation,
    served,
    snapshot,
    want,
)

SECOND = timedelta(seconds=1)
WHO = "100:5000"


def running(*pairs: Pair, **changes: object) -> Snapshot:
    """A healthy directory with one process, which serves what is on disk and was told so."""
    found = snapshot(*pairs, processes=(process(),), served=(served(),))
    told = Attempt("reload", WHO, NOW - DAY, "presumed", material=material(found))
    return replace(found, attempts=(told,), **changes)  # type: ignore[arg-type]


def plan(found: Snapshot, rules: Policy | None = None) -> Plan:
    return decide(rules or policy(), found, NOW)


def sent(found: Snapshot, count: int, age: timedelta, outcome: str = "unproven") -> Snapshot:
    """The same after some signals, the last of them that long ago."""
    tries = [
        Attempt("reload", WHO, NOW - age - n * SECOND, outcome, material=material(found))  # type: ignore[arg-type]
        for n in reversed(range(count))
    ]
    return replace(found, attempts=(*found.attempts, *tries))


OLD = (served("node-0"),)  # what the process served before
STALE = running(served=OLD)


def reloads(made: Plan) -> list[Reload]:
    return [a for a in made.actions if isinstance(a, Reload)]


def test_reload_healthy_process_gets_no_sighup() -> None:
    """It serves the files on disk: nothing to do, no finding."""
    made = plan(running())
    assert (made.actions, made.findings) == ((), ())


def test_reload_when_another_fingerprint_is_served() -> None:
    """A process that serves a certificate other than the file gets the SIGHUP, from its owner."""
    found = reloads(plan(STALE))
    assert [(100, 5000, 999, 999)] == [(a.pid, a.start, a.uid, a.gid) for a in found]
    assert "serves node-0" in found[0].reason


def test_reload_when_bundle_changed() -> None:
    """A change that no probe shows counts as well: the bundle changed since the process loaded."""
    other = pair("ca", leaf("ca", 2, not_after=NOW + 3000 * DAY))
    found = replace(running(), pairs=(other, pair()))
    assert ["changed since" in a.reason for a in reloads(plan(found))] == [True]


def test_reload_when_installed_after_start() -> None:
    """A pair was installed after the process started, and no reload is recorded."""
    arrived = Attempt("install", "node", NOW - DAY, "ok")
    assert len(reloads(plan(replace(running(), attempts=(arrived,))))) == 1


def test_reload_not_needed_by_process_started_after_swap() -> None:
    """A process that started after the swap loaded it."""
    arrived = Attempt("install", "node", NOW - 3 * DAY, "ok")
    made = plan(replace(running(), attempts=(arrived,)))
    assert [AssumeLoaded] == [type(a) for a in made.actions]


def test_reload_slow_start_has_loaded_what_it_serves() -> None:
    """It began before the swap and serves the new pair: it loaded the directory after; only later changes are owed."""
    arrived = Attempt("install", "node", NOW - DAY, "ok", fingerprint="node-1")
    bundle = Attempt("install", "ca", NOW - DAY - SECOND, "ok")
    assert [AssumeLoaded] == [type(a) for a in plan(replace(running(), attempts=(bundle, arrived))).actions]
    later = replace(bundle, at=NOW - DAY + SECOND)
    assert len(reloads(plan(replace(running(), attempts=(arrived, later))))) == 1


def touched(stem: str, **ages: timedelta) -> Pair:
    """A pair whose certificate has these dates: `ctime`, `mtime`, each as an age."""
    made = pair(stem)
    dates = {f"{what}_ns": int((NOW - age).timestamp() * 1e9) for what, age in ages.items()}
    assert made.cert is not None
    return replace(made, cert=replace(made.cert, file=file(f"{stem}.crt", 0o644, **dates)))


NODE_AND_CA = (pair(), pair("ca"))
CHANGED: list[tuple[str, tuple[Pair, ...], int]] = [
    ("nothing", NODE_AND_CA, 0),
    ("the bundle", (pair(), touched("ca", ctime=DAY)), 1),
    ("the bundle, by a copy that keeps its date", (pair(), touched("ca", ctime=DAY, mtime=900 * DAY)), 1),
    ("a bundle of client CAs that came", (*NODE_AND_CA, touched("ca-client", ctime=DAY, mtime=DAY)), 1),
    ("client.node, which came", (*NODE_AND_CA, touched("client.node", ctime=DAY)), 1),
    ("a client's pair, which no server loads", (*NODE_AND_CA, touched("client.root", ctime=DAY)), 0),
    ("what is served, and the bundle before it", (touched("node", ctime=DAY, mtime=DAY), touched("ca", ctime=DAY)), 0),
    (
        "what is served, and the bundle after it",
        (touched("node", ctime=DAY, mtime=DAY), touched("ca", ctime=DAY - SECOND)),
        1,
    ),
    (
        "the bundle; then the owner of all",
        (touched("node", ctime=DAY), touched("ca", ctime=DAY, mtime=DAY + SECOND)),
        1,
    ),
]


@pytest.mark.parametrize(("label", "pairs", "signals"), CHANGED, ids=[r[0] for r in CHANGED])
def test_reload_when_file_changed_before_process_was_known(label: str, pairs: tuple[Pair, ...], signals: int) -> None:
    """Another tool changed a file while a process ran that this agent never saw: it has not loaded that."""
    made = plan(replace(running(*pairs), attempts=()))
    assert (len(reloads(made)), AssumeLoaded in map(type, made.actions)) == (signals, not signals), label


def test_reload_not_needed_for_client_pair() -> None:
    """A new client pair is not loaded by the server: no signal."""
    found = running()
    changed = replace(found, pairs=(*found.pairs, pair("client.root")))
    assert reloads(plan(changed)) == []


STATES = [
    ("starting", "process.starting"),
    ("forbidden", "process.forbidden"),
    ("ignoring", "process.forbidden"),
]


@pytest.mark.parametrize(("state", "code"), STATES)
def test_reload_blocked_by_process_state(state: str, code: str) -> None:
    """A starting process would die of it, one that ignores or may not get it would not reload: a finding instead."""
    other: Process = process(state=state)
    made = plan(replace(STALE, processes=(other,)))
    assert (reloads(made), code in [f.code for f in made.findings]) == ([], True)


KEY = pair(cert=leaf(serial=9)).key
BARS = [
    ("a mismatch on disk", replace(STALE, pairs=(pair("ca"), replace(pair(), key=KEY))), policy()),
    ("a key that others may read", replace(STALE, pairs=(pair("ca"), pair(mode=0o644)), euid=1), policy()),
    ("no bundle", replace(STALE, pairs=(pair(),)), policy()),
    ("reload = false", STALE, policy(process=ProcessRule(reload=False))),
]


def test_reload_despite_full_ledger() -> None:
    """A ledger that cannot be written blocks new issuances, and nothing else."""
    assert len(reloads(plan(replace(STALE, ledger_problem="disk full")))) == 1


@pytest.mark.parametrize(("label", "found", "rules"), BARS, ids=[r[0] for r in BARS])
def test_reload_onto_broken_directory_is_blocked(label: str, found: Snapshot, rules: Policy) -> None:
    """cockroach would report success and then fail every new connection: the signal is blocked, with the reason."""
    made = plan(found, rules)
    assert reloads(made) == [], label
    assert [h for h in made.blocked if h.action == "reload"], label


def test_reload_blocked_by_mismatched_client_node() -> None:
    """`client.node` is the node's own: its mismatch blocks too."""
    broken = replace(pair("client.node"), key=KEY)
    assert reloads(plan(replace(STALE, pairs=(*STALE.pairs, broken)))) == []


def test_reload_sighup_repeated_after_backoff() -> None:
    """Sent is not reloaded: after ten seconds without verification the second SIGHUP is sent, not before."""
    assert reloads(plan(sent(STALE, 1, 5 * SECOND))) == []
    assert [1] == [a.tried for a in reloads(plan(sent(STALE, 1, 11 * SECOND)))]


def test_reload_sighup_ends_after_five() -> None:
    """Five signals for the same material, then an alarm; never a sixth."""
    made = plan(sent(STALE, 5, DAY))
    assert reloads(made) == []
    assert [("served.stale", "critical")] == [(f.code, f.severity) for f in made.findings]


def test_reload_in_progress_is_no_alarm() -> None:
    """Just signalled: info. Not verified in time: a warning."""
    assert ["info"] == [f.severity for f in plan(sent(STALE, 1, SECOND)).findings]
    assert ["warning"] == [f.severity for f in plan(sent(STALE, 1, 12 * SECOND)).findings]


def test_process_that_was_restarted_since_sighup_is_no_alarm() -> None:
    """Its successor loads what is on disk: until it was asked, what it serves is not known, and nothing is stale."""
    signalled = sent(STALE, 1, 20 * SECOND)
    for state in ("starting", "serving"):
        fresh = process(pid=200, start=9000, started=NOW - 5 * SECOND, state=state)
        found = replace(signalled, processes=(fresh,), served=())
        assert "served.stale" not in {f.code for f in plan(found).findings}


def test_process_that_ended_since_sighup_is_alarm() -> None:
    """Where nothing was started since: another node of the same directory, older than the signal, is no successor.

    It is looked for again soon, since it may be a restart.
    """
    signalled, other = sent(STALE, 1, 20 * SECOND), process(pid=200, start=9000, started=NOW - DAY)
    for left in ((), (other,)):
        made = plan(replace(signalled, processes=left, served=()))
        assert [("served.stale", "critical")] == [(f.code, f.severity) for f in made.findings if f.severity != "info"]
        assert made.wake_at is not None
        assert made.wake_at <= NOW + 2 * SECOND


def test_reload_sighup_excludes_probe() -> None:
    """The answer after the signal is the one that counts: no probe is sent with it, none while it is in flight."""
    old = tuple(replace(s, at=NOW - DAY) for s in OLD)
    assert ["Reload"] == [type(a).__name__ for a in plan(running(served=old)).actions]
    flying = running(served=old, in_flight=(InFlight("reload", "100:5000", NOW),))
    assert [] == [a for a in plan(flying).actions if type(a).__name__ == "Probe"]


def test_reload_one_sighup_at_a_time() -> None:
    """While the child signals, nothing else is sent to that process."""
    assert reloads(plan(replace(STALE, in_flight=(InFlight("reload", WHO, NOW),)))) == []


def test_reload_verified_by_fresh_answer_of_every_port() -> None:
    """A fresh answer of every port with the new fingerprint verifies the reload."""
    found = sent(running(served=(served(at=NOW),)), 1, 5 * SECOND)
    assert [RecordProof] == [type(a) for a in plan(found).actions]
    old = sent(running(served=(served(at=NOW - 6 * SECOND),)), 1, 5 * SECOND)
    assert RecordProof not in [type(a) for a in plan(old).actions]


def test_reload_on_request_signals_once() -> None:
    """An operator's reload is sent even if nothing differs, and once."""
    asked = Request("reload", "", NOW - 5 * SECOND)
    assert ["requested by an operator"] == [a.reason for a in reloads(plan(running(requests=(asked,))))]
    assert reloads(plan(sent(running(requests=(asked,)), 1, SECOND))) == []


def test_reload_on_request_is_ordered_by_ledger() -> None:
    """The clock was set back since: an older signal with a later time does not complete the command."""
    asked = Request("reload", "", NOW, row=7)
    old, new = (
        replace(
            running(requests=(asked,)), attempts=(Attempt("reload", "100:5000", at, "ok", material=digest, row=row),)
        )
        for at, digest, row in ((NOW + timedelta(hours=1), "", 6), (NOW - timedelta(hours=1), "", 8))
    )
    assert [len([a for a in reloads(plan(found)) if "operator" in a.reason]) for found in (old, new)] == [1, 0]


def test_reload_failed_signal_is_repeated() -> None:
    """A signal that could not be sent reloaded nothing: it is repeated."""
    other = replace(running(), pairs=(pair("ca", leaf("ca", 2, not_after=NOW + 3000 * DAY)), pair()))
    assert len(reloads(plan(sent(other, 1, 11 * SECOND, "failed")))) == 1


REFUSED = (served("", outcome="refused", reason="internal error", at=NOW - SECOND),)
CAME = Attempt("install", "node", NOW - DAY, "ok", fingerprint="node-1")  # the process is older: it served another one


def failing(**changes: object) -> Snapshot:
    """Every handshake fails since the signal for a pair that came after the process began."""
    found = running(**{"served": REFUSED, "generations": (generation(),), **changes})  # type: ignore[arg-type]
    return sent(replace(found, attempts=(CAME, *found.attempts)), 1, 5 * SECOND)


def test_rollback_when_handshakes_fail() -> None:
    """Handshakes fail since the signal: back to the last valid generation."""
    found = failing()
    made = [a for a in plan(found).actions if isinstance(a, Rollback)]
    assert [("node", 1, "node-1")] == [(a.stem, a.generation, a.bad) for a in made]


UNTRUSTED = replace(generation(), pair=replace(generation().pair, trust=Trust("ca", "unknown authority")))
SERVERS = replace(generation(), pair=pair(cert=leaf(serial=101, eku=("serverAuth",))))
SILENT = served("", outcome="unreachable", at=NOW - SECOND, address="127.0.0.1:26258")
NEWER = process(pid=101, started=NOW - SECOND)
TWIN = process(pid=101, start=6000)
NO_ROLLBACK = [
    ("still the old one is served", failing(served=OLD)),
    ("nothing answers", failing(served=(served("", outcome="unreachable"),))),
    ("no signal was sent", replace(failing(), attempts=(CAME, *running().attempts))),
    ("a moment after the signal", sent(replace(failing(), attempts=(CAME,)), 1, 2 * SECOND)),
    ("the generation has expired", failing(generations=(generation(not_after=NOW),))),
    ("no bundle of today verifies the generation", failing(generations=(UNTRUSTED,))),
    ("the generation is no client's, and there is no client.node", failing(generations=(SERVERS,))),
    ("there is none", failing(generations=())),
    ("its key is gone", failing(generations=(replace(generation(), pair=replace(generation().pair, key=None)),))),
    ("it is revoked", failing(generations=(generation(),), revocations=(revocation("node-101", "revoked"),))),
    (
        "the roots that verify it were not read yet",
        failing(
            generations=(replace(generation(), pair=replace(generation().pair, trust=Trust("system", unread=True))),)
        ),
    ),
    ("the pair is not configured", failing()),
    ("another address is only silent", failing(served=(*REFUSED, SILENT))),
    ("another process was not asked", failing(processes=(process(), TWIN))),
    (
        "another process serves the new pair",
        failing(processes=(process(), TWIN), served=(*REFUSED, served(process=TWIN.identity))),
    ),
    ("it began after the pair came, so it never served another", failing(processes=(replace(NEWER, pid=100),))),
]


def test_rollback_of_bundle_only_if_leaves_still_verify() -> None:
    """`certagent rollback ca` after the old root was dropped: an earlier bundle that no longer verifies our leaves."""
    asked = Request("rollback", "ca", NOW - SECOND)
    back = Generation(1, pair("ca", leaf("ca", 101, not_after=NOW + 3000 * DAY)), NOW - DAY)
    found = running(requests=(asked,), generations=(back,))
    assert [1] == [a.generation for a in plan(found).actions if isinstance(a, Rollback)]
    broken = running(requests=(asked,), generations=(replace(back, breaks=("node",)),))
    assert [("rollback", "ca")] == [(a.command, a.stem) for a in plan(broken).actions if isinstance(a, RejectCommand)]


def test_rollback_on_request_passes_pre_install_checks() -> None:
    """`certagent rollback node` after the old root was dropped: refused, with the reason, and rejected."""
    asked = Request("rollback", "node", NOW - SECOND)
    made = plan(running(requests=(asked,), generations=(UNTRUSTED,)))
    assert not [a for a in made.actions if isinstance(a, Rollback)]
    assert ["unknown authority" in a.reason for a in made.actions if isinstance(a, RejectCommand)] == [True]


@pytest.mark.parametrize(("label", "found"), NO_ROLLBACK, ids=[r[0] for r in NO_ROLLBACK])
def test_rollback_only_when_handshakes_fail(label: str, found: Snapshot) -> None:
    """Anything less than failing handshakes leaves the new pair on disk, for a restart to load."""
    rules = policy(want("ca")) if label == "the pair is not configured" else policy(ocsp=OcspRule(mode="lax"))
    assert not [a for a in plan(found, rules).actions if isinstance(a, Rollback)], label


def test_scan_and_probe_intervals() -> None:
    """Processes are scanned every thirty seconds, ports are probed every five minutes and after every change."""
    assert Scan in [type(a) for a in plan(replace(running(), processes_at=NOW - 31 * SECOND)).actions]
    assert Probe in [type(a) for a in plan(running(served=())).actions]
    aged = running(served=(served(at=NOW - timedelta(minutes=6)),))
    assert Probe in [type(a) for a in plan(aged).actions]
    assert Probe in [type(a) for a in plan(sent(running(), 1, SECOND)).actions]
    assert Probe not in [type(a) for a in plan(running()).actions]


LAST_SCAN = NOW - 5 * SECOND
SINCE_THEN = [
    ("nothing", (), (), "none-needed", False),
    ("an install", (Attempt("install", "node", NOW - SECOND, "ok"),), (), "pending", True),
    ("a rollback", (Attempt("rollback", "node", NOW - SECOND, "ok"),), (), "pending", True),
    ("an install before", (Attempt("install", "node", LAST_SCAN - SECOND, "ok"),), (), "none-needed", False),
    ("an install that failed", (Attempt("install", "node", NOW - SECOND, "failed"),), (), "none-needed", False),
    (
        "an install by a clock that was set back",
        (Attempt("install", "node", NOW + SECOND, "ok"),),
        (),
        "none-needed",
        False,
    ),
    ("a command", (), (Request("reload", "", NOW - SECOND),), "none-needed", True),
    ("a command before", (), (Request("reload", "", LAST_SCAN),), "none-needed", False),
]


@pytest.mark.parametrize(
    ("label", "attempts", "requests", "expected", "again"), SINCE_THEN, ids=[r[0] for r in SINCE_THEN]
)
def test_no_process_found_is_old_after_a_while(
    label: str, attempts: tuple[Attempt, ...], requests: tuple[Request, ...], expected: str, *, again: bool
) -> None:
    """A process may have started since the last scan, and serve the old files: first a scan."""
    found = replace(running(), processes=(), served=(), attempts=attempts, requests=requests, processes_at=LAST_SCAN)
    made = plan(found)
    assert again == (Scan in [type(a) for a in made.actions]), label
    node = next(f for f in certs_dir(policy(), found, made, NOW)["files"] if f["name"] == "node")
    assert expected == node["proof"]


@pytest.mark.parametrize(("looked", "signals"), [(LAST_SCAN, 0), (NOW, 1)])
def test_reload_on_request_scans_first(looked: datetime, signals: int) -> None:
    """A process that was there before the command may have ended since: first a scan, then the signal."""
    asked = replace(running(), requests=(Request("reload", "", NOW - SECOND),), processes_at=looked)
    assert signals == len(reloads(plan(asked)))


def test_probe_after_swap_needs_no_scan() -> None:
    """The probe of a known process tells more, and sooner."""
    found = replace(running(), attempts=(Attempt("install", "node", NOW - SECOND, "ok"),), processes_at=LAST_SCAN)
    assert Scan not in [type(a) for a in plan(found).actions]


def test_probe_answer_in_future_is_repeated() -> None:
    """The clock was set back by an hour: an answer from before is old, whatever its time says."""
    ahead = running(served=(served("node-1", at=NOW + timedelta(hours=1)),))
    assert "Probe" in [type(a).__name__ for a in plan(ahead).actions]


def test_process_starting_is_scanned_again_soon() -> None:
    """Two seconds later while it is young, thirty when it takes long."""
    young = replace(process(state="starting"), started=NOW - SECOND)
    for found, at in ((young, 2), (process(state="starting"), 30)):
        made = plan(replace(running(), processes=(found,), processes_at=NOW, served=()))
        assert made.wake_at == NOW + timedelta(seconds=at)


def test_client_pairs_are_offered_on_sql_port() -> None:
    """On the SQL port each wanted client pair is offered; `client.node` is not."""
    found = running(pair("ca"), pair(), pair("client.root"), pair("client.node"))
    rules = policy(*policy().wants, *(w for w in (policy().wants[1],)))
    from tests.core.building import want

    made = plan(found, policy(want("ca"), want("node"), want("client.root"), want("client.node")))
    assert {"client.root"} == {a.client for a in made.actions if isinstance(a, Probe) and a.client}
    assert rules.path == "/certs"
