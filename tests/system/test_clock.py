"""The wall clock of a whole daemon is set, in both directions, while everything else of the host goes on.

Its functions of time are interposed (clock.c, compiled here): libfaketime breaks Python's sleep, and a time namespace
has no wall clock.
"""

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote

import pytest

from tests.servers.process import missing
from tests.system.running import Agent, Host
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
DAY = 86400
SOURCE = Path(__file__).with_name("clock.c")
WORDS = 64  # bytes of the file that it maps


class Clock:
    """What the daemon takes for the wall clock: the real one plus `offset` seconds."""

    def __init__(self, base: Path) -> None:
        if shutil.which("gcc") is None:
            missing("C compiler", "apt-get install -y gcc libc6-dev")
        self.library, self.file = base / "clock.so", base / "clock"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", self.library, SOURCE], check=True)
        self.file.write_bytes(bytes(WORDS))
        self.set(0)
        self.interpreter = interpreter(base / "shim", {"LD_PRELOAD": self.library, "CLOCK_SHIM": self.file})

    def set(self, offset: float, *, synchronised: bool = False) -> None:
        words = f"{int(offset)} {int(synchronised)}".encode()
        with open(self.file, "r+b", buffering=0) as file:  # in place: processes have it mapped
            file.write(words.ljust(WORDS, b"\0"))

    def to(self, year: int) -> None:
        self.set(datetime(year, 6, 1, tzinfo=UTC).timestamp() - time.time())

    @property
    def prefix(self) -> tuple[str, ...]:
        """Before the interpreter's path, which is replaced."""
        return (str(self.interpreter.with_name("instead")),)


def interpreter(base: Path, environ: dict[str, Path]) -> Path:
    """Make this interpreter with an environment of its own, also where it starts itself with none."""
    made = base / "bin" / "python"
    made.parent.mkdir(parents=True)
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", base)
    (base / "lib").symlink_to(Path(sys.prefix) / "lib")
    words = "".join(f"export {name}={quote(str(value))}\n" for name, value in environ.items())
    real = quote(os.path.realpath(sys.executable))
    made.write_text(f'#!/bin/bash\n{words}exec -a {quote(str(made))} {real} "$@"\n')
    made.with_name("instead").write_text(f'#!/bin/bash\nshift\nexec {quote(str(made))} "$@"\n')
    for script in made.parent.iterdir():
        script.chmod(0o755)
    return made


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """Right, until it is set."""
    return Clock(tmp_path)


def issued(agent: Agent) -> Counter[str]:
    return Counter(e["file"] for e in agent.events("issue.started"))


def turns(host: Host) -> None:
    """The loop turns: a wide key is repaired, and `status` answers."""
    os.chmod(host.certs / "node.key", 0o644)
    wait_until(lambda: os.stat(host.certs / "node.key").st_mode & 0o777 == 0o600, "repaired")
    assert host.json("status")["daemon"] is not None


def test_clock_jump_forward_renews_once(host: Host, clock: Clock) -> None:
    """All leaves of twelve hours have expired: nothing is done while the clock is unconfirmed.

    Once the kernel says that it is synchronised: one renewal per pair, no storm; it is served.
    """
    host.write(house="lifetime = '12h'")
    host.once()
    with host.server(), host.agent(*clock.prefix) as agent:
        wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        clock.set(DAY)
        agent.wait_event("clock.jumped")
        wait_until(lambda: "cert.expired" in host.codes(), "it is seen")
        turns(host)
        assert issued(agent) == {}
        clock.set(DAY, synchronised=True)
        for stem in ("node", "client.root"):
            agent.wait_event("pair.installed", lambda e, stem=stem: e["file"] == stem)
        agent.wait_event("reload.proven")  # `status` may still be of the pass before
        turns(host)
        assert issued(agent) == {"node": 1, "client.root": 1}
        assert len(agent.events("reload.sent")) == 1


def test_clock_ahead_for_a_moment_restores_previous_pair(host: Host, clock: Clock) -> None:
    """The new certificate begins twelve hours from now: the previous pair is restored immediately, and served."""
    host.once()
    with host.server() as server, host.agent(*clock.prefix) as agent:
        wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        before = server.served()
        clock.set(DAY / 2)
        agent.wait_event("clock.jumped")
        host.run("renew", "node", "--wait", "1")
        agent.wait_event("pair.installed")
        clock.set(0)
        assert agent.wait_event("pair.rolled-back")["file"] == "node"
        wait_until(lambda: server.served() == before, "the one before is served")
        wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        assert issued(agent) == {"node": 1}


