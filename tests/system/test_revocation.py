"""Revocation end to end: real responders, a daemon, a server that loads and serves by cockroach's rules."""

import json
import socket
import time
from collections.abc import Iterator

import pytest

from certagent import x509
from certagent.control.client import ask
from tests.making import make_ca
from tests.servers.openbao import OpenBao
from tests.servers.openssl_ocsp import OpensslOcsp
from tests.servers.stepca import fingerprint
from tests.system.running import Host
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.real]
RULE = '[certs_dir.ocsp]\nmode = "{mode}"\nmin_interval = "1s"\nmax_interval = "1s"\n'
STAGED = ".certagent/staged/node.crt"
REUSE = "[certs_dir.file.node]\nreuse_key = true"


@pytest.fixture
def responder(host: Host) -> Iterator[OpensslOcsp]:
    """A CA of the agent's whose leaves name `openssl ocsp`; it knows the first certificate, and that it is good."""
    ca = make_ca()
    directory = host.base / "ca"
    directory.mkdir(mode=0o700)
    (directory / "ca.crt").write_bytes(ca.cert)
    (directory / "ca.key").write_bytes(ca.key)
    (directory / "ca.key").chmod(0o600)
    with OpensslOcsp(host.base / "ocsp", ca.cert, ca.key, minutes=60) as made:
        configure(host, made, "off")
        host.once()
        made.say(serial(host), "good")
        yield made


def configure(host: Host, responder: OpensslOcsp, mode: str) -> None:
    """`reuse_key` is on: what is revoked must get another key all the same."""
    host.write(house=f"ocsp_url = '{responder.url}'", extra=RULE.format(mode=mode) + REUSE, clients="[]")


def serial(host: Host, where: str = "node.crt") -> int:
    return x509.parse_certificates((host.certs / where).read_bytes())[0].serial


def status(host: Host) -> str:
    """What `status` says of the node's revocation."""
    return str((host.file("node")["revocation"] or {}).get("status"))


def test_revoked_is_replaced_and_verified(host: Host, responder: OpensslOcsp) -> None:
    """Revoked at the responder: another key is asked for, installed, reloaded, verified; no finding is left."""
    configure(host, responder, "lax")
    with host.server() as server, host.agent() as agent:
        wait_until(lambda: status(host) == "good", "the responder says good")
        before, key = server.served(), (host.certs / "node.key").read_bytes()
        responder.say(serial(host), "revoked")
        assert "keyCompromise" in agent.wait_event("pair.revoked")["reason"]
        agent.wait_event("reload.proven")
        assert server.served() == host.file("node")["fingerprint"] != before
        assert (host.certs / "node.key").read_bytes() != key
        wait_until(lambda: "ocsp.unknown" in host.codes(), "the responder does not know the new one yet")
        responder.say(serial(host), "good")
        wait_until(lambda: status(host) == "good", "it does now")
        assert not {c for c in host.codes() if c.startswith("ocsp.")}


def test_strict_waits_for_the_responder(host: Host, responder: OpensslOcsp) -> None:
    """In strict, a new certificate that its responder does not know would lock the node out: the old one stays.

    One that it calls revoked is refused by the pre-install checks; one that it calls good goes in.
    """
    configure(host, responder, "strict")
    with host.agent() as agent:
        wait_until(lambda: status(host) == "good", "the responder says good")
        host.run("renew", "node", "--wait", "0.1")
        wait_until(lambda: "ocsp.unknown" in host.codes(), "the new one is not known")
        live, first = serial(host), serial(host, STAGED)
        responder.say(first, "revoked")
        assert "revoked" in agent.wait_event("pair.refused")["reason"]
        assert live == serial(host)
        host.run("renew", "node", "--force", "--wait", "0.1")
        wait_until((host.certs / STAGED).exists, "another one is asked for")
        responder.say(serial(host, STAGED), "good")
        agent.wait_event("pair.installed")
        assert serial(host) not in {live, first}


