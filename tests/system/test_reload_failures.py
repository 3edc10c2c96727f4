"""A reload that does not do what it should: what is rolled back, what is not, and who is never signalled."""

import json
import signal

import pytest

from certagent.demo.launch import StandIn
from tests.system.running import Agent, Host
from tests.waiting import in_time, wait_until

pytestmark = pytest.mark.slow


def proven(host: Host) -> str:
    wait_until(lambda: host.file("node")["proof"] == "served", "proven")
    return str(host.file("node")["fingerprint"])


def reloads(server: StandIn) -> int:
    return sum(e["event"] == "reload" for e in server.log())


def test_rollback_when_every_handshake_fails(host: Host) -> None:
    """Every handshake fails with the new pair: the agent rolls back, verifies it, never installs the new one again."""
    host.once()
    with host.server(environ={"STANDIN_FAITHFUL": "1"}) as server, host.agent() as agent:
        before = proven(host)
        done = host.run("renew", "node")
        assert (done.returncode, done.stdout.split(":")[1].strip()) == (1, "refused"), done.stdout
        assert "rolled back" in done.stdout
        bad = next(a["digest"] for a in host.history("install") if a["subject"] == "node")
        assert agent.wait_event("pair.rolled-back")["file"] == "node"
        wait_until(lambda: host.file("node")["proof"] == "served", "the old pair is proven again")
        assert host.file("node")["fingerprint"] == server.served() == before != bad
        assert reloads(server) == 2
        restored = host.certs / ".certagent" / "old" / "node"
        numbered = {p.name: p for p in restored.iterdir()}
        staged = host.certs / ".certagent" / "staged"
        newest = numbered[max(numbered)]  # what was quarantined, put back into the staging area by a stranger
        (staged / "node.key").write_bytes((newest / "key").read_bytes())
        (staged / "node.crt").write_bytes((newest / "crt").read_bytes())
        assert "rolled back or revoked before" in agent.wait_event("pair.refused")["reason"]
        assert host.file("node")["fingerprint"] == before


def test_sighup_without_effect_is_repeated_and_keeps_new_pair(host: Host) -> None:
    """The server keeps serving the old pair: the signal is repeated after a pause, nothing is rolled back."""
    host.once()
    with host.server(environ={"STANDIN_DEAF": "1"}) as server, host.agent() as agent:
        before = proven(host)
        assert host.run("renew", "node", "--wait", "2").returncode == 1
        agent.wait_event("reload.sent")
        agent.wait_event("reload.unproven")
        wait_until(lambda: reloads(server) == 2, "the second signal")
        assert "served.stale" in host.codes()
        assert host.file("node")["fingerprint"] != before == server.served()
        assert agent.events("pair.rolled-back") == []


def test_sighup_ignored_is_never_sent(host: Host) -> None:
    """A signal would reload nothing: a finding, the new pair on disk for a restart, and no signal."""
    host.once()
    with host.server(environ={"STANDIN_IGNORE_HUP": "1"}), host.agent() as agent:
        wait_until(lambda: "process.forbidden" in host.codes(), "it is seen")
        host.run("renew", "node", "--wait", "1")
        agent.wait_event("pair.installed")
        found = host.run("reload")
        assert (found.returncode, "ignoring" in found.stdout) == (1, True), found.stdout
        assert agent.events("reload.sent") == []


def test_sighup_to_starting_process_is_never_sent(host: Host) -> None:
    """A renewal while it starts: SIGHUP would end it; it loads the files on disk, and needs none."""
    host.once()
    go = host.base / "go"
    server = host.server(environ={"STANDIN_START_AFTER": str(go)})
    try:
        with host.agent() as agent:
            wait_until(lambda: "process.starting" in host.codes(), "it is seen")
            host.run("renew", "node", "--wait", "0.1")
            agent.wait_event("pair.installed")
            go.touch()
            server.wait()
            assert proven(host) == server.served()
            assert reloads(server) == 0
            assert agent.events("reload.sent") == []
    finally:
        server.stop()


def test_probe_without_answer_is_finding(host: Host) -> None:
    """Its ports accept connections and say nothing: a finding, modes are repaired, nothing is rolled back."""
    host.once()
    with host.server(environ={"STANDIN_MUTE": "1"}), host.agent() as agent:
        told(agent)
        (host.certs / "node.key").chmod(0o644)
        wait_until(lambda: (host.certs / "node.key").stat().st_mode & 0o777 == 0o600, "repaired")
        assert host.run("renew", "node", "--wait", "0.1").returncode == 1
        agent.wait_event("pair.installed")
        assert agent.events("pair.rolled-back") == []


def test_probe_of_one_hanging_port_is_pending(host: Host) -> None:
    """The SQL port serves the new pair, the HTTP port accepts connections and says nothing: pending, and named."""
    host.once()
    with host.server(environ={"STANDIN_MUTE": "http"}) as server, host.agent():
        wait_until(lambda: host.file("node")["owed"] == [address(server, "http")], "the SQL port alone is verified")
        not_verified(host, address(server, "http"))
        assert server.served() == host.file("node")["fingerprint"]
        told = host.run("status").stdout
        assert f"not yet verified by {address(server, 'http')}: " in told, told


def test_probe_setting_leaves_out_hanging_port(host: Host) -> None:
    """The remedy of `served.unreachable` works: `probe` lists the ports that can be checked, and no other is asked."""
    host.once()
    with host.server(environ={"STANDIN_MUTE": "http"}) as server:
        with host.agent():
            wait_until(lambda: "served.unreachable" in host.codes(), "the HTTP port does not answer")
        host.write(extra=f"[certs_dir.process]\nprobe = ['{address(server, 'sql')}/sql']")
        with host.agent() as agent:
            wait_until(lambda: host.file("node")["proof"] == "served", "the SQL port verifies it")
            assert "served.unreachable" not in host.codes()
            assert host.run("renew", "node").returncode == 0
            agent.wait_event("reload.proven")


def test_probe_of_second_hanging_process_is_pending(host: Host) -> None:
    """Of two processes one is stopped: `renew` exits 1; when it runs again it loads the pair, and all is verified."""
    host.once()
    with host.server("first") as first, host.server("second") as second, host.agent():
        wait_until(lambda: second.process.pid in {s["pid"] for s in host.file("node")["served"]}, "it is asked")
        proven(host)
        second.process.send_signal(signal.SIGSTOP)
        try:
            not_verified(host, address(second, "sql"), address(second, "http"))
            assert first.served() == host.file("node")["fingerprint"]
        finally:
            second.process.send_signal(signal.SIGCONT)
        assert proven(host) == second.served()


def address(server: StandIn, kind: str) -> str:
    return f"127.0.0.1:{server.ports[kind]}"


def not_verified(host: Host, *owed: str) -> None:
    """A renewal is installed, and exits 1 with exactly those addresses; others may need longer on a slow machine."""

    def attempt(seconds: float) -> None:
        done = host.run("renew", "node", "--force", "--json", "--wait", str(seconds))
        outcome = json.loads(done.stdout)
        told = "installed, not yet served by "
        assert (done.returncode, outcome["state"], outcome["reason"].partition("by ")[0] + "by ") == (
            1,
            "pending",
            told,
        )
        assert sorted(owed) == sorted(outcome["owed"]), outcome

    in_time(attempt, 3.0, 20.0, 60.0)


def told(agent: Agent) -> None:
    agent.wait_event("finding.appeared", lambda e: e["code"] == "served.unreachable")
