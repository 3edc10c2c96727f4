"""What a process serves: pgwire SSLRequest and TLS on the SQL port, plain TLS on the HTTP port.

The peer is not verified: its fingerprint is compared with the file's, which is stronger. Under TLS 1.3 a refused client certificate shows up at the first
read after the handshake only, so with a client pair a start-up message is sent and one answer read.
"""

import socket
import ssl
import struct
import time
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from typing import Literal

from certagent.core.facts import Listener, Served

SSL_REQUEST = struct.pack("!II", 8, 80877103)
PROTOCOL = 196608


class NotPgwireError(OSError):
    """The port does not answer an SSLRequest with S."""


def probe(
    host: str,
    port: int,
    kind: Literal["sql", "http", "auto"],
    process: str,
    now: datetime,
    *,
    client: str = "",
    client_cert: str | None = None,
    client_key: str | None = None,
    client_fingerprint: str = "",
    timeout: float = 5.0,
) -> Served:
    """Given an address, return what it serves; never raises for what the peer does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if client_cert and client_key:
        context.load_cert_chain(client_cert, client_key)
    ways: tuple[Literal["sql", "http"], ...] = ("sql", "http") if kind == "auto" else (kind,)
    address = Listener(host, port).address
    for way in ways:
        outcome, fingerprint, reason = _ask(host, port, way, context, client, timeout)
        if not (kind == "auto" and way == "sql" and reason == "not pgwire"):
            break
    return Served(address, way, process, now, outcome, fingerprint, (), reason, client, client_fingerprint)


Outcome = tuple[Literal["served", "refused", "unreachable"], str, str]


def _ask(host: str, port: int, kind: str, context: ssl.SSLContext, client: str, timeout: float) -> Outcome:
    end = time.monotonic() + timeout
    try:
        with socket.create_connection((host, port), timeout) as raw:
            raw.settimeout(timeout)
            if kind == "sql":
                _ssl_request(raw)
            return _handshake(raw, context, client, end)
    except NotPgwireError:
        return "unreachable", "", "not pgwire"
    except OSError as error:
        return "unreachable", "", error.strerror or str(error) or type(error).__name__


def _ssl_request(raw: socket.socket) -> None:
    raw.sendall(SSL_REQUEST)
    if raw.recv(1) != b"S":
        raise NotPgwireError


def _handshake(raw: socket.socket, context: ssl.SSLContext, client: str, end: float) -> Outcome:
    tls = context.wrap_socket(raw, do_handshake_on_connect=False)
    fingerprint = ""
    try:
        tls.settimeout(max(0.1, end - time.monotonic()))
        tls.do_handshake()
        fingerprint = sha256(tls.getpeercert(True) or b"").hexdigest()
        if client:
            _start_up(tls, client.partition(".")[2])
    except TimeoutError:
        return "unreachable", fingerprint, "no answer in time"
    except (ssl.SSLError, ConnectionError) as error:
        return "refused", fingerprint, _reason(error)
    finally:
        with suppress(OSError):
            tls.close()
    return "served", fingerprint, ""


def _start_up(tls: ssl.SSLSocket, user: str) -> None:
    """Any message, even an error, means that the pair was accepted by TLS."""
    body = b"user\0" + user.encode() + b"\0database\0defaultdb\0\0"
    tls.sendall(struct.pack("!II", 8 + len(body), PROTOCOL) + body)
    if not tls.recv(1):
        raise ConnectionResetError("closed after the handshake")


def _reason(error: OSError) -> str:
    return (getattr(error, "reason", "") or str(error) or type(error).__name__).lower().replace("_", " ")
