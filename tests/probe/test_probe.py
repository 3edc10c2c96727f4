"""What a server may send to a probe: any bytes, any number of them, at any pace."""

import json
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certagent import x509
from certagent.probe import asking, metrics, pgwire
from certagent.probe.asking import Offer, Prober, outcome_of, probe
from certagent.probe.exchange import Kind, login_in
from certagent.probe.metrics import Metrics, metrics_in
from certagent.probe.wire import Wire
from tests.making import Ca, make_ca

CERTS: list[Ca] = []
NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAME = b"security_certificate_expiration_node_client"
ANSWER: dict[str, Any] = {
    "outcome": "served",
    "fingerprint": "a" * 64,
    "reason": "",
    "metrics": [7, [["node", 8]], [26, 3], 5, 6],
    "login": [False, "", ""],
    "way": "http",
    "client_cas": ["b" * 64],
}


def unbounded(pattern: Any) -> bool:
    """Whether a parsed pattern has a quantifier without an upper bound, however deep."""
    if isinstance(pattern, tuple | list | parser.SubPattern):
        return any(unbounded(part) for part in pattern)
    return pattern is parser.MAXREPEAT


@pytest.mark.parametrize("module", [metrics, pgwire, asking])
def test_probe_patterns_have_bounds(module: Any) -> None:
    """No pattern that reads an answer may run from each byte to the end of it."""
    found = [value for value in vars(module).values() if isinstance(value, re.Pattern)]
    assert [p.pattern for p in found if unbounded(parser.parse(p.pattern))] == []
    assert unbounded(parser.parse(r"a(?:\{[^}]*\})?"))


def steps(work: Callable[[], object]) -> int:
    """How many lines of Python some work takes."""
    count = 0

    def tracing(_frame: Any, _event: str, _argument: Any) -> Any:
        nonlocal count
        count += 1
        return tracing

    before = sys.gettrace()
    sys.settrace(tracing)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


HOSTILE = {
    "open braces": lambda n: (NAME + b"{") * n,
    "a line of open braces each": lambda n: (NAME + b"{\n") * n,
    "nested": lambda n: NAME + b"{" * n,
    "rotations": lambda n: b'security_certificate_last_rotation_a{x="1"} 1\n' * n,
    "tags": lambda n: b"build_timestamp{" + b'tag="v1' * n + b"} 1\n",
    "empty lines": lambda n: b"\n" * n,
}


@pytest.mark.parametrize("shape", HOSTILE)
def test_probe_metrics_take_steps_in_proportion(shape: str) -> None:
    """Twice as many bytes take at most twice as many steps."""
    few, many = (HOSTILE[shape](n) for n in (500, 1000))
    assert steps(lambda: metrics_in(many)) <= 2 * steps(lambda: metrics_in(few)) + 50


