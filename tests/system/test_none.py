"""Somebody else rotates: observed, modes repaired where that is allowed, reloaded, proven; never a request."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from certagent.demo.launch import StandIn
from tests.making import Ca, make_ca
from tests.system.running import Agent, Host
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
NONE = "[authority.hands]\ntype = 'none'"


def deployed(host: Host) -> Ca:
    """What cert-manager, Ansible or a person left: a bundle, a node's and a client's pair."""
    ca = make_ca("somebody's CA")
    host.make_certs()
    put(host.certs, "ca.crt", ca.cert)
    for stem in ("node", "client.root"):
        replace(host.certs, stem, pair(ca, stem))
    host.write(house=NONE, authority='"hands"')
    return ca


def pair(ca: Ca, stem: str = "node") -> tuple[bytes, bytes]:
    return ca.pair(stem, names=("localhost", "127.0.0.1"))


def put(certs: Path, name: str, data: bytes, mode: int = 0o600) -> None:
    """As Ansible's copy does: a temporary file beside it, then a rename."""
    temporary = certs / f".ansible_tmp{name}"
    temporary.write_bytes(data)
    temporary.chmod(mode)
    temporary.rename(certs / name)


def replace(certs: Path, stem: str, made: tuple[bytes, bytes]) -> None:
    put(certs, f"{stem}.crt", made[0])
    put(certs, f"{stem}.key", made[1])


def fingerprint(host: Host) -> str:
    return str(host.file("node")["fingerprint"])


def served(host: Host, cockroach: StandIn) -> None:
    """What is on disk is served, and proven."""
    wait_until(lambda: cockroach.served("sql") == fingerprint(host), "the process serves what is on disk")
    wait_until(lambda: host.file("node")["proof"] == "served", "proven")


def hups(agent: Agent) -> int:
    return len(agent.events("reload.sent"))


def test_external_rotation_is_reloaded_once(host: Host) -> None:
    """A pair is replaced: one SIGHUP, verified; the agent itself asks, stages and rotates nothing."""
    ca = deployed(host)
    with host.server() as cockroach, host.agent() as agent:
        served(host, cockroach)
        assert hups(agent) == 0
        replace(host.certs, "node", pair(ca))
        served(host, cockroach)
        agent.wait_event("reload.proven")
        assert hups(agent) == 1
        assert agent.events("issue.started") == agent.events("pair.installed") == []
    assert host.history("issue") == []


def test_external_rotation_in_two_steps_waits_for_match(host: Host) -> None:
    """The certificate now, its key much later: no signal onto the mismatch in between, one after it."""
    ca = deployed(host)
    with host.server() as cockroach, host.agent() as agent:
        served(host, cockroach)
        before = cockroach.served("sql")
        for _ in range(2):
            cert, key = pair(ca)
            sent = hups(agent)
            put(host.certs, "node.crt", cert)
            wait_until(lambda: "key.mismatch" in host.codes(), "the mismatch is a finding")
            held = [h for d in host.json("plan")["certs_dirs"] for h in d["held"] if h["action"] == "reload"]
            assert ["node.key does not match node.crt" in h["reason"] for h in held] == [True]
            assert (hups(agent), cockroach.served("sql")) == (sent, before)
            put(host.certs, "node.key", key)
            served(host, cockroach)
            assert hups(agent) == sent + 1
            assert "key.mismatch" not in host.codes()
            before = cockroach.served("sql")
    assert not [line for line in cockroach_log(host) if "mismatch" in line or "ERROR" in line]


def cockroach_log(host: Host) -> list[str]:
    path = host.base / "server" / "cockroach.log"
    return path.read_text().splitlines() if path.exists() else []


def test_external_rotation_in_place_waits_until_whole(host: Host) -> None:
    """A file that is written in place is half there for a while: no signal until it is whole."""
    ca = deployed(host)
    with host.server() as cockroach, host.agent() as agent:
        served(host, cockroach)
        cert, key = pair(ca)
        with open(host.certs / "node.crt", "r+b") as file:
            file.truncate(0)
            wait_until(lambda: "cert.empty" in host.codes(), "seen empty")
            file.write(cert[:300])
            file.flush()
            wait_until(lambda: "cert.unparsable" in host.codes(), "seen half")
            file.write(cert[300:])
        assert hups(agent) == 0
        put(host.certs, "node.key", key)
        served(host, cockroach)
        assert hups(agent) == 1


