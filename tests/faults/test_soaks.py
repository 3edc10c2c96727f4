"""Many rotations without a fault: memory, descriptors, threads and files stay what they are. Then chaos for a while."""

import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from certagent.control.client import DaemonSilent, DaemonSlow, ask
from certagent.demo.stream import Stream
from tests.faults.bench import Bench
from tests.faults.conftest import Counted
from tests.faults.forms import LONG
from tests.system.running import Agent, Host
from tests.waiting import wait_until

ROTATIONS, WARM = (1500, 1500) if LONG else (200, 100)
CHAOS = 20 * 60.0 if LONG else 60.0  # seconds
SLOPE = 0.5  # KB of private memory for each rotation


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A healthy host, and the daemon that runs on it."""
    made = Bench(tmp_path, "rotation")
    made.scenario.begin(made.tree, made.nursery)
    made.tree.host.write()
    try:
        made.daemon()
        yield made
    finally:
        made.nursery.stop()


def private(pid: int) -> int:
    """The memory of a process that no file backs, in KB; pages that it shares with the nursery count from the start."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        rows = [line.split() for line in file]
    return next(int(row[1]) for row in rows if row[0] == "Anonymous:")


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.xdist_group("rotations")
def test_rotations_leave_nothing_behind(bench: Bench, counted: Counted) -> None:
    """Descriptors, threads and files do not grow; in the long form private memory by less than half a kilobyte each.

    The default form only says how much it is: caches of a bounded size fill meanwhile.
    """
    pid, socket = bench.running, str(bench.tree.base / "control.sock")
    live = bench.tree.certs / "node.crt"

    def rotate() -> None:
        before = live.read_bytes()
        answer = ask(socket, "renew", {"file": "node"})
        assert answer["ok"], answer
        wait_until(lambda: live.read_bytes() != before, "the rotation")

    def seen() -> tuple[int, int, int]:
        return descriptors(pid), threads(pid), sum(1 for p in bench.tree.base.rglob("*"))

    for _ in range(WARM):
        rotate()
    memory, before = private(pid), seen()
    for _ in range(ROTATIONS):
        rotate()
    slope = (private(pid) - memory) / ROTATIONS
    wait_until(lambda: all(now <= then for now, then in zip(seen(), before, strict=True)), lambda: f"{before} {seen()}")
    assert not LONG or slope < SLOPE
    counted(f"the soak: {ROTATIONS} rotations after {WARM}, {slope:.2f} KB each; {before} descriptors, threads, files")


class Chaos:
    """What happens to a host at random: the agent is killed or stopped, keys are opened, pairs are renewed or lost."""

    def __init__(self, host: Host, seed: int) -> None:
        self.host, self.random = host, random.Random(seed)
        self.done = Counter[str]()

    def go(self, seconds: float) -> None:
        """For so long: one agent after the other, some faults with each."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self.host.agent() as agent:
                for _ in range(self.random.randint(1, 6)):
                    self.one(agent)
                if self.random.random() < 0.7:
                    self.done["kill -9"] += 1
                    agent.stop(signal.SIGKILL)

    def one(self, agent: Agent) -> None:
        """One fault, and a moment."""
        fault = self.random.choice((self.renewed, self.opened, self.lost, self.stopped))
        self.done[fault.__name__] += 1
        fault(agent)
        threading.Event().wait(self.random.uniform(0.0, 1.0))  # a moment, not a condition: that is the test

    def renewed(self, agent: Agent) -> None:
        del agent
        with suppress(DaemonSilent, DaemonSlow):
            ask(str(self.host.base / "control.sock"), "renew", {"file": "node"})

    def opened(self, agent: Agent) -> None:
        del agent
        (self.host.certs / "node.key").chmod(0o644)

    def lost(self, agent: Agent) -> None:
        del agent
        shutil.rmtree(
            self.host.certs / ".certagent" / self.random.choice(("staged", "old", "pending")), ignore_errors=True
        )

    def stopped(self, agent: Agent) -> None:
        assert agent.process is not None
        agent.process.send_signal(signal.SIGSTOP)
        threading.Event().wait(self.random.uniform(0.0, 0.5))
        agent.process.send_signal(signal.SIGCONT)


@pytest.mark.xdist_group("chaos")
def test_chaos_fails_no_handshake(tmp_path: Path, counted: Counted) -> None:
    """Mutual TLS connections are verified all the time; in the end everything is as it should be."""
    seed = int(os.environ.get("CERTAGENT_SEED", "0")) or (random.SystemRandom().randrange(1, 1 << 32) if LONG else 7)
    print(f"CERTAGENT_SEED={seed}")
    host = Host(tmp_path)
    host.write()
    host.once()
    client = host.base / "client"
    client.mkdir(mode=0o700)
    for end in ("crt", "key"):
        shutil.copy(host.certs / f"client.root.{end}", client / end)
    chaos = Chaos(host, seed)
    with host.server() as server:
        stream = Stream(server, str(host.certs / "ca.crt"), (str(client / "crt"), str(client / "key")))
        try:
            chaos.go(CHAOS)
            with host.agent():
                wait_until(lambda: host.file("node")["proof"] == "served", "served in the end")
                wait_until(lambda: (host.certs / "node.key").stat().st_mode & 0o777 == 0o600, "closed in the end")
        finally:
            stream.stop()
    assert stream.failures == []
    did = ", ".join(f"{name} {count}" for name, count in sorted(chaos.done.items()))
    counted(f"chaos, seed {seed}: {stream.connections} verified handshakes, {len(stream.fingerprints)} leaves; {did}")