def test_probe_metrics_of_eight_mebibytes_end() -> None:
    """The text that took 35 minutes: a name and an open brace again and again."""
    assert metrics_in((NAME + b"{") * ((8 << 20) // (len(NAME) + 1))) == Metrics()


def test_probe_metrics_say_when_the_first_ca_ends() -> None:
    """Of `ca.crt` alone, not of the bundles of clients."""
    text = b'security_certificate_expiration_ca{node_id="1"} 2.5e+09\nsecurity_certificate_expiration_ca_x 7\n'
    other = b'security_certificate_expiration_client_ca{node_id="1"} 9\n'
    assert metrics_in(other + text) == Metrics(ca_ends=2_500_000_000)


@pytest.mark.parametrize(
    ("text", "live"),
    [
        (b'liveness_livenodes{node_id="1"} 3\n', 3),
        (b'liveness_livenodes{node_id="1",tenant="system"} 3.0\nliveness_livenodes{node_id="1",tenant="x"} 4\n', 3),
        (b"liveness_livenodes 12\n", 12),
        (b'liveness_livenodes{node_id="1"} 0\n', 0),
        (b'liveness_livenodes{node_id="1"} 2e+06\n', None),
        (b'liveness_livenodes{node_id="1"} many\n', None),
        (b'liveness_livenodes_total{node_id="1"} 3\n', None),
        (b"# TYPE liveness_livenodes gauge\n", None),
        (b"", None),
    ],
)
def test_probe_metrics_say_how_many_nodes_are_live(text: bytes, live: int | None) -> None:
    """The gauge of that very name; a node that is not live itself says 0, and one that says nothing is not known."""
    assert metrics_in(text) == Metrics(live=live)


@given(st.binary(max_size=300), st.integers(0, 20))
def test_probe_metrics_of_any_bytes(data: bytes, times: int) -> None:
    """Whatever a server sends, what is read of it is what the fact may hold."""
    for text in (data * times, b"\n".join([NAME + data, b"security_certificate_last_rotation_" + data] * times)):
        found = metrics_in(text)
        assert 0 <= found.expiry < metrics.LAST_MOMENT
        assert len(found.rotations) <= metrics.MOST_ROTATIONS


@given(st.binary(max_size=200), st.binary(max_size=1))
def test_probe_login_of_any_bytes(body: bytes, kind: bytes) -> None:
    """Any answer to a start-up message is a log-in that was granted, refused, or neither."""
    assert login_in(kind, body).sqlstate in {"", "28000"}


class Fed(Wire):
    """A connection from which these bytes arrive, in pieces of so many."""

    def __init__(self, data: bytes, piece: int) -> None:
        """Nothing is connected."""
        self.data, self.piece = data, piece

    def some(self, most: int) -> bytes:
        """The next piece."""
        size = min(most, self.piece)
        part, self.data = self.data[:size], self.data[size:]
        return part


@given(st.binary(max_size=400), st.integers(1, 400))
def test_probe_first_flight_of_any_bytes(data: bytes, piece: int) -> None:
    """Whatever arrives instead of a TLS flight ends in messages, or in the two errors that are handled."""
    with suppress(struct.error, OSError):
        for _kind, body in pgwire.messages(Fed(data, piece)):
            with suppress(struct.error):
                pgwire.names_in(body)


def test_probe_first_flight_takes_steps_in_proportion() -> None:
    """Empty messages by the thousand, in one record each time: twice as many, twice the steps."""

    def flight(n: int) -> bytes:
        return struct.pack("!BHH", 22, 0x303, 4 * n) + b"\0\0\0\0" * n

    def read(n: int) -> Callable[[], object]:
        def work() -> None:
            with suppress(struct.error):
                list(pgwire.messages(Fed(flight(n), 1 << 16)))

        return work

    assert steps(read(1000)) <= 2 * steps(read(500)) + 50


@contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port at which each connection is talked to so."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection = listener.accept()[0]
                threading.Thread(target=talking, args=(connection,), daemon=True).start()

    def talking(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            talk(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def ca() -> Ca:
    """One for all tests of this file."""
    if not CERTS:
        CERTS.append(make_ca())
    return CERTS[0]


def wrapped(connection: socket.socket) -> ssl.SSLSocket:
    """The server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with x509.memory_file(*ca().pair()) as path:
        context.load_cert_chain(path)
    return context.wrap_socket(connection, server_side=True)


def asked(port: int, kind: Kind = "http", timeout: float = 5.0, offer: Offer | None = None) -> Any:
    """A probe of a port of this host."""
    return probe("127.0.0.1", port, kind, "1:1", NOW, offer, timeout)


def test_probe_of_hostile_metrics_is_answered() -> None:
    """Megabytes of open braces delay nobody: the port is seen to serve, and tells nothing."""

    def talk(connection: socket.socket) -> None:
        with wrapped(connection) as tls:
            tls.recv(1 << 12)
            tls.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + (NAME + b"{") * 50_000)

    with server(talk) as port:
        found = asked(port)
    assert (found.outcome, found.node_client_expiry, found.rotations) == ("served", 0, ())


def test_probe_has_one_deadline_however_often_a_byte_arrives() -> None:
    """A server that drips metrics for ever is left at the deadline, although no read of it waits long."""
    ended = threading.Event()

    def talk(connection: socket.socket) -> None:
        try:
            with wrapped(connection) as tls:
                while True:
                    tls.sendall(b"x")
                    ended.wait(0.01)
        finally:
            ended.set()

    with server(talk) as port:
        found = asked(port, timeout=1.0)
        assert ended.wait(20)
    assert found.outcome == "served"


def test_probe_of_a_silent_first_flight_tells_no_names() -> None:
    """A SQL port that drips its first flight in clear text: its certificate counts, its names of CAs are unknown."""
    first = threading.Lock()

    def talk(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(b"S")
        if first.acquire(blocking=False):
            wrapped(connection).recv(1)
            return
        for _ in range(1000):
            connection.sendall(b"\x16")
            threading.Event().wait(0.01)

    with server(talk) as port:
        begun = time.monotonic()
        found = asked(port, "sql", timeout=1.0)
    assert (found.outcome, found.client_cas) == ("served", ())
    assert time.monotonic() - begun < 60


def test_probe_child_offers_the_pair_that_it_is_handed() -> None:
    """The client pair arrives by a descriptor; the server sees exactly that certificate."""
    cert, key = ca().pair("client.root")
    seen: list[bytes | None] = []

    def talk(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(b"S")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with x509.memory_file(*ca().pair()) as path:
            context.load_cert_chain(path)
        context.load_verify_locations(cadata=ca().cert.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        with context.wrap_socket(connection, server_side=True) as tls:
            seen.append(tls.getpeercert(True))
            tls.recv(1 << 10)
            tls.sendall(b"R" + struct.pack("!II", 8, 0))

    with server(talk) as port, x509.memory_file(cert, key) as path:
        found = asked(port, "sql", offer=Offer(stem="client.root", fingerprint="f", path=path))
    assert seen == [ssl.PEM_cert_to_DER_cert(cert.decode())]
    assert (found.outcome, found.only_tls, found.client, found.client_fingerprint) == (
        "served",
        False,
        "client.root",
        "f",
    )


def statuses() -> list[dict[str, str]]:
    """What the kernel says of each process that probes, and of its children."""
    pids = subprocess.run(["pgrep", "-f", "certagent.sandbox.forking"], capture_output=True, text=True, check=True)
    found = []
    for pid in pids.stdout.split():
        with suppress(OSError), open(f"/proc/{pid}/status", encoding="utf-8") as file:
            found.append(dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line))
    return found


def test_probe_child_is_confined_before_it_reads_an_answer() -> None:
    """While a server has not answered, the child that waits for it has a filter of system calls and no new rights."""
    seen: list[list[dict[str, str]]] = []

    def talk(connection: socket.socket) -> None:
        connection.recv(1)
        seen.append(statuses())

    with server(talk) as port:
        asked(port)
    parents = {row["Pid"] for row in seen[0] if row["PPid"] == str(os.getpid())}
    children = [row for row in seen[0] if row["PPid"] in parents]
    assert [(row["Seccomp"], row["NoNewPrivs"], row["CapEff"]) for row in children] == [("2", "1", "0" * 16)]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_probe_process_of_root_has_the_worker_user() -> None:
    """Root's probes run as the user of the workers, and as no other one: in a real, effective and saved uid."""
    prober = Prober(lambda: (64001, 64002))
    seen: list[list[dict[str, str]]] = []

    def talk(connection: socket.socket) -> None:
        connection.recv(1)
        seen.append(statuses())

    try:
        with server(talk) as port:
            prober.ask({"host": "127.0.0.1", "port": port, "kind": "sql", "user": "", "timeout": 5.0}, "", 20)
    finally:
        prober.end()
    ours = {(row["Uid"], row["Gid"], row["Groups"].strip()) for row in seen[0] if row["Uid"].startswith("64001")}
    assert ours == {("\t".join(["64001"] * 4), "\t".join(["64002"] * 4), "")}


def test_probe_process_that_was_killed_is_started_again() -> None:
    """A question after its end is answered by another one."""
    prober = Prober()
    question = {"host": "127.0.0.1", "port": 1, "kind": "sql", "user": "", "timeout": 1.0}
    try:
        first = prober.ask(question, "", 20)
        prober.end()
        assert outcome_of(prober.ask(question, "", 20)) == outcome_of(first)
        assert outcome_of(first).reason == "Connection refused"
    finally:
        prober.end()


def test_probe_answer_of_a_child_is_read() -> None:
    """Each field as it was written."""
    found = outcome_of(json.dumps(ANSWER).encode())
    assert (found.outcome, found.way, found.metrics) == ("served", "http", Metrics(7, (("node", 8),), (26, 3), 5, 6))


@pytest.mark.parametrize(
    "wrong",
    [
        {"outcome": "other protocol"},
        {"outcome": []},
        {"fingerprint": "x"},
        {"reason": 5},
        {"metrics": [1 << 40, [], None, None, 0]},
        {"metrics": [True, [], None, None, 0]},
        {"metrics": [1, [["A", 1]], None, None, 0]},
        {"metrics": [1, [], [1], None, 0]},
        {"metrics": [1, [], None, -1, 0]},
        {"metrics": [1, [], None, 1 << 20, 0]},
        {"metrics": [1, [], None, True, 0]},
        {"metrics": [1, [], None, None, 1 << 40]},
        {"metrics": [1, [], None, None]},
        {"login": [True]},
        {"way": "auto"},
        {"client_cas": ["b"]},
        {"client_cas": 1},
    ],
)
def test_probe_answer_of_a_child_is_not_trusted(wrong: dict[str, Any]) -> None:
    """A field that is not what it may be: there is no answer then."""
    assert outcome_of(json.dumps(ANSWER | wrong).encode()).reason == asking.SILENT


@given(st.binary(max_size=200))
def test_probe_answer_of_any_bytes(data: bytes) -> None:
    """Nothing that a child prints raises."""
    assert outcome_of(data).outcome == "unreachable"


def test_probe_reason_is_printable_and_short() -> None:
    """Control characters of a reason become spaces, and its end is cut."""
    found = outcome_of(json.dumps(ANSWER | {"reason": "\x1b[2J\u202e" + "x" * 1000}).encode())
    assert found.reason == " [2J " + "x" * 295
