"""What is said where a process cannot be asked or signalled, and where there is none: each cause has its own name."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certagent.core.decide import decide
from certagent.core.decide.unserved import LISTENS
from certagent.core.facts import Attempt, Listener, ObserveOnly, PassedOver, Served, Snapshot, Why
from certagent.core.findings import Finding
from certagent.core.policy import Owner, ProcessRule
from tests.core.building import DAY, NOW, OWNER, file, generation, policy, process, served, snapshot

MINUTE = timedelta(minutes=1)
HUNG = "pid 100"


def said(found: Snapshot, area: str = "process", **changes: Any) -> list[tuple[str, str]]:
    """Code and severity of the findings of one area."""
    findings = decide(policy(**changes), found, NOW).findings
    return [(f.code, f.severity) for f in findings if f.rule.area == area]


def none(*passed: PassedOver) -> Snapshot:
    return snapshot(passed_over=passed)


NOBODY = [
    ("cockroach does not run", (), [("process.none", "info")]),
    ("--insecure", (PassedOver("insecure", "pid 7 ...", 7),), [("process.insecure", "warning")]),
    ("another user's, and nobody sees its directory", (PassedOver("other-user", "pid 7 ...", 7),), [
        ("process.other-user", "info")
    ]),
    ("a pid_file that does not exist", (PassedOver("pid-file", "/run/x does not exist"),), [
        ("process.pid-file", "warning")
    ]),
    ("one that cockroach left when it stopped", (PassedOver("pid-file-old", "/run/x names 7", 7),), [
        ("process.pid-file", "info")
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("label", "passed", "expected"), NOBODY, ids=[r[0] for r in NOBODY])
def test_process_none_names_the_reason(
    label: str, passed: tuple[PassedOver, ...], expected: list[tuple[str, str]]
) -> None:
    """`process.none` hid all of these, and its remedy (start cockroach) helped with none of them."""
    del label
    assert said(none(*passed)) == expected


def starting(age: timedelta, **changes: Any) -> Snapshot:
    return snapshot(processes=(process(state="starting", listeners=(), started=NOW - age, **changes),))


def test_process_starting_over_five_minutes_is_warning() -> None:
    """After five minutes its listeners must be invisible: a warning, whose remedy is `probe`."""
    for age, severity in ((MINUTE, "info"), (4 * MINUTE, "info"), (6 * MINUTE, "warning"), (9 * DAY, "warning")):
        found = starting(age)
        assert said(found) == [("process.starting", severity)]
        remedies = {f.remedy for f in decide(policy(), found, NOW).findings if f.code == "process.starting"}
        assert any("probe" in remedy for remedy in remedies) == (severity == "warning")


def test_process_starting_without_an_answer_of_probe_names_it() -> None:
    """`probe` is set, and wrong: the remedy is another one."""
    found = starting(6 * MINUTE, by_probe=True)
    found = replace(found, processes=(replace(found.processes[0], listeners=(Listener("127.0.0.1", 9),)),))
    [finding] = [f for f in decide(policy(), found, NOW).findings if f.code == "process.starting"]
    assert "no address of `probe` has answered (127.0.0.1:9): no SIGHUP" in finding.message
    assert finding.remedy.startswith("correct `probe`")


@pytest.mark.parametrize("age", [LISTENS, 6 * MINUTE])
def test_process_whose_probe_does_not_answer_is_a_wrong_probe(age: timedelta) -> None:
    """A process of `pid_file` whose ports nobody sees: after half a minute the address is named, with the reason."""
    found = starting(age, by_probe=True)
    ports = (Listener("127.0.0.1", 9), Listener("127.0.0.1", 10))
    found = replace(found, processes=(replace(found.processes[0], listeners=ports),))
    dead = tuple(
        served(
            address=p.address, outcome="unreachable", reason="Connection refused", process=found.processes[0].identity
        )
        for p in ports
    )
    [finding] = said_of(replace(found, served=dead))
    assert (finding.code, finding.severity) == ("process.probe", "warning")
    assert "127.0.0.1:9, which does not answer (Connection refused), 127.0.0.1:10" in finding.message
    assert finding.remedy.startswith("correct `probe`")
    for others in ((), dead[:1], (dead[0], replace(dead[1], outcome="served"))):
        assert {f.code for f in said_of(replace(found, served=others))} == {"process.starting"}


def test_process_that_just_started_is_not_a_wrong_probe() -> None:
    """It listens within seconds."""
    found = starting(LISTENS / 2, by_probe=True)
    found = replace(found, processes=(replace(found.processes[0], listeners=PROBED),))
    dead = served(address=found.processes[0].listeners[0].address, outcome="unreachable")
    assert {f.code for f in said_of(replace(found, served=(dead,)))} == {"process.starting"}


def test_probe_without_a_process_is_said() -> None:
    """Nothing asks it then."""
    rules = policy(process=ProcessRule(probe=(("127.0.0.1", 9, "auto"),)))
    [finding] = [f for f in decide(rules, snapshot(), NOW).findings if f.code == "process.none"]
    assert finding.message.endswith("`probe` (127.0.0.1:9) is asked only once a process is found")


def said_of(found: Snapshot) -> list[Finding]:
    return [f for f in decide(policy(), found, NOW).findings if f.code.startswith("process.")]


def misnamed(*answers: Served, **changes: Any) -> Snapshot:
    seen = (Listener("127.0.0.1", 26257), Listener("127.0.0.1", 8080))
    return snapshot(processes=(process(**{"listeners": PROBED, "seen": seen, **changes}),), served=answers)


PROBED = (Listener("127.0.0.1", 9, "sql"),)
THERE = "127.0.0.1:9"


def test_probe_beside_a_process_that_listens_elsewhere_is_said() -> None:
    """Before anything is asked, as without an agent: both are named, and `served.unreachable` is not said as well."""
    asked = (served(address=THERE, outcome="unreachable", reason="Connection refused"), served("x", address=THERE))
    for answers in ((), asked[:1], asked[1:]):
        found = misnamed(*answers)
        [finding] = [f for f in decide(policy(), found, NOW).findings if f.code == "process.probe"]
        assert (finding.file, finding.severity) == ("pid 100", "warning")
        assert finding.message == "`probe` names 127.0.0.1:9, but pid 100 listens on 127.0.0.1:26257, 127.0.0.1:8080"
        assert "served.unreachable" not in {code for code, _ in said(found, "served")}


def test_probe_that_is_right_is_not_said() -> None:
    """A port that the process has, one that is forwarded to it, and a process whose ports nobody sees."""
    ours = (Listener("db1.example.com", 26257),)
    for found in (misnamed(listeners=ours), misnamed(served(address=THERE)), misnamed(seen=())):
        assert "process.probe" not in {f.code for f in decide(policy(), found, NOW).findings}
    closed = misnamed(served(address="db1.example.com:26257", outcome="unreachable"), listeners=ours)
    assert said(closed, "served") == [("served.unreachable", "warning")]


ROOT = Owner("root", 0, 0)


def test_process_of_root_with_unprivileged_agent() -> None:
    """It runs as root, the agent as cockroach: neither `pid_file` nor `probe` helps, and no finding names them."""
    root = process(state="forbidden", uid=0, user="root", problem="set `pid_file` and `probe`")
    found = snapshot(processes=(root,))
    assert said(found) == [("process.other-user", "warning")]
    [finding] = [f for f in decide(policy(), found, NOW).findings if f.code == "process.other-user"]
    assert "root" in finding.message
    assert "probe" not in finding.remedy
    own = snapshot(processes=(replace(root, uid=OWNER.uid, user=OWNER.user),))
    assert said(own) == [("process.forbidden", "warning")]
    assert said(found, owner=ROOT) == [("process.forbidden", "warning")]


def installed(ago: timedelta) -> Attempt:
    return Attempt("install", "node", NOW - ago, "ok", fingerprint="node-1")


OLD = generation(not_before=NOW - 30 * DAY, not_after=NOW + 10 * DAY)
ENDING = generation(not_before=NOW - 30 * DAY, not_after=NOW + DAY)
UNSEEN = [
    ("it was replaced since the start, and lasts", OLD, {"state": "starting"}, [("served.stale", "warning")]),
    ("it ends: critical before it does", ENDING, {"state": "starting"}, [("served.stale", "critical")]),
    ("a process that may not be asked", ENDING, {"state": "forbidden"}, [("served.stale", "critical")]),
    ("it began after the replacement", ENDING, {"state": "starting", "started": NOW - DAY}, []),
    ("it is in its start", ENDING, {"state": "starting", "started": NOW - MINUTE}, []),
    ("it ignores SIGHUP: that is its finding", ENDING, {"state": "ignoring"}, []),
    ("nothing earlier is kept", None, {"state": "starting"}, []),
]


@pytest.mark.parametrize(("label", "kept", "changes", "expected"), UNSEEN, ids=[r[0] for r in UNSEEN])
def test_process_unseen_certificate_expiry_is_finding(
    label: str, kept: Any, changes: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    """It was info, exit 0, until the certificate that it had loaded at its start expired."""
    del label
    one = process(**{"listeners": (), "started": NOW - 9 * DAY, **changes})
    found = snapshot(processes=(one,), attempts=(installed(2 * DAY),), generations=(kept,) if kept else ())
    assert said(found, "served") == expected


def owned(**changes: Any) -> Snapshot:
    found = snapshot()
    return replace(found, directory=replace(found.directory, **changes))


def test_directory_too_large_is_one_finding() -> None:
    """It says what is not examined, and what to do."""
    found = owned(too_large="9 more files are not examined")
    assert said(found, "dir") == [("dir.too-large", "warning")]
    told = {(f.file, f.message) for f in decide(policy(), found, NOW).findings if f.code == "dir.too-large"}
    assert told == {("/certs", "9 more files are not examined")}


def test_directory_of_other_owner_prints_chown() -> None:
    """`owner` differs from the directory's: a finding of its own, with the exact chown."""
    found = owned(uid=0)
    assert said(found, "dir") == [("dir.owner", "warning")]
    assert "chown cockroach /certs, or correct `owner`" in {f.remedy for f in decide(policy(), found, NOW).findings}
    assert said(owned(uid=1234), "dir") == [("dir.owner", "warning")]
    assert said(owned(), "dir") == []
    elsewhere = ObserveOnly(Why.KUBERNETES, "links through ..data")
    assert said(owned(uid=0, observe_only=elsewhere), "dir") == [("dir.foreign", "warning")]
    assert said(owned(uid=0, problem="Permission denied"), "dir") == [("dir.missing", "critical")]


def test_directory_unusable_remedy_is_exact() -> None:
    """EACCES and EROFS: which user is denied what at which component, and the command; else the general remedy."""
    only = ObserveOnly(Why.FORBIDDEN, "cannot use /certs/.certagent: Permission denied", "cockroach may not", "chown x")
    for directory, word in (
        ({"observe_only": only}, "cockroach may not"),
        ({"problem": "x", "advice": "chown x"}, "x"),
    ):
        [finding] = [f for f in decide(policy(), owned(**directory), NOW).findings if f.rule.area == "dir"]
        assert (finding.remedy, word in finding.message) == ("chown x", True)


@pytest.mark.parametrize(("name", "instead"), [
    ("tls.crt", "node.crt"), ("tls.key", "node.key"), ("server.crt", "node.crt"), ("root.crt", "ca.crt"),
])  # fmt: skip
def test_file_names_of_other_tools_name_cockroachs(name: str, instead: str) -> None:
    """cert-manager's tls.crt is one of the ten most common mistakes: the remedy has cockroach's name."""
    found = replace(snapshot(), unmanaged_files=(file(name),))
    assert {f.remedy for f in decide(policy(), found, NOW).findings if f.file == name} == {f"rename it to {instead}"}
