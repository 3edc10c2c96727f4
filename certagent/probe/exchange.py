"""One exchange with a port: pgwire SSLRequest and TLS on the SQL port, plain TLS on the HTTP port.

On the HTTP port the expiry of `client.node` is read from cockroach's own metrics, which need no login.
The peer is not verified: its fingerprint is compared with the file's, which is stronger. Under TLS 1.3 a
refused client certificate shows up at the first read after the handshake only, so with a client pair a start-up
message is sent and one answer read.
"""

import socket
import ssl
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal, NamedTuple

from certagent.probe.metrics import Metrics, metrics_in
from certagent.probe.pgwire import NotPgwireError, advertised, ssl_request
from certagent.probe.wire import Wire

METRICS = b"GET /_status/vars HTTP/1.0\r\nHost: localhost\r\n\r\n"
MOST = 8 << 20
PROTOCOL = 196608
AUTHENTICATED = struct.pack("!I", 0)
REFUSED = "28000"  # invalid_authorization_specification
MESSAGE = 1 << 16
Kind = Literal["sql", "http", "auto"]
Way = Literal["sql", "http"]


class Login(NamedTuple):
    """How a log-in ended: granted, refused (`sqlstate` is 28000), or neither: then it shows only that TLS held."""

    granted: bool = False
    sqlstate: str = ""
    message: str = ""


NO_METRICS, NO_LOGIN = Metrics(), Login()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a handshake ended, and what the server told after it."""

    outcome: Literal["served", "refused", "unreachable", "other protocol"]
    fingerprint: str = ""
    reason: str = ""
    metrics: Metrics = NO_METRICS
    login: Login = NO_LOGIN
    way: Way = "sql"
    client_cas: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client pair to offer: its user ("" of a tenant: TLS takes its pair or does not), and a path that has both."""

    user: str
    path: str


def exchanged(addresses: Sequence[tuple[str, int]], kind: Kind, client: Client | None, timeout: float) -> Outcome:
    """Given where a port is and how it is asked, return what it serves; never raises for what the peer does.

    `timeout` (seconds) is that of the handshake and of what follows it; as much again is left for the names of CAs.
    """
    found = Outcome(outcome="unreachable")
    end = time.monotonic() + timeout
    for way in ways(kind):
        found = replace(_ask(addresses, way, client, end), way=way)
        if found.outcome != "other protocol":
            break
    if found.way == "sql" and client is None and found.outcome == "served":
        return replace(found, client_cas=_names(addresses, time.monotonic() + timeout))
    return found if found.outcome != "other protocol" else replace(found, outcome="unreachable")


def ways(kind: Kind) -> tuple[Way, ...]:
    """How a port is asked, one way after the other: the next only where the one before found no pgwire."""
    return ("sql", "http") if kind == "auto" else (kind,)


