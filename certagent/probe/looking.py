"""One look at a member of the cluster: a handshake in which it is offered a pair, and one read after it.

Under TLS 1.3 a server refuses a client's certificate after the client's side of the handshake is done, so only that
read shows it. What is sent to have an answer is a start-up message without a user, or the begin of HTTP/2: nobody
tries to log in, and no procedure is called.
"""

import base64
import ssl
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from certagent.probe.exchange import PROTOCOL, connected, read_metrics, unreachable, unverified
from certagent.probe.metrics import metrics_in
from certagent.probe.pgwire import NotPgwireError, ssl_request
from certagent.probe.wire import Wire

START_UP = struct.pack("!II", 9, PROTOCOL) + b"\0"
MOST_CERTIFICATES = 16
MOST_DER = 1 << 18  # bytes of a chain
Result = Literal["accepted", "refused", "silent"]
HANDSHAKE, CERTIFICATE_REQUEST = 22, 13
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # of HTTP/2, with settings that set nothing
NO_TLS = "the port speaks neither pgwire nor TLS"
NOT_ASKED = "it asks clients for no certificate: this is no node, but perhaps a proxy"
NO_ALERT = "it closed the connection after the handshake, without an alert"
ALERT = "ALERT_"
ALERTS = {  # RFC 8446, section 6, as OpenSSL names them: what each says of the pair that was offered
    "UNKNOWN_CA": 'alert "unknown CA": its trust bundle does not verify this certificate',
    "BAD_CERTIFICATE": 'alert "bad certificate": it does not accept this certificate',
    "CERTIFICATE_UNKNOWN": 'alert "certificate unknown": it does not accept this certificate',
    "UNSUPPORTED_CERTIFICATE": 'alert "unsupported certificate": it does not accept a certificate of this kind',
    "CERTIFICATE_EXPIRED": 'alert "certificate expired": by its clock this certificate is not valid',
    "CERTIFICATE_REVOKED": 'alert "certificate revoked": it takes this certificate for revoked',
    "CERTIFICATE_REQUIRED": 'alert "certificate required": it saw no client certificate',
    "ACCESS_DENIED": 'alert "access denied": it verified this certificate, and lets nobody in with it',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How the handshake ended, why, and the chain that the member served: each certificate as DER, in base64."""

    outcome: Result
    reason: str = ""
    chain: tuple[str, ...] = ()
    ca_ends: int = 0  # of its metrics; 0: not read


def looked(addresses: Sequence[tuple[str, int]], pair: str, end: float) -> Found:
    """Offer a pair (a path that has certificate and key) and return what came of it, before `end` (monotonic).

    A port that speaks no pgwire is asked as other nodes ask it: where a server has a SQL port of its own, the one by
    which it is listed speaks RPC alone.
    """
    found = _asked(addresses, pair, end, rpc=False)
    if found is not None:
        return found
    found = _asked(addresses, pair, end, rpc=True)
    return found if found and (found.chain or found.outcome == "refused") else Found(outcome="silent", reason=NO_TLS)


def _asked(addresses: Sequence[tuple[str, int]], pair: str, end: float, *, rpc: bool) -> Found | None:
    """One connection; None where pgwire was asked for and is not spoken."""
    context = unverified()
    asked = _listening(context)
    try:
        context.load_cert_chain(pair)
    except OSError as error:  # OpenSSL refuses a key or digest that is too weak to be offered
        return Found(outcome="silent", reason=f"this pair cannot be offered: {unreachable(error).reason}")
    if rpc:
        context.set_alpn_protocols(["h2"])
    try:
        with connected(addresses, end) as raw:
            if not rpc:
                ssl_request(Wire(raw, end))
            with context.wrap_socket(raw, do_handshake_on_connect=False) as tls:
                found = _offered(tls, PREFACE if rpc else START_UP, end)
    except NotPgwireError:
        return None
    except OSError as error:
        return Found(outcome="silent", reason=ended(error)[1])
    if found.outcome == "accepted" and not asked:
        return replace(found, outcome="silent", reason=NOT_ASKED)
    return found


def console(addresses: Sequence[tuple[str, int]], port: int, end: float) -> int:
    """When the first certificate of the member's `ca.crt` ends, by its metrics; 0 where they are not to be read."""
    try:
        with (
            connected([(host, port) for host, _ in addresses], end) as raw,
            unverified().wrap_socket(raw, do_handshake_on_connect=False) as tls,
        ):
            tls.settimeout(max(0.001, end - time.monotonic()))
            tls.do_handshake()
            return metrics_in(read_metrics(Wire(tls, end))).ca_ends
    except OSError:
        return 0


def _listening(context: ssl.SSLContext) -> list[int]:
    """A list that has an entry as soon as a server asks for a certificate: one that does not takes any pair."""
    asked = list[int]()

    def told(_tls: object, way: str, _version: int, content: int, kind: int, _data: bytes) -> None:
        if (way, content, kind) == ("read", HANDSHAKE, CERTIFICATE_REQUEST):
            asked.append(kind)

    context._msg_callback = told  # type: ignore[attr-defined] # ssl has no public way to see it
    return asked


def _offered(tls: ssl.SSLSocket, greeting: bytes, end: float) -> Found:
    chain: tuple[str, ...] = ()
    try:
        tls.settimeout(max(0.001, end - time.monotonic()))
        tls.do_handshake()
        chain = tuple(base64.b64encode(der).decode() for der in served(tls))
        _answered(Wire(tls, end), greeting)
    except OSError as error:
        outcome, reason = ended(error)
        return Found(outcome=outcome, reason=reason, chain=chain)
    return Found(outcome="accepted", chain=chain)


def _answered(wire: Wire, greeting: bytes) -> None:
    """Raises OSError unless the member answers in TLS, whatever it says."""
    with suppress(ConnectionError, ssl.SSLEOFError):  # it has closed already, and its alert waits to be read
        wire.send(greeting)
    if not wire.some(1):
        raise ConnectionResetError(NO_ALERT)


def served(tls: ssl.SSLSocket) -> list[bytes]:
    """The chain that a peer sent, the leaf first. Python 3.13 has a public method for it."""
    inner: Any = tls if hasattr(tls, "get_unverified_chain") else tls._sslobj  # type: ignore[attr-defined]
    read = inner.get_unverified_chain
    found = [c if isinstance(c, bytes) else ssl.PEM_cert_to_DER_cert(c.public_bytes()) for c in read() or ()]
    found = found[:MOST_CERTIFICATES]
    return found if sum(map(len, found)) <= MOST_DER else found[:1]


def ended(error: OSError) -> tuple[Result, str]:
    """Given what ended a handshake, return what is known: only an alert of the member refuses the pair."""
    if isinstance(error, TimeoutError):
        return "silent", "no answer in time"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "silent", "it closed the connection during the handshake, without an alert"
    if isinstance(error, ssl.SSLError):
        name = error.reason or str(error)
        return "refused" if ALERT in name else "silent", said(name)
    return "silent", error.strerror or str(error) or type(error).__name__


def said(name: str) -> str:
    """Given OpenSSL's name of a problem, return it in plain words."""
    _, alert, which = name.partition(ALERT)
    words = (which or name).lower().replace("_", " ")
    if not alert:
        return f"TLS failed: {words}"
    return ALERTS.get(which, f'alert "{words}"')
