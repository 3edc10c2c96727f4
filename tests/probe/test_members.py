"""A look at a member: what it accepts, refuses with an alert, or leaves open, whatever it sends and at any pace."""

import base64
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certagent import x509
from certagent.probe.asking import SILENT
from certagent.probe.looking import said
from certagent.probe.members import Seen, look, seen_of
from tests.making import Ca, make_ca
from tests.probe.test_probe import server

ANSWER: dict[str, Any] = {
    "outcome": "accepted",
    "reason": "",
    "chain": [base64.b64encode(b"der").decode()],
    "ca_ends": 7,
}
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
Talk = Callable[[socket.socket], None]


@cache
def cas() -> tuple[Ca, Ca]:
    """The root that members know, and a new one."""
    return make_ca("known"), make_ca("new")


def context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, bundle: bytes = b"") -> ssl.SSLContext:
    """A member's side of TLS: it verifies a client's certificate by its bundle."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with x509.memory_file(*cas()[0].pair()) as path:
        found.load_cert_chain(path)
    found.load_verify_locations(cadata=(bundle or cas()[0].cert).decode())
    found.verify_mode, found.maximum_version = ssl.CERT_OPTIONAL, version
    return found


def pgwire(talk: Callable[[ssl.SSLSocket], None], version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Talk:
    """A member that talks so after the handshake."""

    def serve(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(b"S")
        with context(version).wrap_socket(connection, server_side=True) as tls:
            talk(tls)

    return serve


def answering(tls: ssl.SSLSocket) -> None:
    """As any server: the start-up message has an answer."""
    tls.recv(1 << 10)
    tls.sendall(b"E\0\0\0\x05\0")


def seen(talk: Talk, ca: Ca | None = None, timeout: float = 60.0) -> Seen:
    """A look at a member that talks so, with a pair of a CA."""
    with server(talk) as port, x509.memory_file(*(ca or cas()[0]).pair()) as path:
        return look("127.0.0.1", port, path, timeout)


@pytest.mark.parametrize("version", VERSIONS)
def test_member_that_knows_the_root_accepts(version: ssl.TLSVersion) -> None:
    """The chain that it serves is told of, the leaf first."""
    found = seen(pgwire(answering, version))
    assert (found.outcome, found.reason) == ("accepted", "")
    leaf = x509.parse_certificates(ssl.DER_cert_to_PEM_cert(found.chain[0]).encode())[0]
    assert leaf.issuer == "CN=known,O=Cockroach"


@pytest.mark.parametrize("version", VERSIONS)
def test_member_that_does_not_know_the_root_refuses_with_its_alert(version: ssl.TLSVersion) -> None:
    """Under TLS 1.3 the alert comes after the handshake: the one read that follows shows it."""
    found = seen(pgwire(answering, version), cas()[1])
    assert found.outcome == "refused"
    assert found.reason == 'alert "unknown CA": its trust bundle does not verify this certificate'


def rpc(version: ssl.TLSVersion) -> Talk:
    """A node whose SQL port is another one: it speaks TLS from the first byte, and HTTP/2 in it."""

    def serve(connection: socket.socket) -> None:
        if connection.recv(1, socket.MSG_PEEK) != b"\x16":
            return
        tls = context(version)
        tls.set_alpn_protocols(["h2"])
        with tls.wrap_socket(connection, server_side=True) as spoken:
            if spoken.selected_alpn_protocol() == "h2" and spoken.recv(1 << 10).startswith(b"PRI * HTTP/2.0"):
                spoken.sendall(b"\0\0\0\4\0\0\0\0\0")

    return serve


@pytest.mark.parametrize("version", VERSIONS)
def test_member_is_looked_at_on_a_port_for_rpc_alone(version: ssl.TLSVersion) -> None:
    """As another node dials it: accepted or refused as on a port that speaks pgwire."""
    accepted, refused = seen(rpc(version)), seen(rpc(version), cas()[1])
    assert (accepted.outcome, accepted.reason, bool(accepted.chain)) == ("accepted", "", True)
    assert (refused.outcome, refused.reason[:18]) == ("refused", 'alert "unknown CA"')


def closed(tls: ssl.SSLSocket) -> None:
    tls.recv(1 << 10)


def aborted(tls: ssl.SSLSocket) -> None:
    tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    tls.close()


def careless(connection: socket.socket) -> None:
    """A proxy that ends TLS itself, and asks nobody for a certificate."""
    connection.recv(8)
    connection.sendall(b"S")
    found = context()
    found.verify_mode = ssl.CERT_NONE
    with found.wrap_socket(connection, server_side=True) as tls:
        answering(tls)


SILENCE: dict[str, tuple[Talk, str]] = {
    "closes at once": (lambda _: None, "the port speaks neither pgwire nor TLS"),
    "refuses TLS": (lambda c: c.sendall(b"N"), "the port speaks neither pgwire nor TLS"),
    "speaks something else": (
        lambda c: c.sendall(b"SSH-2.0-x\r\n") or c.recv(1 << 10),
        "TLS failed: wrong version number",
    ),
    "closes within the handshake": (lambda c: c.sendall(b"S"), ""),
    "closes after the handshake": (pgwire(closed), "it closed the connection after the handshake, without an alert"),
    "aborts after the handshake": (pgwire(aborted), ""),
    "asks for no certificate": (careless, "it asks clients for no certificate: this is no node, but perhaps a proxy"),
}


@pytest.mark.parametrize("how", SILENCE)
def test_member_that_breaks_off_without_an_alert_says_nothing(how: str) -> None:
    """It may be a proxy, or a server that just ends: neither is a refusal of the pair."""
    talk, reason = SILENCE[how]
    found = seen(talk)
    assert (found.outcome, bool(found.reason)) == ("silent", True)
    assert not reason or found.reason == reason


def test_closed_port_says_nothing() -> None:
    """No connection: nothing is known."""
    with socket.socket() as taken, x509.memory_file(*cas()[0].pair()) as path:
        taken.bind(("127.0.0.1", 0))  # nobody else can listen there
        found = look("127.0.0.1", taken.getsockname()[1], path)
    assert (found.outcome, found.reason, found.chain) == ("silent", "Connection refused", ())


@contextmanager
def dripping(first: bytes) -> Iterator[tuple[Talk, threading.Event]]:
    """A member that sends a byte again and again, for ever, until it is left; then the event is set."""
    left = threading.Event()

    def talk(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.recv(8)
            connection.sendall(first)
            while not left.wait(0.02):
                connection.sendall(b"\x16")
        left.set()

    try:
        yield talk, left
    finally:
        left.set()


@pytest.mark.parametrize("first", [b"S\x16\x03\x03\x40\x00", b""])
def test_look_has_one_deadline_however_often_a_byte_arrives(first: bytes) -> None:
    """A member that drips its handshake, or instead of one, is left at the deadline."""
    with dripping(first) as (talk, _):
        begun = time.monotonic()
        found = seen(talk, timeout=1.0)
    assert found.outcome == "silent"
    assert time.monotonic() - begun < 60


def test_member_that_never_answers_says_nothing() -> None:
    """A connection that is taken and never answered ends at the deadline; so does one that is silent after TLS."""
    ended = threading.Event()
    try:
        for talk in (lambda _: ended.wait(), pgwire(lambda _: ended.wait() and None)):
            found = seen(talk, timeout=1.0)
            assert (found.outcome, found.reason) == ("silent", "no answer in time")
    finally:
        ended.set()


def test_member_is_looked_at_over_ipv6() -> None:
    """The host is an address of IPv6."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        threading.Thread(target=lambda: pgwire(answering)(listener.accept()[0]), daemon=True).start()
        with x509.memory_file(*cas()[0].pair()) as path:
            found = look("::1", listener.getsockname()[1], path, 60.0)
    assert found.outcome == "accepted"