def unverified() -> ssl.SSLContext:
    """For a peer whose certificate is compared, not verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def connected(addresses: Sequence[tuple[str, int]], end: float) -> socket.socket:
    """A connection to the first of them that takes one; each gets its share of the time. Raises OSError."""
    problem = OSError("no address")
    for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        try:
            return socket.create_connection(address, max(0.001, (end - time.monotonic()) / left))
        except OSError as error:
            problem = error
    raise problem


def _names(addresses: Sequence[tuple[str, int]], end: float) -> tuple[str, ...]:
    try:
        with connected(addresses, end) as raw:
            return advertised(Wire(raw, end))
    except OSError:
        return ()


def _ask(addresses: Sequence[tuple[str, int]], way: Way, client: Client | None, end: float) -> Outcome:
    context = unverified()
    try:
        if client is not None:
            context.load_cert_chain(client.path)  # OpenSSL refuses a key or digest that is too weak to be offered
        with connected(addresses, end) as raw:
            if way == "sql":
                ssl_request(Wire(raw, end))
            return _handshake(raw, context, client, way, end)
    except OSError as error:
        return unreachable(error)


def unreachable(error: OSError) -> Outcome:
    """Given why there was no handshake at all, return the outcome."""
    if isinstance(error, NotPgwireError):
        return Outcome(outcome="other protocol", reason="the port does not speak pgwire")
    return Outcome(outcome="unreachable", reason=error.strerror or str(error) or type(error).__name__)


def _handshake(raw: socket.socket, context: ssl.SSLContext, client: Client | None, way: Way, end: float) -> Outcome:
    tls = context.wrap_socket(raw, do_handshake_on_connect=False)
    wire = Wire(tls, end)
    fingerprint = ""
    try:
        tls.settimeout(max(0.1, end - time.monotonic()))
        tls.do_handshake()
        fingerprint = _fingerprint(tls)
        if client is not None:
            return logged_in(fingerprint, client, _start_up(wire, client.user))
        metrics = metrics_in(read_metrics(wire)) if way == "http" else NO_METRICS
        return Outcome(outcome="served", fingerprint=fingerprint, metrics=metrics)
    except (TimeoutError, ssl.SSLError, ConnectionError) as error:
        return failed(error, fingerprint)
    finally:
        with suppress(OSError):
            tls.close()


def _fingerprint(tls: ssl.SSLSocket) -> str:
    return sha256(tls.getpeercert(True) or b"").hexdigest()


def logged_in(fingerprint: str, client: Client, login: Login) -> Outcome:
    """Given the server's leaf, the pair that was offered and how the log-in with it ended, return the outcome.

    A tenant is no user, so what the server says of its log-in counts for nothing: TLS took its pair.
    """
    login = login if client.user else Login(granted=True)
    if login.sqlstate:
        reason = f"SQLSTATE {login.sqlstate}: {login.message}"
        return Outcome(outcome="refused", fingerprint=fingerprint, reason=reason, login=login)
    return Outcome(outcome="served", fingerprint=fingerprint, login=login)


def failed(error: OSError, fingerprint: str) -> Outcome:
    """Given what ended a handshake that had begun, return the outcome: only silence says nothing of the pair."""
    if isinstance(error, TimeoutError):
        return Outcome(outcome="unreachable", fingerprint=fingerprint, reason="no answer in time")
    reason = getattr(error, "reason", "") or str(error) or type(error).__name__
    return Outcome(outcome="refused", fingerprint=fingerprint, reason=reason.lower().replace("_", " "))


def read_metrics(wire: Wire) -> bytes:
    """What the port answers when it is asked for its metrics, b"" where it breaks off; whole lines where it is cut."""
    data = bytearray()
    try:
        wire.send(METRICS)
        while len(data) < MOST and (part := wire.some(1 << 16)):
            data += part
    except OSError:
        return b""
    return bytes(data[: data.rfind(b"\n") + 1] if len(data) >= MOST else data)


def _start_up(wire: Wire, user: str) -> Login:
    """Log in as the user of the pair. Under TLS 1.3 only this shows a refused certificate, as an OSError.

    Any answer means that TLS took the pair; one that breaks off after its first byte says no more than that.
    """
    body = b"user\0" + user.encode() + b"\0database\0defaultdb\0\0"
    wire.send(struct.pack("!II", 8 + len(body), PROTOCOL) + body)
    first = wire.some(1)
    if not first:
        raise ConnectionResetError("connection closed after the handshake")
    try:
        (length,) = struct.unpack("!I", wire.exactly(4))
        return login_in(first, wire.exactly(min(max(length - 4, 0), MESSAGE)))
    except (OSError, struct.error):
        return Login()


def login_in(kind: bytes, body: bytes) -> Login:
    """Given the type and body of the first answer to a start-up message, return how the log-in ended.

    AuthenticationOk grants it; a request for a password decides nothing yet; of errors 28000 alone refuses the user.
    """
    if kind == b"R":
        return Login(granted=body == AUTHENTICATED)
    fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0")} if kind == b"E" else {}
    if fields.get(b"C") != REFUSED:
        return Login()
    message = "".join(c if c.isprintable() else " " for c in fields.get(b"M", ""))
    return Login(sqlstate=REFUSED, message=message[:200])
