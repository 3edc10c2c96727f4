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
from typing import Literal, NamedTuple

from certagent.core.facts import Listener, Served
from certagent.process.pgwire import NotPgwireError, advertised, ssl_request

METRICS = b"GET /_status/vars HTTP/1.0\r\nHost: localhost\r\n\r\n"
EXPIRY = re.compile(rb"^security_certificate_expiration_node_client(?:\{[^}]*\})? ([0-9.e+]+)\s*$", re.MULTILINE)
ROTATION = re.compile(
    rb"^security_certificate_last_rotation_([a-z_]{1,40})(?:\{[^}]*\})? ([0-9.e+]+)\s*$", re.MULTILINE
)
BUILD = re.compile(rb'^build_timestamp\{[^}]{0,1000}\btag="v([0-9]{1,3})\.([0-9]{1,3})[.-]', re.MULTILINE)
MOST = 8 << 20
PROTOCOL = 196608
AUTHENTICATED = struct.pack("!I", 0)
REFUSED = "28000"  # invalid_authorization_specification
MESSAGE = 1 << 16


@dataclass(frozen=True, slots=True)
class Client:
    """A client pair to offer: its stem, its leaf's fingerprint, and a path that holds certificate and key."""

    stem: str
    fingerprint: str
    path: str

    @property
    def user(self) -> str:
        """Who logs in with it; "" of a tenant, which is no user: TLS takes its pair or does not."""
        kind, _, user = self.stem.partition(".")
        return user if kind == "client" else ""


class Login(NamedTuple):
    """How a log-in ended: granted, refused (`sqlstate` is 28000), or neither: then it shows only that TLS held."""

    granted: bool = False
    sqlstate: str = ""
    message: str = ""


class Metrics(NamedTuple):
    """What `/_status/vars` tells: the expiry of `client.node`, when reloads last changed each file, and the version."""

    expiry: int = 0
    rotations: tuple[tuple[str, int], ...] = ()
    release: tuple[int, int] | None = None


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
    found = Outcome("unreachable")
    for way in ways(kind):
        found = _ask(host, port, way, context, client, timeout)
        if found.outcome != "other protocol":
            break
    asked = way == "sql" and client is None and found.outcome == "served"
    return Served(
        address,
        way,
        process,
        now,
        "unreachable" if found.outcome == "other protocol" else found.outcome,
        found.fingerprint,
        advertised(host, port, timeout) if asked else (),
        found.metrics.expiry,
        found.reason,
        client.stem if client else "",
        client.fingerprint if client else "",
        only_tls=client is not None and found.outcome == "served" and not found.login.granted,
        sqlstate=found.login.sqlstate,
        rotations=found.metrics.rotations,
        release=found.metrics.release,
    )


def ways(kind: Literal["sql", "http", "auto"]) -> tuple[Literal["sql", "http"], ...]:
    """How a port is asked, one way after the other: the next only where the one before found no pgwire."""
    return ("sql", "http") if kind == "auto" else (kind,)


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Outcome(NamedTuple):
    """How a handshake ended, and what the server told after it."""

    outcome: Literal["served", "refused", "unreachable", "other protocol"]
    fingerprint: str = ""
    reason: str = ""
    metrics: Metrics = Metrics()
    login: Login = Login()


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
        return Outcome("other protocol", "", "the port does not speak pgwire")
    return Outcome("unreachable", "", error.strerror or str(error) or type(error).__name__)


def _handshake(raw: socket.socket, context: ssl.SSLContext, client: Client | None, kind: str, end: float) -> Outcome:
    tls = context.wrap_socket(raw, do_handshake_on_connect=False)
    fingerprint, metrics, login = "", Metrics(), Login()
    try:
        tls.settimeout(max(0.1, end - time.monotonic()))
        tls.do_handshake()
        fingerprint = _fingerprint(tls)
        if client is not None:
            login = _start_up(tls, client.stem.partition(".")[2])
            login = login if client.user else Login(granted=True)
        elif kind == "http":
            metrics = metrics_in(_metrics(tls, end))
    except (TimeoutError, ssl.SSLError, ConnectionError) as error:
        return failed(error, fingerprint)
    finally:
        with suppress(OSError):
            tls.close()
    if login.sqlstate:
        return Outcome("refused", fingerprint, f"SQLSTATE {login.sqlstate}: {login.message}", login=login)
    return Outcome("served", fingerprint, "", metrics, login)


def failed(error: OSError, fingerprint: str) -> Outcome:
    """Given what ended a handshake that had begun, return the outcome: only silence says nothing of the pair."""
    if isinstance(error, TimeoutError):
        return Outcome("unreachable", fingerprint, "no answer in time")
    return Outcome("refused", fingerprint, _reason(error))


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


def metrics_in(text: bytes) -> Metrics:
    """What the metrics tell of certificates, and of the version."""
    found = {row[1].decode(): _number(row[2]) for row in ROTATION.finditer(text)}
    build = BUILD.search(text)
    release = (int(build[1]), int(build[2])) if build else None
    return Metrics(expiry_in(text), tuple(sorted((label, at) for label, at in found.items() if at)), release)


def _number(digits: bytes) -> int:
    with suppress(ValueError, OverflowError):
        return int(float(digits))
    return 0


def _start_up(tls: ssl.SSLSocket, user: str) -> Login:
    """Log in as the user of the pair. Under TLS 1.3 only this shows a refused certificate, as an OSError.

    Any answer means that TLS took the pair; one that breaks off after its first byte says no more than that.
    """
    body = b"user\0" + user.encode() + b"\0database\0defaultdb\0\0"
    tls.sendall(struct.pack("!II", 8 + len(body), PROTOCOL) + body)
    first = tls.recv(1)
    if not first:
        raise ConnectionResetError("connection closed after the handshake")
    try:
        (length,) = struct.unpack("!I", _exactly(tls, 4))
        return login_in(first, _exactly(tls, min(max(length - 4, 0), MESSAGE)))
    except (OSError, struct.error):
        return Login()


def _exactly(tls: ssl.SSLSocket, size: int) -> bytes:
    """That many bytes, or fewer where the peer ends."""
    data = b""
    while len(data) < size and (part := tls.recv(size - len(data))):
        data += part
    return data


def login_in(kind: bytes, body: bytes) -> Login:
    """Given the type and body of the first answer to a start-up message, return how the log-in ended.

    AuthenticationOk grants it; a request for a password is no answer yet; of errors 28000 alone refuses the user.
    """
    if kind == b"R":
        return Login(granted=body == AUTHENTICATED)
    fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0")} if kind == b"E" else {}
    if fields.get(b"C") != REFUSED:
        return Login()
    message = "".join(c if c.isprintable() else " " for c in fields.get(b"M", ""))
    return Login(sqlstate=REFUSED, message=message[:200])


def _reason(error: OSError) -> str:
    return (getattr(error, "reason", "") or str(error) or type(error).__name__).lower().replace("_", " ")
