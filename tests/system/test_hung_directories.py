"""A certs directory never answers: the others are repaired, renewed and reloaded as if nothing were.

Each test with two kinds of FUSE: one whose requests are never read, and one that reads them and never answers, which
leaves whoever waits in a state that not even SIGKILL ends.
"""

import stat
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.hanging import Deaf, Fading, Hung
from tests.system.running import ME, Agent, Host
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.root]
BOTH = pytest.mark.parametrize("kind", [Hung, Deaf])
SECOND = """
[[certs_dir]]
path = "{path}"
owner = "{me}"
authority = "house"
names = ["localhost"]
"""
STOPS_WITHIN = 15.0


@pytest.fixture
def other(host: Host) -> Path:
    """A second certs directory, of the same configuration; both are filled."""
    place = host.base / "other"
    place.mkdir(mode=0o700)
    host.write(extra=SECOND.format(path=place, me=ME))
    host.once()
    assert (place / "node.key").exists()
    return place


def at_rest(host: Host) -> None:
    """Both were checked, and their processes searched for: the passes of the start are over.

    A mount that begins to hang in the middle of a pass is another matter (ARCHITECTURE.md, "What hangs").
    """

    def seen() -> bool:
        found = [{f["code"] for f in d["findings"]} for d in host.status()["certs_dirs"]]
        return len(found) == 2 and all("process.none" in codes for codes in found)

    wait_until(seen, "both are at rest")


def repaired(place: Path) -> None:
    """A mode that is wrong is repaired."""
    key = place / "node.key"
    key.chmod(0o644)
    wait_until(lambda: stat.S_IMODE(key.stat().st_mode) == 0o600, "repaired")


def renewed(host: Host, place: Path) -> None:
    """A renewal that is asked for is installed."""
    before = (place / "node.crt").read_bytes()
    host.run("renew", "node", "--certs-dir", str(place))
    wait_until(lambda: (place / "node.crt").read_bytes() != before, "renewed")


def stalled(host: Host, agent: Agent) -> None:
    """Status says so within three rescans, critical, for the one directory, and exits 3; the log says it as well."""
    wait_until(lambda: "agent.stalled" in host.codes(), "it is stalled")
    done = host.run("status")
    assert done.returncode == 3
    assert "critical agent.stalled" in done.stdout
    found = {d["path"]: {f["code"] for f in d["findings"]} for d in host.status()["certs_dirs"]}
    assert "agent.stalled" in found[str(host.certs)]
    assert not found[str(host.base / "other")] & {"agent.stalled", "path.hung"}
    agent.wait_event("finding.appeared", lambda e: e["code"] == "agent.stalled")


def stops(agent: Agent) -> None:
    """SIGTERM ends it within its time."""
    begin = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - begin < STOPS_WITHIN


@BOTH
def test_hung_directory_stops_nothing_else(host: Host, other: Path, kind: type[Hung]) -> None:
    """Repair, renewal, status, plan and recovery of the other directory, and SIGTERM, while one hangs."""
    with host.agent() as agent:
        at_rest(host)
        with kind(host.certs):
            repaired(other)
            stalled(host, agent)
            repaired(other)
            renewed(host, other)
            found = {d["path"]: d for d in host.json("plan")["certs_dirs"]}
            assert found[str(host.certs)]["actions"] == []
            assert "path.hung" in {f["code"] for f in found[str(host.certs)]["findings"]}
            assert host.run("recover", str(other)).returncode == 0
            stops(agent)


def agents(agent: Agent) -> list[int]:
    """The processes that are the agent: the one that was started, and where it is divided the other one."""
    assert agent.process is not None
    outer = agent.process.pid
    inner = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
    return [outer, *map(int, inner)]


def test_directory_that_hangs_in_the_middle_of_a_pass_stops_nothing_else(host: Host, other: Path) -> None:
    """The agent's own thread waits for a request that was read: all the same, SIGTERM and kill -9 included.

    What cannot end holds no lock and no output of the agent, so that the next one starts.
    """
    with Fading(host.certs) as mount:
        with host.agent() as agent:
            at_rest(host)
            outer, inner = agents(agent)
            mount.late = lambda thread: Path(f"/proc/{inner}/task/{thread}").exists()
            wait_until(mount.deaf.is_set, "it hangs")
            stalled(host, agent)
            repaired(other)
            renewed(host, other)
            stops(agent)
            assert Path(f"/proc/{inner}").exists()
            assert not Path(f"/proc/{outer}").exists()
        with host.agent() as agent:
            repaired(other)
            stops(agent)