def test_name_that_nobody_knows_says_nothing() -> None:
    """A name that has no address is no member that could be asked."""
    with x509.memory_file(*cas()[0].pair()) as path:
        found = look("nobody.invalid", 26257, path)
    assert (found.outcome, bool(found.reason)) == ("silent", True)


def test_pair_that_cannot_be_offered_says_nothing() -> None:
    """A certificate with the key of another one: the member is not asked."""
    cert, _ = cas()[0].pair()
    _, key = cas()[0].pair()
    with server(pgwire(answering)) as port, x509.memory_file(cert, key) as path:
        found = look("127.0.0.1", port, path)
    assert (found.outcome, found.reason.startswith("this pair cannot be offered: ")) == ("silent", True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"outcome": "served"},
        {"outcome": []},
        {"reason": 5},
        {"chain": ["x"]},
        {"chain": [5]},
        {"chain": 5},
        {"ca_ends": -1},
        {"ca_ends": 1 << 40},
        {"ca_ends": "7"},
    ],
)
def test_look_of_a_child_is_not_trusted(wrong: dict[str, Any]) -> None:
    """A field that is not what it may be: there is no answer then."""
    assert seen_of(json.dumps(ANSWER).encode()) == Seen(outcome="accepted", chain=(b"der",), ca_ends=7)
    assert seen_of(json.dumps(ANSWER | wrong).encode()) == Seen(outcome="silent", reason=SILENT)


@given(st.binary(max_size=200))
def test_look_of_any_bytes(data: bytes) -> None:
    """Nothing that a child prints raises."""
    assert seen_of(data).outcome == "silent"


def test_alerts_are_said_in_plain_words() -> None:
    """Those about certificates with what they mean, others by their names; without an alert TLS itself failed."""
    assert said("SSLV3_ALERT_BAD_CERTIFICATE") == 'alert "bad certificate": it does not accept this certificate'
    assert said("TLSV1_ALERT_INTERNAL_ERROR") == 'alert "internal error"'
    assert said("WRONG_VERSION_NUMBER") == "TLS failed: wrong version number"
