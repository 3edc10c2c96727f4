"""What another tool puts there by mistake is never signalled: the process goes on, and clients see nothing of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from certagent import x509
from certagent.demo.stream import Stream
from tests.making import DAY, Ca, make_ca
from tests.system.running import Host
from tests.system.test_none import deployed, hups, pair, put, replace, served
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
Mistake = Callable[[Path, Ca], None]


def of_another_ca(certs: Path, _: Ca) -> None:
    """`none`: another tool puts a leaf of a root that no bundle knows."""
    replace(certs, "node", pair(make_ca("another CA")))


def of_a_server_alone(certs: Path, ca: Ca) -> None:
    """A dual-purpose node.crt without clientAuth: every RPC to another node would fail."""
    key = x509.generate_key("ecdsa-p256")
    csr = x509.make_csr(key, "node", ("localhost", "127.0.0.1"))
    cert = x509.sign_csr(
        csr, ca.cert, ca.key, server=True, client=False, not_before=ca.at - DAY, not_after=ca.at + 30 * DAY
    )
    replace(certs, "node", (cert, key))


def expired(certs: Path, ca: Ca) -> None:
    """A backup of last year."""
    key = x509.generate_key("ecdsa-p256")
    csr = x509.make_csr(key, "node", ("localhost", "127.0.0.1"))
    begin, end = ca.at - DAY, ca.at - DAY / 2
    cert = x509.sign_csr(csr, ca.cert, ca.key, server=True, client=True, not_before=begin, not_after=end)
    replace(certs, "node", (cert, key))


def an_unrelated_bundle(certs: Path, _: Ca) -> None:
    """ca.crt replaced by the new root on one host, as when a self-signer runs again (of the same subject)."""
    put(certs, "ca.crt", make_ca("somebody's CA").cert)


def everything_of_another_ca(certs: Path, _: Ca) -> None:
    """A self-signer that ran again replaced bundle and pair: consistent here, and cut off from every other host."""
    other = make_ca("somebody's CA")
    put(certs, "ca.crt", other.cert)
    replace(certs, "node", pair(other))


def a_bundle_of_headers(certs: Path, ca: Ca) -> None:
    """Every block of ca.crt has PEM headers: Go makes no pool of it."""
    put(certs, "ca.crt", ca.cert.replace(b"CERTIFICATE-----\n", b"CERTIFICATE-----\nComment: house\n\n", 1))


def a_key_with_a_byte_order_mark(certs: Path, ca: Ca) -> None:
    """An editor's: Go finds no PEM in it."""
    cert, key = pair(ca)
    replace(certs, "node", (cert, b"\xef\xbb\xbf" + key))


def a_tenant_without_a_number(certs: Path, ca: Ca) -> None:
    """client-tenant.foo.crt: cockroach refuses the whole directory."""
    replace(certs, "client-tenant.foo", ca.pair("client.foo"))
    replace(certs, "node", pair(ca))


MISTAKES: tuple[Mistake, ...] = (
    of_another_ca,
    of_a_server_alone,
    expired,
    an_unrelated_bundle,
    everything_of_another_ca,
    a_bundle_of_headers,
    a_key_with_a_byte_order_mark,
    a_tenant_without_a_number,
)


def blocked(host: Host) -> list[str]:
    """The critical findings that say why no reload comes."""
    found = [f for d in host.status()["certs_dirs"] for f in d["findings"] if f["code"] == "served.stale"]
    return [f["message"] for f in found if f["severity"] == "critical" and "reload blocked" in f["message"]]


def undone(certs: Path, before: dict[str, bytes]) -> None:
    """The tool, or a person, puts back what was there."""
    for path in (*certs.glob("*.crt"), *certs.glob("*.key")):
        if path.name not in before:
            path.unlink()
    for name, data in before.items():
        put(certs, name, data)


def test_reload_after_mistakes_of_another_tool_is_blocked(host: Host) -> None:
    """One mistake after the other under a stream of connections: no SIGHUP, no failed handshake, a critical finding.

    A command is refused, and the agent that is started again in between has forgotten nothing.
    """
    ca = deployed(host)
    before: dict[str, bytes] = {}
    roots, client = host.base / "roots.pem", (host.base / "c.crt", host.base / "c.key")
    roots.write_bytes(ca.cert)
    for path, data in zip(client, pair(ca, "client.root"), strict=True):
        path.write_bytes(data)
    with host.server() as cockroach:
        stream = Stream(cockroach, str(roots), (str(client[0]), str(client[1])))
        try:
            with host.agent() as agent:
                served(host, cockroach)
                replace(host.certs, "node", pair(ca))
                agent.wait_event("reload.proven")
                before = {p.name: p.read_bytes() for p in host.certs.iterdir() if p.is_file()}
                for mistake in MISTAKES[:4]:
                    _blocked_and_undone(host, mistake, ca, before)
                assert hups(agent) == 1
            with host.agent() as agent:
                for mistake in MISTAKES[4:]:
                    _blocked_and_undone(host, mistake, ca, before)
                of_another_ca(host.certs, ca)
                wait_until(lambda: blocked(host), "blocked")
                asked = host.run("reload", "--wait", "20")
                assert (asked.returncode, "not trusted by ca.crt" in asked.stdout) == (1, True), asked.stdout
                assert hups(agent) == 0
        finally:
            stream.stop()
    assert (stream.failures, stream.connections > 0) == ([], True)


def _blocked_and_undone(host: Host, mistake: Mistake, ca: Ca, before: dict[str, bytes]) -> None:
    mistake(host.certs, ca)
    wait_until(lambda: blocked(host), lambda: f"{mistake.__name__}: {_said(host)}")
    assert all("under way" not in f["remedy"] for d in host.status()["certs_dirs"] for f in d["findings"])
    undone(host.certs, before)
    wait_until(lambda: not _said(host), lambda: f"{mistake.__name__} undone: {_said(host)}")


def _said(host: Host) -> list[Any]:
    return [f for d in host.status()["certs_dirs"] for f in d["findings"] if f["severity"] == "critical"]


def test_reload_by_first_agent_after_mistake_is_blocked(host: Host) -> None:
    """A self-signer replaced everything while cockroach ran and no agent did: the first agent has no record of before.

    The names of the CAs are the same. A root that was added in that time is loaded, and nothing says more than that.
    """
    ca = deployed(host)
    before = {p.name: p.read_bytes() for p in host.certs.iterdir() if p.is_file()}
    roots, client = host.base / "roots.pem", (host.base / "c.crt", host.base / "c.key")
    roots.write_bytes(ca.cert)
    for path, data in zip(client, pair(ca, "client.root"), strict=True):
        path.write_bytes(data)
    with host.server() as cockroach:
        stream = Stream(cockroach, str(roots), (str(client[0]), str(client[1])))
        try:
            other = make_ca("somebody's CA")
            put(host.certs, "ca.crt", other.cert)
            for stem in ("node", "client.root"):
                replace(host.certs, stem, pair(other, stem))
            with host.agent() as agent:
                wait_until(lambda: blocked(host), "blocked")
                assert hups(agent) == 0
                undone(host.certs, before)
                put(host.certs, "ca.crt", make_ca("somebody's CA").cert + ca.cert)
                wait_until(lambda: host.file("ca")["proof"] == "sent", "the added root is loaded")
                assert (hups(agent), blocked(host)) == (1, [])
        finally:
            stream.stop()
    assert (stream.failures, stream.connections > 0) == ([], True)