def test_ocsp_silent_responder_delays_nothing(host: Host, responder: OpensslOcsp) -> None:
    """A responder that never answers is critical in strict; meanwhile modes are repaired and pairs issued as ever."""
    responder.running.stop()
    with socket.create_server(("127.0.0.1", responder.port)):
        configure(host, responder, "strict")
        with host.agent() as agent:
            (host.certs / "node.key").chmod(0o644)
            agent.wait_event("mode.repaired")
            (host.certs / "node.key").unlink()
            agent.wait_event("issue.succeeded")
            agent.wait_event("pair.installed")
            found = agent.wait_event("finding.appeared", lambda e: e["code"] == "ocsp.unreachable")
            assert (found["severity"], found["level"]) == ("critical", "error")
            assert "no answer in time" in found["reason"]


def test_ocsp_silent_responder_does_not_delay_shutdown(host: Host, responder: OpensslOcsp) -> None:
    """One that may take five minutes is being asked when the agent is told to stop: it stops without a delay."""
    responder.running.stop()
    with socket.create_server(("127.0.0.1", responder.port)) as silent:
        configure(host, responder, "strict")
        host.config.write_text(host.config.read_text().replace('mode = "strict"', 'mode = "strict"\ntimeout = "5m"'))
        with host.agent() as agent:
            asking, _ = silent.accept()
            begun = time.monotonic()
            assert agent.stop() == 0
            assert time.monotonic() - begun < 60, "the responder may take five minutes"
            asking.close()


def test_revoked_at_openbao_is_replaced(host: Host) -> None:
    """Issued by OpenBao, revoked there, replaced by it under strict, verified; `advise` says so before and after.

    A responder that knows the certificates of its CA delays nothing.
    """
    (host.base / "bao").mkdir()
    with OpenBao(host.base / "bao") as bao:
        (host.base / "token").write_text(bao.token)
        (host.base / "token").chmod(0o600)
        table = (
            f"[authority.pki]\ntype = 'vault'\nurl = '{bao.url}'\ntls_roots = '{bao.ca}'\nrole = 'node'\nauth = 'token'"
        )
        pinned = f"token = '{host.base}/token'\nissuing_fingerprints = ['{fingerprint(bao.root.encode())}']"
        host.write(
            house=f"{table}\n{pinned}", extra=RULE.format(mode="strict") + "allow_private = true\n", authority='"pki"'
        )
        host.once()
        with host.server() as server, host.agent() as agent:
            wait_until(lambda: status(host) == "good", "the responder says good")
            assert advice(host) == (0, {"passes"})
            told = ask(f"{host.base}/control.sock", "advise-ocsp", {}, 60)
            assert told["document"]["safety"] == "safe"
            before, key = server.served(), (host.certs / "node.key").read_bytes()
            bao.revoke(serial(host))
            agent.wait_event("pair.revoked")
            agent.wait_event("reload.proven")
            assert server.served() == host.file("node")["fingerprint"] != before
            assert (host.certs / "node.key").read_bytes() != key
            wait_until(lambda: status(host) == "good", "the responder knows the new one")
            assert agent.events("pair.refused") == []
            assert host.run("advise", "ocsp", "--certs-dir", str(host.certs)).returncode == 0
    assert advice(host) == (2, {"fails"})  # no daemon, no responder, and the cluster is strict
    assert host.run("advise", "ocsp", "--certs-dir", str(host.base / "none")).returncode == 64


def advice(host: Host) -> tuple[int, set[str]]:
    """The exit code of `advise ocsp`, and what would become of the certificates in strict."""
    made = host.run("advise", "ocsp", "--json")
    rows = [row for d in json.loads(made.stdout)["certs_dirs"] for row in d["certificates"]]
    assert {r["file"] for r in rows} == {"node.crt", "client.root.crt"}
    return made.returncode, {row["strict"] for row in rows}
