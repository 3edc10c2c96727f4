"""What a certs-dir's world remembers: what jobs brought home, and for how long. Values in, values out."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certagent.agent.jobs.work import JobFailed, ProcessScan
from certagent.agent.memory import RESTING, Cleared, LogLine, Memory, changes
from certagent.core.actions import Issue, Probe, RejectCommand
from certagent.core.decide import decide
from certagent.core.facts import Attempt, Listener, Look, Repair, Request, Served
from certagent.core.policy import OcspRule, ProcessRule
from certagent.revocation.checker import RevocationResult
from tests.core.building import NOW, leaf, pair, policy, process, revocation, served, snapshot, staged, want

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
OTHER = process(pid=200)


def after(*messages: Any, of: Any = None) -> Memory:
    """A memory that took these."""
    memory = Memory()
    for message in messages:
        memory.take(message, of or policy(), NOW)
    return memory


def test_memory_probe_result_replaces_older() -> None:
    """One fact for each process, address and client."""
    memory = after(served("old"), served("new"), served("new", client="client.root"))
    assert [served("new"), served("new", client="client.root")] == [*memory.served.values()]


GONE: list[tuple[str, Served, bool]] = [
    ("a listener that is there", served(), True),
    ("another process", served(process="1:1"), False),
    ("another address", served(address="127.0.0.1:1"), False),
    ("of a file that is wanted", served(client="node"), True),
    ("of a file that is not", served(client="client.root"), False),
]


@pytest.mark.parametrize(("fact", "kept"), [row[1:] for row in GONE], ids=[row[0] for row in GONE])
def test_memory_scan_drops_answers_of_ended_processes(fact: Served, *, kept: bool) -> None:
    """Answers of processes that are gone, or for pairs that are no longer wanted, are forgotten."""
    memory = after(fact, ProcessScan((process(),), NOW))
    assert ([fact] if kept else []) == [*memory.served.values()]
    assert ((process(),), NOW) == (memory.processes, memory.processes_at)


def test_memory_probe_setting_replaces_unseen_listeners() -> None:
    """`probe` replaces listeners that cannot be seen, and only those."""
    rule = policy(process=ProcessRule(probe=(("127.0.0.1", 9999, "sql"),)))
    fact = served(address="127.0.0.1:9999")
    for listeners, kept in (((), [fact]), ((Listener("127.0.0.1", 26257, "sql"),), [])):
        memory = after(fact, ProcessScan((process(listeners=listeners),), NOW), of=rule)
        assert kept == [*memory.served.values()]


def test_memory_process_appears_and_ends_once() -> None:
    """Each is logged once; a process that was there before is not an event."""
    appeared = LogLine(event="process.appeared", file="pid 200", reason="serving, user cockroach")
    gone = LogLine(event="process.gone", file="pid 200", reason="it ended, or it uses another directory now")
    assert (appeared,) == changes([process()], [process(), OTHER])
    assert (gone,) == changes([OTHER], [])
    assert {("process.appeared", "pid 100"), ("process.gone", "pid 100")} == {
        (said.event, said.file) for said in changes([process(start=1)], [process(start=2)])
    }
    assert () == changes([process()], [process(state="starting")])


def test_memory_knows_the_port_of_the_own_console() -> None:
    """Where an own process showed its metrics last: the other nodes have theirs at the same port."""
    shown = served(kind="http", address="[::1]:8080")
    scan = ProcessScan((process(listeners=(Listener("::1", 8080), Listener("127.0.0.1", 26257))),), NOW)
    assert after(shown, served(), scan).console() == 8080
    assert after(served(kind="http", address="[::1]:8080", outcome="refused"), scan).console() == 0
    assert after(served(), scan).console() == after().console() == 0
    strange = replace(scan, processes=(replace(scan.processes[0], strange=True),))
    assert after(shown, strange).console() == 0


def test_memory_looks_stay_while_their_pair_is_here() -> None:
    """The newest for each member and pair; of a pair that is gone nothing is known."""
    look = Look(address="db2:26257", at=NOW, stem="node", offered="node-1", outcome="accepted")
    memory = after(look, replace(look, outcome="refused"), replace(look, offered="gone"))
    memory.forget(snapshot(), NOW)
    assert memory.add(snapshot(), policy()).members.looks == (replace(look, outcome="refused"),)


def test_memory_broken_job_rests() -> None:
    """As if it still ran, until its pause is over, or the clock was set back before it began."""
    memory = after(JobFailed("probe", "x"))
    (job,) = memory.rests(NOW + RESTING / 2)
    assert ("probe", "x", NOW) == (job.kind, job.subject, job.since)
    assert () == memory.rests(NOW + RESTING)
    assert () == after(JobFailed("probe", "x")).rests(NOW - MINUTE)


def test_memory_revocation_lasts_as_long_as_the_leaf() -> None:
    """Live or staged; the answers about a removed leaf are dropped."""
    live, waiting, gone = revocation("node-1", "good"), revocation("node-2", "good"), revocation("x", "good")
    memory = after(RevocationResult((live, waiting)), RevocationResult((gone,)))
    memory.forget(snapshot(pair("ca"), pair(cert=leaf()), staged=(staged(),)), NOW)
    assert {"node-1": live, "node-2": waiting} == memory.revocations


@pytest.mark.parametrize(("mode", "shown"), [("off", 0), ("lax", 1), ("strict", 1)])
def test_memory_revocation_off_is_no_fact(mode: Any, shown: int) -> None:
    """Remembered answers are no longer facts."""
    found = after(RevocationResult((revocation("node-1", "revoked"),))).add(snapshot(), policy(ocsp=OcspRule(mode)))
    assert shown == len(found.revocations)


def test_memory_old_facts_are_forgotten() -> None:
    """Repairs after a day, and from far in the future, if the clock was set back; requests are decided about."""
    ages = [timedelta(0), 24 * HOUR - MINUTE, 24 * HOUR, -24 * HOUR]
    memory = after(*(Request("renew", str(age), NOW - age) for age in ages))
    memory.repairs = [Repair(str(age), NOW - age, True) for age in ages]
    memory.forget(snapshot(), NOW)
    assert [str(age) for age in ages[:2]] == [r.file for r in memory.repairs]
    assert [str(age) for age in ages] == [r.subject for r in memory.requests]


def test_repairs_are_logged_once_a_minute() -> None:
    """The first repair of a key has a line immediately, then one a minute with a count. Failures have their own."""
    memory = after()
    told = [memory.repaired(Repair("node.key", NOW + n * timedelta(seconds=10), True)) for n in range(8)]
    assert ["", None, None, None, None, None, "; 6 times since the last line", None] == told
    assert "" == memory.repaired(Repair("node.key", NOW, False, "no"))
    assert "" == memory.repaired(Repair("ui.key", NOW, True))
    assert "; 2 times since the last line" == memory.repaired(Repair("node.key", NOW - HOUR, True)), (
        "the clock was set back"
    )


def test_exposed_key_cleared_starts_counting_anew() -> None:
    """The operator says that nobody can have read it: five more undone repairs are needed."""
    memory = after()
    memory.repairs = [Repair("node.key", NOW, True), Repair("ui.key", NOW, True)]
    memory.take(Cleared("node.key"), policy(), NOW)
    assert ["ui.key"] == [r.file for r in memory.repairs]


REFUSED: list[tuple[str, Any, Any, bool]] = [
    ("looked since, nobody there", "reload", ProcessScan((), NOW + MINUTE), False),
    ("looked before", "reload", ProcessScan((), NOW - MINUTE), True),
    ("looked since, somebody there", "reload", ProcessScan((process(),), NOW + MINUTE), True),
    ("another command", "renew", ProcessScan((), NOW + MINUTE), True),
]


@pytest.mark.parametrize(("kind", "seen", "kept"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_memory_reload_rejected_without_process(kind: Any, seen: ProcessScan, *, kept: bool) -> None:
    """It was rejected: a process that starts within the hour is not signalled for it."""
    memory = after(Request(kind, "", NOW), seen)
    memory.forget(snapshot(), NOW + MINUTE)
    assert kept == bool(memory.requests)


def test_memory_request_is_never_in_the_future() -> None:
    """If the clock was set back since it came, it came now."""
    memory = after(Request("renew", "node", NOW + HOUR))
    memory.forget(snapshot(), NOW)
    assert [NOW] == [r.at for r in memory.requests]


def test_memory_request_is_ended_by_its_attempt() -> None:
    """The attempt that it caused ends it."""
    memory = after(Request("renew", "node", NOW))
    memory.forget(snapshot(attempts=(Attempt("install", "node", NOW + MINUTE, "ok"),)), NOW + MINUTE)
    assert [] == memory.requests


def test_memory_snapshot_has_remembered_facts() -> None:
    """Every remembered fact is in it, and those of the disk stay."""
    memory = after(
        ProcessScan((process(),), NOW), served(), Request("reload", "", NOW), of=policy(want("ca"), want("node"))
    )
    memory.repairs = [Repair("node.key", NOW, True)]
    found, disk = memory.add(snapshot(processes_at=None), policy()), snapshot()
    assert (disk.pairs, disk.directory) == (found.pairs, found.directory)
    assert ((process(),), NOW, (served(),)) == (found.processes, found.processes_at, found.served)
    assert ((Repair("node.key", NOW, True),), (Request("reload", "", NOW),)) == (found.repairs, found.requests)


def test_memory_clock_set_ages_no_command() -> None:
    """A `renew` that came while the clock was unsound is not an hour old once it is sound."""
    rules, boot = policy(want("ca"), want()), NOW - 400 * 24 * HOUR
    memory = Memory()
    memory.take(Request("renew", "node", boot), rules, boot)
    memory.shift(NOW - boot)
    assert [r.at for r in memory.requests] == [NOW]
    made = decide(rules, replace(snapshot(), requests=tuple(memory.requests)), NOW)
    assert [Issue] == [type(a) for a in made.actions if isinstance(a, Issue | RejectCommand)]


def test_memory_process_with_unseen_ports_serves_after_first_answer() -> None:
    """`probe` says where to ask: until then it is starting; a later silence does not change that."""
    memory = Memory()
    starting = process(state="starting", by_probe=True)
    memory.take(ProcessScan((starting,), NOW), policy(), NOW)
    states = []
    for outcome in ("unreachable", "refused", "unreachable"):
        memory.take(served(outcome=outcome), policy(), NOW)
        states += [p.state for p in memory.add(snapshot(), policy()).processes]
    assert states == ["starting", "serving", "serving"]
    plan = decide(policy(), snapshot(processes=(starting,)), NOW)
    assert [a.port for a in plan.actions if isinstance(a, Probe)] == [26257]


SCANNED = ProcessScan((process(),), NOW)
SCANS: list[tuple[str, ProcessScan, ProcessScan | None, bool]] = [
    ("the first one", SCANNED, None, False),
    ("the same, later", replace(SCANNED, at=NOW + MINUTE), SCANNED, True),
    ("none, and none before", ProcessScan((), NOW), ProcessScan((), NOW), True),
    ("another process", ProcessScan((OTHER,), NOW), SCANNED, False),
    ("the same, and a command waits", replace(SCANNED, urgent=True), SCANNED, False),
    ("one that starts", ProcessScan((process(state="starting"),), NOW), ProcessScan((process(state="starting"),), NOW),
     False),
]  # fmt: skip


@pytest.mark.parametrize(("scan", "before", "same"), [row[1:] for row in SCANS], ids=[row[0] for row in SCANS])
def test_scan_that_repeats_another_wakes_nobody(scan: ProcessScan, before: ProcessScan | None, same: bool) -> None:
    """Only one that is final, that found the same as the one before and that nobody waits for."""
    assert scan.repeats(before) is same
