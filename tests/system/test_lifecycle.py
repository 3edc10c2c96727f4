"""The life of a certs-dir under a running daemon, with a server that loads, serves and reloads by cockroach's rules."""

import os
import shutil
import signal
import ssl

import pytest

from tests.making import Ca, put
from tests.moments import now
from tests.system.running import Host
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def test_first_issuance_until_served(host: Host) -> None:
    """An empty directory gets its bundle and its pairs; a server that starts on them is found and verified."""
    assert host.once().returncode == 0
    assert {"ca.crt", "node.crt", "node.key", "client.root.crt", "client.root.key"} <= set(os.listdir(host.certs))
    with host.server() as server, host.agent():
        wait_until(lambda: host.file("node")["proof"] == "served", "the node's pair is proven")
        wait_until(lambda: host.file("client.root")["proof"] == "accepted", "the client's pair is accepted")
        assert host.file("node")["fingerprint"] == server.served("sql") == server.served("http")
        assert [] == [e for e in server.log() if e["event"] == "reload"]


def test_renewal_when_due(host: Host) -> None:
    """Leaves that live for ten seconds are renewed, swapped and served, again and again, without an operator."""
    host.write(house="lifetime = '10s'")
    host.once()
    with host.server() as server, host.agent() as agent:
        first = server.served()
        agent.wait_event("reload.proven", count=3)
        assert server.served() != first
        assert all(e["ok"] and e["sender_uid"] == os.getuid() for e in server.log() if e["event"] == "reload")


def test_name_added_is_issued_immediately(host: Host) -> None:
    """The configuration file changed on disk: the new SAN is asked for, installed and served."""
    host.once()
    with host.server() as server, host.agent() as agent:
        wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        before = server.served()
        host.write(names='["localhost", "127.0.0.1", "db9.example.com"]')
        agent.wait_event("config.loaded")
        wait_until(lambda: "DNS:db9.example.com" in host.file("node")["sans"], "the new name is in the certificate")
        wait_until(lambda: server.served() != before, "it is served")


def test_configuration_broken_keeps_old_one(host: Host) -> None:
    """A broken file is an event and a finding, all errors together; the daemon goes on; both clear after the repair.

    Neither waits for the rescan, which is an hour away.
    """
    host.once()
    host.config.write_text(host.config.read_text().replace("rescan = '1s'", "rescan = '1h'"))
    with host.agent() as agent:
        wait_until(lambda: host.status()["severity"] == "ok", "the agent watches")
        host.write(naems='["x"]', layout='"splt-ca"')
        rejected = agent.wait_event("config.rejected")
        assert "naems" in rejected["reason"]
        assert "did you mean 'names'" in rejected["reason"]
        assert "split-ca" in rejected["reason"]
        wait_until(lambda: "config.rejected" in host.codes(), "the finding")
        host.write()
        wait_until(lambda: "config.rejected" not in host.codes(), "it clears")


def test_key_or_certificate_missing_is_reissued(host: Host) -> None:
    """A certificate without its key, a key without its certificate: each is a new pair, and matched."""
    host.once()
    with host.agent() as agent:
        for lost, count in (("node.key", 1), ("node.crt", 2)):
            (host.certs / lost).unlink()
            agent.wait_event("pair.installed", lambda e: e["file"] == "node", count)
            wait_until(lambda: not {"key.missing", "cert.missing"} & host.codes(), "the pair is whole")
    assert host.json("check")["severity"] == "ok"


def test_restart_of_healthy_agent_does_nothing(host: Host) -> None:
    """Restarts ask no CA and send no signal."""
    host.once()
    with host.server() as server:
        with host.agent():
            wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        issued, signals = len(host.history("issue")), len(server.log())
        for _ in range(3):
            with host.agent() as agent:
                wait_until(lambda: host.file("node")["proof"] == "served", "proven again")
                assert agent.events("issue.started") == agent.events("reload.sent") == []
        assert (len(host.history("issue")), len(server.log())) == (issued, signals)