@pytest.mark.parametrize("days", [1, 3])
def test_clock_set_back_renews_nothing(host: Host, clock: Clock, days: int) -> None:
    """The loop goes on, nothing is renewed; beyond a day behind the ledger the clock is unsound, until it is right."""
    host.once()
    with host.server() as server, host.agent(*clock.prefix) as agent:
        wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        clock.set(-days * DAY)
        agent.wait_event("clock.jumped")
        turns(host)
        wait_until(lambda: ("clock.unsound" in host.codes()) == (days > 1), "the alarm")
        assert issued(agent) == {}
        clock.set(0)
        wait_until(lambda: "clock.unsound" not in host.codes(), "it is right again")
        assert host.run("renew", "node").returncode == 0
        assert server.served() == host.file("node")["fingerprint"]
        assert issued(agent) == {"node": 1}


def test_clock_set_back_then_renew(host: Host, clock: Clock) -> None:
    """Ten minutes back, then `renew`: asked once, installed, signalled once, verified; old answers delay nothing."""
    host.once()
    with host.server() as server, host.agent(*clock.prefix) as agent:
        wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        clock.set(-600)
        agent.wait_event("clock.jumped")
        done = host.run("renew", "node")
        assert done.returncode == 0, done.stdout
        assert server.served() == host.file("node")["fingerprint"]
        assert issued(agent) == {"node": 1}
        assert len(agent.events("reload.sent")) == 1


def test_clock_ahead_at_restart_replaces_nothing(host: Host, clock: Clock) -> None:
    """The agent starts again under a clock that is 46 days ahead: both pairs stay, and a warning names both times.

    Once the kernel says that the time is right, as on a host that was off as long, both are renewed.
    """
    host.write(house="lifetime = '30d'")
    host.once()
    clock.set(46 * DAY)
    with host.agent(*clock.prefix) as agent:
        said = agent.wait_event("finding.appeared", lambda e: e["code"] == "clock.unsound")
        assert (said["severity"], said["reason"].split(" from ")[0]) == ("warning", "the clock was set forward")
        turns(host)
        assert issued(agent) == {}
        clock.set(46 * DAY, synchronised=True)
        for stem in ("node", "client.root"):
            agent.wait_event("pair.installed", lambda e, stem=stem: e["file"] == stem)
        wait_until(lambda: "clock.unsound" not in host.codes(), "it is right")


@pytest.mark.parametrize("year", [1970, 2200])
def test_clock_wrong_at_start_is_alarm(host: Host, clock: Clock, year: int) -> None:
    """A start in 1970, or in 2200: an alarm and no renewal; modes are repaired; then the time is synchronised."""
    host.once()
    clock.to(year)
    with host.server() as server, host.agent(*clock.prefix) as agent:
        agent.wait_event("finding.appeared", lambda e: e["code"] == "clock.unsound")
        turns(host)
        assert issued(agent) == {}
        assert agent.events("reload.sent") == []
        before = len(host.history("issue"))
        clock.set(0, synchronised=True)
        wait_until(lambda: "clock.unsound" not in host.codes(), "it is right again")
        wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        assert host.run("renew", "node").returncode == 0
        assert server.served() == host.file("node")["fingerprint"]
        assert issued(agent) == {"node": 1}
        assert len(host.history("issue")) == before + 1


def test_sighup_five_times_then_alarm(host: Host, clock: Clock) -> None:
    """A server that does not reload gets five signals with growing pauses, then an alarm; the new pair stays."""
    host.once()
    with host.server(environ={"STANDIN_DEAF": "1"}) as server, host.agent(*clock.prefix) as agent:
        wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        before = server.served()
        host.run("renew", "node", "--wait", "0.1")
        ahead = 0
        for count in range(1, 6):
            agent.wait_event("reload.sent", count=count)
            assert len(agent.events("reload.sent")) == count
            ahead += 10 * 2 ** (count - 1) + 1
            clock.set(ahead)
        stale = agent.wait_event(
            "finding.changed", lambda e: (e["code"], e["severity"]) == ("served.stale", "critical")
        )
        assert "5 SIGHUPs had no effect" in stale["reason"]
        clock.set(ahead + DAY)
        agent.wait_event("clock.jumped", lambda e: float(e["reason"].split()[5]) > DAY / 2)
        turns(host)
        assert sum(e["event"] == "reload" for e in server.log()) == 5
        assert host.file("node")["fingerprint"] != before == server.served()
        assert agent.events("pair.rolled-back") == []
