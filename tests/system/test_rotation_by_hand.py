"""A CA is rotated by hand in the right order under a stream of connections: nothing fails, nothing is assumed."""

import pytest

from certagent.demo.stream import Stream
from tests.making import make_ca
from tests.system.running import Host
from tests.system.test_gate import blocked
from tests.system.test_none import deployed, pair, put, replace, served
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def proof(host: Host, stem: str = "ca") -> str:
    return str(host.file(stem)["proof"])


@pytest.mark.parametrize("knows", [False, True], ids=["names", "last_rotation"])
def test_root_of_same_subject_rotation_by_hand(host: Host, *, knows: bool) -> None:
    """As `cockroach cert create-ca` makes them. The bundle is `sent` until a pair of the new root is accepted.

    A server that says when it last loaded each file (cockroach 26.3) proves it at once. No step of the right order is
    blocked, the early end of it is.
    """
    old, new = deployed(host), make_ca("somebody's CA")
    both, roots = new.cert + old.cert, host.base / "roots.pem"
    roots.write_bytes(both)
    client = (host.base / "c.crt", host.base / "c.key")
    for path, data in zip(client, pair(old, "client.root"), strict=True):
        path.write_bytes(data)
    environ = {"STANDIN_ROTATIONS": "1"} if knows else {}
    with host.server(environ=environ) as cockroach, host.agent() as agent:
        served(host, cockroach)
        stream = Stream(cockroach, str(roots), (str(client[0]), str(client[1])))
        try:
            put(host.certs, "ca.crt", both)
            agent.wait_event("reload.proven")
            expected = "metric" if knows else "sent"
            wait_until(lambda: proof(host) == expected, lambda: f"the new bundle is loaded: {proof(host)}")
            put(host.certs, "ca.crt", new.cert)  # too early: node.crt and client.root.crt still need the old root
            wait_until(lambda: blocked(host), "blocked")
            put(host.certs, "ca.crt", both)
            replace(host.certs, "client.root", pair(new, "client.root"))
            wait_until(lambda: not blocked(host) and proof(host, "client.root") == "accepted", "accepted")
            wait_until(lambda: proof(host) in {"handshake", expected} - {"sent"}, lambda: proof(host))
            replace(host.certs, "node", pair(new))
            served(host, cockroach)
            agent.wait_event("reload.proven", count=2)
        finally:
            stream.stop()
        assert (stream.failures, stream.connections > 0, blocked(host)) == ([], True, [])
        put(host.certs, "ca.crt", new.cert)
        agent.wait_event("reload.proven", count=3)
        wait_until(lambda: proof(host) == expected, lambda: proof(host))


def test_root_of_same_subject_at_deaf_server_is_not_verified(host: Host) -> None:
    """The server ignores the SIGHUP. It names the same CA as before, which proves nothing: the bundle is at most sent.

    A pair of the new root is refused then, which is a finding, and no connection of the others fails.
    """
    old, new = deployed(host), make_ca("somebody's CA")
    roots, client = host.base / "roots.pem", (host.base / "c.crt", host.base / "c.key")
    roots.write_bytes(old.cert)
    for path, data in zip(client, pair(old, "client.root"), strict=True):
        path.write_bytes(data)
    with host.server(environ={"STANDIN_DEAF": "1"}) as cockroach, host.agent() as agent:
        served(host, cockroach)
        stream = Stream(cockroach, str(roots), (str(client[0]), str(client[1])))
        try:
            put(host.certs, "ca.crt", new.cert + old.cert)
            agent.wait_event("reload.sent")
            wait_until(lambda: proof(host) in {"sent", "pending"}, lambda: proof(host))  # of the new bundle
            replace(host.certs, "client.root", pair(new, "client.root"))
            wait_until(lambda: "cert.untrusted" in host.codes(), "the server refuses it")
            assert (proof(host) in {"sent", "pending"}, proof(host, "client.root")) == (True, "pending")
        finally:
            stream.stop()
    assert (stream.failures, stream.connections > 0) == ([], True)


def test_login_refused_after_valid_tls_is_finding(host: Host) -> None:
    """A user without the privilege: it is not called `accepted`, and the finding names the log-in.

    Of a pair of another user the certificate is at fault. That is the one finding, and it is not `accepted` either.
    """
    ca = deployed(host)
    with host.server(environ={"STANDIN_NO_LOGIN": "root"}) as cockroach, host.agent():
        served(host, cockroach)
        wait_until(lambda: "login.refused" in host.codes(), "a finding")
        assert proof(host, "client.root") == "pending"
        replace(host.certs, "client.root", pair(ca, "client.app"))
        wait_until(lambda: {"login.refused", "cert.principal"} & set(host.codes()) == {"cert.principal"}, "one finding")
        assert proof(host, "client.root") == "pending"


def test_rollback_after_old_root_was_dropped_is_refused(host: Host) -> None:
    """The root of the previous generation is in no bundle any more: refused with the reason, and nothing changes."""
    host.once()
    new = make_ca("the next CA")
    old = (host.certs / "ca.crt").read_bytes()
    roots = host.base / "roots.pem"
    roots.write_bytes(new.cert + old)
    with host.server() as cockroach, host.agent() as agent:
        served(host, cockroach)
        assert host.run("renew", "node").returncode == 0  # the pair before it is kept
        put(host.certs, "ca.crt", new.cert + old)
        agent.wait_event("reload.proven", count=2)
        for stem in ("client.root", "node"):
            replace(host.certs, stem, pair(new, stem))
        served(host, cockroach)
        agent.wait_event("reload.proven", count=3)
        put(host.certs, "ca.crt", new.cert)
        agent.wait_event("reload.proven", count=4)
        signals, now = len(agent.events("reload.sent")), cockroach.served()
        stream = Stream(cockroach, str(roots))
        try:
            done = host.run("rollback", "node")
        finally:
            stream.stop()
        assert (done.returncode, "trusted by ca.crt" in done.stderr + done.stdout) == (1, True), done
        assert (len(agent.events("reload.sent")), cockroach.served(), stream.failures) == (signals, now, [])