@BOTH
def test_agent_starts_while_a_directory_hangs(host: Host, other: Path, kind: type[Hung]) -> None:
    """It starts, repairs and renews the other one, says what hangs, and stops."""
    with kind(host.certs), host.agent() as agent:
        repaired(other)
        renewed(host, other)
        stalled(host, agent)
        stops(agent)


def test_hung_directory_is_managed_again_when_it_answers(host: Host, other: Path) -> None:
    """The findings clear, and its modes are repaired again."""
    with host.agent() as agent:
        with Deaf(host.certs):
            stalled(host, agent)
            repaired(other)
        repaired(host.certs)
        agent.wait_event("finding.cleared", lambda e: e["code"] == "agent.stalled")
        assert not host.codes() & {"agent.stalled", "path.hung"}


@BOTH
def test_recover_of_one_directory_waits_for_no_other(host: Host, other: Path, kind: type[Hung]) -> None:
    """With and without a directory named: the one that hangs is said to, the other one is recovered."""
    with kind(host.certs):
        assert host.run("recover", str(other), timeout=30).returncode == 0
        done = host.run("recover", timeout=30)
        assert done.returncode == 2
        assert f"{other}: nothing to recover" in done.stdout
        assert f"cannot recover {host.certs}: it does not respond" in done.stderr


def test_status_without_an_agent_waits_for_no_directory(host: Host, other: Path) -> None:
    """The command observes what answers, and says what does not."""
    with Deaf(host.certs):
        done = host.run("status", timeout=60)
        assert done.returncode == 2
        assert "critical path.hung" in done.stdout
        assert str(other) in done.stdout


def test_deaf_mount_leaves_readers_that_cannot_be_killed(tmp_path: Path) -> None:
    """A reader below it does not even end by SIGKILL before the mount does: the tests above can fail."""
    with Deaf(tmp_path):
        command = [sys.executable, "-c", f"import os; os.path.exists({str(tmp_path / 'x')!r}); print('over')"]
        reader = subprocess.Popen(command, stdout=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            reader.wait(2)
        reader.kill()
        with pytest.raises(subprocess.TimeoutExpired):
            reader.wait(1)
    reader.communicate()


def state_silent(host: Host) -> None:
    """Status is critical because nothing can be recorded, and says since when."""
    wait_until(lambda: "ledger.unwritable" in host.codes(), "it is said")
    found = [f["message"] for d in host.status()["certs_dirs"] for f in d["findings"]]
    assert any(f"{host.base}/state has not responded since" in message for message in found)
    assert host.run("status").returncode == 2


def issues_nothing(host: Host, agent: Agent) -> None:
    """A certificate that is missing is not requested: that could not be recorded."""
    before = len(agent.events("issue.started"))
    (host.certs / "client.root.crt").unlink()
    wait_until(lambda: "cert.missing" in host.codes(), "it is missing")
    repaired(host.certs)
    assert len(agent.events("issue.started")) == before


@BOTH
def test_hung_state_directory_stops_no_repair(host: Host, other: Path, kind: type[Hung]) -> None:
    """Modes are repaired, nothing is issued, status is not ok, SIGTERM ends the agent."""
    with host.agent() as agent:
        at_rest(host)
        with kind(host.base / "state"):
            repaired(other)
            state_silent(host)
            issues_nothing(host, agent)
            repaired(host.certs)
            stops(agent)


@BOTH
def test_agent_starts_while_its_state_directory_hangs(host: Host, other: Path, kind: type[Hung]) -> None:
    """It repairs modes and says why it issues nothing; when the directory responds, what is missing is issued."""
    with ExitStack() as stack:
        with kind(host.base / "state"):
            agent = stack.enter_context(host.agent())
            repaired(other)
            state_silent(host)
            issues_nothing(host, agent)
        wait_until((host.certs / "client.root.crt").exists, "issued")
        wait_until(lambda: "ledger.unwritable" not in host.codes(), "it clears")