def test_external_rotation_mode_is_repaired_first(host: Host) -> None:
    """A rotation that leaves the key readable for others: repaired before it is reloaded."""
    ca = deployed(host)
    with host.server() as cockroach, host.agent() as agent:
        served(host, cockroach)
        cert, key = pair(ca)
        put(host.certs, "node.crt", cert)
        put(host.certs, "node.key", key, 0o644)
        agent.wait_event("reload.proven")  # what is on disk may be served before the agent has seen the change
        served(host, cockroach)
        assert (host.certs / "node.key").stat().st_mode & 0o777 == 0o600
        names = [e["event"] for e in agent.events() if e["event"] in {"mode.repaired", "reload.sent"}]
        assert (set(names[:-1]), names[-1]) == ({"mode.repaired"}, "reload.sent")


def test_external_rotation_while_agent_was_stopped_is_reloaded(host: Host) -> None:
    """A rotation while no agent ran: after the start the process still serves the old pair, and is reloaded."""
    ca = deployed(host)
    with host.server() as cockroach:
        with host.agent() as agent:
            served(host, cockroach)
            agent.stop(signal.SIGKILL)
        replace(host.certs, "node", pair(ca))
        with host.agent() as agent:
            served(host, cockroach)
            assert hups(agent) == 1


class Secret:
    """A volume of Kubernetes: ..data -> ..TIME, every name a link through it; an update exchanges ..data by rename."""

    def __init__(self, volume: Path, ca: Ca) -> None:
        self.volume, self.ca, self.count = volume, ca, 0
        volume.mkdir(mode=0o755)
        self.update()
        for name in ("ca.crt", "node.crt", "node.key"):
            (volume / name).symlink_to(f"..data/{name}")

    def update(self) -> None:
        self.count += 1
        fresh = self.volume / f"..2026_11_24_{self.count}"
        fresh.mkdir(mode=0o755)
        cert, key = pair(self.ca)
        for name, data in (("ca.crt", self.ca.cert), ("node.crt", cert), ("node.key", key)):
            (fresh / name).write_bytes(data)
            (fresh / name).chmod(0o600)
        (self.volume / "..data_tmp").symlink_to(fresh.name)
        os.rename(self.volume / "..data_tmp", self.volume / "..data")
        for old in self.volume.glob("..2026*"):
            if old != fresh:
                shutil.rmtree(old)


def test_kubernetes_secret_is_observed_and_reloaded(host: Host) -> None:
    """The exchange of ..data: observed, reloaded once for each, verified; nothing is written into the volume."""
    secret = Secret(host.certs, make_ca("cert-manager"))
    host.write(house=NONE, authority='"hands"', clients="[]")
    with host.server() as cockroach, host.agent() as agent:
        served(host, cockroach)
        for n in (1, 2):
            before = cockroach.served("sql")
            secret.update()
            wait_until(lambda before=before: fingerprint(host) != before, "the exchange is seen")
            served(host, cockroach)
            assert hups(agent) == n
        assert "dir.foreign" in host.codes()
        assert agent.events("action.failed") == agent.events("mode.repaired") == []
        assert "already manages" in host.run("run", "--once").stderr
    names = {p.name for p in host.certs.iterdir()}
    assert names == {"..data", f"..2026_11_24_{secret.count}", "ca.crt", "node.crt", "node.key"}


def test_kubernetes_secret_with_wide_key_is_left_alone(host: Host) -> None:
    """A key that is too wide inside such a volume is a finding and is left alone: kubelet owns it."""
    secret = Secret(host.certs, make_ca("cert-manager"))
    key = (host.certs / "node.key").resolve()
    key.chmod(0o644)
    host.write(house=NONE, authority='"hands"', clients="[]")
    with host.agent() as agent:
        wait_until(lambda: {"key.mode", "dir.foreign"} <= host.codes(), "the findings")
        assert key.stat().st_mode & 0o777 == 0o644
        assert agent.events("mode.repaired") == agent.events("mode.repair-failed") == []
    assert secret.count == 1
