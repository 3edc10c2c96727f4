"""The pools of jobs: what asks a CA never takes the place of a signal, a probe or a scan."""

import io
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from certagent.agent.jobs.pool import MEMBERS, WORKERS, Jobs
from certagent.agent.jobs.work import ProcessScan, Work
from certagent.certs_dir.swap import Store
from certagent.core.actions import Probe
from certagent.core.facts import InFlight, Served
from certagent.events import Log
from certagent.posix.clock import clock
from certagent.process import start_ticks
from certagent.revocation.checker import Revoking
from certagent.state.ledger import Ledger
from tests.core.building import policy
from tests.waiting import wait_until

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("kind", ["reload", "probe", "scan", "revocation"])
def test_jobs_of_hung_ca_block_nothing_else(kind: Any) -> None:
    """With more requests under way than there are workers, everything else starts immediately."""
    go, ended, started = threading.Event(), [], threading.Event()
    jobs = Jobs(lambda *told: ended.append(told))
    try:
        for number in range(2 * WORKERS):
            assert jobs.submit(InFlight("issue", str(number), NOW), lambda: go.wait(60))
        assert jobs.submit(InFlight(kind, "x", NOW), started.set)
        assert started.wait(60)
        wait_until(lambda: ended, "its end is told")
        assert ended[0][:2] == (kind, "x")
        assert len([j for j in jobs.in_flight() if j.kind == "issue"]) == 2 * WORKERS
    finally:
        go.set()
        jobs.stop()


def test_jobs_run_up_to_the_worker_limit() -> None:
    """Requests of different files run side by side, as many as there are workers and no more."""
    go, full = threading.Event(), threading.Barrier(WORKERS + 1)
    inside: list[int] = []

    def work(number: int) -> None:
        inside.append(number)
        if len(inside) <= WORKERS:
            full.wait(60)
        go.wait(60)

    jobs = Jobs(lambda *_: None)
    try:
        for number in range(2 * WORKERS):
            jobs.submit(InFlight("issue", str(number), NOW), partial(work, number))
        full.wait(60)  # so many wait for one another: they run at once
        assert sorted(inside) == list(range(WORKERS))
        go.set()
        wait_until(lambda: len(inside) == 2 * WORKERS, "the others follow")
    finally:
        go.set()
        jobs.stop()


def test_jobs_look_at_two_members_at_a_time() -> None:
    """A certs directory may have hundreds; a member that hangs takes no place of another kind of job."""
    go, full, asked = threading.Event(), threading.Barrier(MEMBERS + 1), threading.Event()
    inside: list[int] = []

    def work(number: int) -> None:
        inside.append(number)
        if len(inside) <= MEMBERS:
            full.wait(60)
        go.wait(60)

    jobs = Jobs(lambda *_: None)
    try:
        for number in range(5 * MEMBERS):
            jobs.submit(InFlight("look", str(number), NOW), partial(work, number))
        full.wait(60)
        assert jobs.submit(InFlight("probe", "x", NOW), asked.set)
        assert asked.wait(60)
        assert sorted(inside) == list(range(MEMBERS))
        go.set()
        wait_until(lambda: len(inside) == 5 * MEMBERS, "the others follow")
    finally:
        go.set()
        jobs.stop()


def test_job_has_a_thread_only_while_it_runs() -> None:
    """None before, its own meanwhile, none when it is done: what is idle costs nothing."""
    before = set(threading.enumerate())
    threads: list[threading.Thread] = []
    jobs = Jobs(lambda *_: None)
    assert set(threading.enumerate()) <= before
    for kind in ("scan", "issue", "reload"):
        jobs.submit(InFlight(kind, "x", NOW), lambda: threads.append(threading.current_thread()))  # type: ignore[arg-type]
    wait_until(lambda: len(threads) == 3 and not any(t.is_alive() for t in threads), "they are done")
    assert not jobs.busy
    jobs.stop()


def test_jobs_run_once_at_a_time() -> None:
    """The same work is not started twice; a failure is reported first, the end last."""
    go, told = threading.Event(), []
    jobs = Jobs(lambda *what: told.append(what))

    def work() -> None:
        go.wait(60)
        raise ValueError("no")

    try:
        assert jobs.submit(InFlight("issue", "node", NOW), work)
        assert not jobs.submit(InFlight("issue", "node", NOW), work)
        go.set()
        wait_until(lambda: len(told) == 2, "it ended")
        assert [(k, s, str(e)) for k, s, _, e in told] == [("issue", "node", "no"), ("issue", "node", "None")]
        assert jobs.in_flight() == ()
    finally:
        jobs.stop()


LONELY = """
import os, resource, sys
from datetime import UTC, datetime, timedelta
import apscheduler.executors.pool, concurrent.futures.thread
from certagent.core.facts import InFlight
from certagent.posix.background import BackgroundReader
from certagent.agent.wake import Wake
from certagent.agent.watch import Events, RemoteWatch, Watch
from certagent.agent.jobs.pool import MEMBERS, Jobs
now, jobs, wake, events = datetime.now(UTC), Jobs(print), Wake(30), Events(30)
os.setresuid(54321, 54321, 54321)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
for _ in range(2):
    assert not jobs.submit(InFlight("scan", "", now), print)
    assert jobs.in_flight() == ()
watch = Watch(events, print, [sys.argv[1]])
assert watch.renew() == []
assert [p.code for p in watch.problems()] == ["watch.degraded"]
RemoteWatch(events, print).change([], sys.argv[1] + "/x", print)
wake.at(now + timedelta(hours=1))
BackgroundReader("x", print, print).begin(now)
print("still here", flush=True)
os._exit(0)
"""


@pytest.mark.root
@pytest.mark.slow
def test_jobs_without_threads_keep_the_agent_running(tmp_path: Path) -> None:
    """Without threads for jobs, watches or the scheduler the agent goes on: the queue's own timeout remains."""
    top = str(Path(__file__).parents[1])
    words = [sys.executable, "-c", LONELY, str(tmp_path)]
    ran = subprocess.run(words, capture_output=True, text=True, cwd=top, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "still here\n", "")


def test_probe_of_process_that_ended_finds_the_processes(tmp_path: Path) -> None:
    """What answered then, or did not, says nothing of that process: a restart is no failure."""
    work = Work(
        policy(),
        {},
        Ledger.looking(str(tmp_path / "ledger.db")),
        Store(str(tmp_path)),
        Log(io.StringIO(), "text", clock),
        Revoking(str(tmp_path), list),
    )
    ours, ended = f"{os.getpid()}:{start_ticks(os.getpid())}", f"{os.getpid()}:1"
    answers = [work.probe(Probe("127.0.0.1", 1, "sql", who, "", "")) for who in (ours, ended)]
    assert [type(answer) for answer in answers] == [Served, ProcessScan]