def test_adoption_on_live_cluster_changes_nothing(host: Host) -> None:
    """Externally made files: nothing is re-issued or signalled, differences are findings, `plan` says more."""
    host.once()
    shutil.rmtree(host.base / "state")  # the agent never saw these pairs
    shutil.rmtree(host.certs / ".certagent")
    before = {p.name: p.read_bytes() for p in host.certs.iterdir() if p.is_file()}
    with host.server() as server:
        host.write(names='["localhost", "127.0.0.1", "db9.example.com"]')
        first = host.run("plan")  # that it takes note of them is no work to do
        assert (first.returncode, "nothing to do now" in first.stdout, "adopt node: " in first.stdout) == (
            0,
            True,
            True,
        )
        with host.agent() as agent:
            agent.wait_event("pair.adopted", count=2)
            wait_until(lambda: host.file("node")["proof"] == "served", "proven")
            assert "cert.san" in host.codes()
            held = host.json("plan")["certs_dirs"][0]["held"]
            assert ["certagent renew node" in h["reason"] for h in held if h["file"] == "node"] == [True]
            assert agent.events("issue.started") == agent.events("reload.sent") == []
        assert [e["event"] for e in server.log()] == ["started"]
    assert {p.name: p.read_bytes() for p in host.certs.iterdir() if p.is_file()} == before


def test_adoption_of_newer_manual_pair_is_reloaded(host: Host) -> None:
    """A newer valid pair that an operator placed is adopted, and the server is reloaded onto it."""
    host.once()
    with host.server() as server, host.agent() as agent:
        wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        other = Host(host.base / "elsewhere")
        other.base.mkdir()
        shutil.copytree(host.base / "ca", other.base / "ca")
        other.write()
        other.once()
        assert agent.process is not None
        agent.process.send_signal(
            signal.SIGSTOP
        )  # a key without its certificate would be answered by a pair of its own
        for name in ("node.key", "node.crt"):
            shutil.copy(other.certs / name, host.certs / f".{name}")
            os.rename(host.certs / f".{name}", host.certs / name)
        agent.process.send_signal(signal.SIGCONT)
        agent.wait_event("pair.adopted", lambda e: e["file"] == "node")
        agent.wait_event("reload.proven")
        assert server.served() == host.file("node")["fingerprint"] == other.file("node")["fingerprint"]


def test_reload_owed_survives_restart(host: Host) -> None:
    """A pair was swapped in while the server ignored signals; a later agent still knows that the reload is owed."""
    host.once()
    with host.server(environ={"STANDIN_RELOAD_DELAY": "3"}) as server:
        with host.agent() as agent:
            wait_until(lambda: host.file("node")["proof"] == "served", "proven")
            host.run("renew", "node", "--wait", "0.1")
            agent.wait_event("pair.installed")
        with host.agent() as agent:
            wait_until(lambda: host.file("node")["proof"] == "served", "proven at last")
        assert server.served() == host.file("node")["fingerprint"]


def test_renewal_keeps_tenant_of_client(host: Host) -> None:
    """`cockroach cert create-client` writes `crdb://` URIs: without them the renewed one is for every tenant."""
    host.once()
    uri = "crdb://tenant/1/user/root"
    ca = Ca((host.base / "ca" / "ca.crt").read_bytes(), (host.base / "ca" / "ca.key").read_bytes(), now())
    put(host.certs, "client.root", ca.pair("client.root", uris=(uri,)))
    (host.certs / "client.root.key").chmod(0o600)
    before = host.file("client.root")["fingerprint"]
    with host.server(), host.agent():
        assert host.run("renew", "client.root").returncode == 0
        after = host.file("client.root")
    assert before != after["fingerprint"]
    assert after["sans"] == [f"URI:{uri}"]
    assert after["proof"] == "accepted"


def test_reload_that_adds_a_broken_file(host: Host) -> None:
    """The stand-in accepts the reload as cockroach does, and the console has no certificate: it has no fallback."""
    host.once()
    with host.server() as server:
        assert server.process is not None
        before = server.served("http")
        (host.certs / "ui.crt").write_text("garbage")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: [e["ok"] for e in server.log() if e["event"] == "reload"] == [True], "a reload")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            server.served("http")
        assert before == server.served("sql")
