"""What a process serves: pgwire SSLRequest and TLS on the SQL port, plain TLS on the HTTP port.

On the HTTP port the expiry of `client.node` is read from cockroach's own metrics, which need no login.
The peer is not verified: its fingerprint is compared with the file's, which is stronger. Under TLS 1.3 a
refused client certificate shows up at the first read after the handshake only, so with a client pair a start-up
message is sent and one answer read.
"""

import re
import socket
import ssl
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal

from certagent.core.facts import Listener, Served
from certagent.process.pgwire import NotPgwireError, advertised, ssl_request

METRICS = b"GET /_status/vars HTTP/1.0\r\nHost: localhost\r\n\r\n"
EXPIRY = re.compile(rb"^security_certificate_expiration_node_client(?:\{[^}]*\})? ([0-9.e+]+)\s*$", re.MULTILINE)
MOST = 8 << 20
PROTOCOL = 196608


@dataclass(frozen=True, slots=True)
class Client:
    """A client pair to offer: its stem, its leaf's fingerprint, and a path that holds certificate and key."""

    stem: str
    fingerprint: str
    path: str


def probe(
    host: str,
    port: int,
    kind: Literal["sql", "http", "auto"],
    process: str,
    now: datetime,
    client: Client | None = None,
    timeout: float = 5.0,
) -> Served:
    """Given an address, return what it serves; never raises for what the peer does."""
    context = _unverified()
    address = Listener(host, port).address
    for way in ways(kind):
        outcome, fingerprint, reason, expiry = _ask(host, port, way, context, client, timeout)
        if outcome != "other protocol":
            break
    names = advertised(host, port, timeout) if way == "sql" and client is None and outcome == "served" else ()
    offered = (client.stem, client.fingerprint) if client else ("", "")
    shown = "unreachable" if outcome == "other protocol" else outcome
    return Served(address, way, process, now, shown, fingerprint, names, expiry, reason, *offered)


def ways(kind: Literal["sql", "http", "auto"]) -> tuple[Literal["sql", "http"], ...]:
    """How a port is asked, one way after the other: the next only where the one before found no pgwire."""
    return ("sql", "http") if kind == "auto" else (kind,)


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


Outcome = tuple[Literal["served", "refused", "unreachable", "other protocol"], str, str, int]


def _ask(host: str, port: int, kind: str, context: ssl.SSLContext, client: Client | None, timeout: float) -> Outcome:
    end = time.monotonic() + timeout
    try:
        if client is not None:
            context.load_cert_chain(client.path)  # OpenSSL refuses a key or digest that is too weak to be offered
        with socket.create_connection((host, port), timeout) as raw:
            raw.settimeout(timeout)
            if kind == "sql":
                ssl_request(raw)
            return _handshake(raw, context, client, kind, end)
    except OSError as error:
        return unreachable(error)


def unreachable(error: OSError) -> Outcome:
    """Given why there was no handshake at all, return the outcome."""
    if isinstance(error, NotPgwireError):
        return "other protocol", "", "the port does not speak pgwire", 0
    return "unreachable", "", error.strerror or str(error) or type(error).__name__, 0


def _handshake(raw: socket.socket, context: ssl.SSLContext, client: Client | None, kind: str, end: float) -> Outcome:
    tls = context.wrap_socket(raw, do_handshake_on_connect=False)
    fingerprint, expiry = "", 0
    try:
        tls.settimeout(max(0.1, end - time.monotonic()))
        tls.do_handshake()
        fingerprint = _fingerprint(tls)
        if client is not None:
            _start_up(tls, client.stem.partition(".")[2])
        elif kind == "http":
            expiry = expiry_in(_metrics(tls, end))
    except (TimeoutError, ssl.SSLError, ConnectionError) as error:
        return failed(error, fingerprint)
    finally:
        with suppress(OSError):
            tls.close()
    return "served", fingerprint, "", expiry


def failed(error: OSError, fingerprint: str) -> Outcome:
    """Given what ended a handshake that had begun, return the outcome: only silence says nothing of the pair."""
    if isinstance(error, TimeoutError):
        return "unreachable", fingerprint, "no answer in time", 0
    return "refused", fingerprint, _reason(error), 0


def _fingerprint(tls: ssl.SSLSocket) -> str:
    return sha256(tls.getpeercert(True) or b"").hexdigest()


def _metrics(tls: ssl.SSLSocket, end: float) -> bytes:
    """What the port answers when it is asked for its metrics; b"" where it does not."""
    data = b""
    try:
        tls.sendall(METRICS)
        while len(data) < MOST and time.monotonic() < end and (part := tls.recv(1 << 16)):
            data += part
    except OSError:
        return b""
    return data


def expiry_in(metrics: bytes) -> int:
    """The metric of `client.node`'s expiry, 0 where the port does not tell."""
    found = EXPIRY.search(metrics)
    with suppress(ValueError, OverflowError):  # untrusted input that may not be a number
        return int(float(found[1])) if found else 0
    return 0


def _start_up(tls: ssl.SSLSocket, user: str) -> None:
    """Any message, even an error, means that the pair was accepted by TLS."""
    body = b"user\0" + user.encode() + b"\0database\0defaultdb\0\0"
    tls.sendall(struct.pack("!II", 8 + len(body), PROTOCOL) + body)
    if not tls.recv(1):
        raise ConnectionResetError("connection closed after the handshake")


def _reason(error: OSError) -> str:
    return (getattr(error, "reason", "") or str(error) or type(error).__name__).lower().replace("_", " ")
