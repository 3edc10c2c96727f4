"""A responder that does what it is told: honest answers to sign, and everything a hostile one could send."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from certagent.x509 import chain_links
from tests.making import Ca

TYPE = b"application/ocsp-response"
Script = Callable[[socket.socket], None]


def reply(body: bytes, status: bytes = b"200 OK", kind: bytes = TYPE, extra: bytes = b"") -> bytes:
    """A whole HTTP answer."""
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n%b\r\n"
    return head % (status, kind, len(body), extra) + body


def counted(script: Script, calls: list[int]) -> Script:
    """The same, and each connection is noted."""

    def noting(peer: socket.socket) -> None:
        calls.append(1)
        script(peer)

    return noting


def sending(data: bytes) -> Script:
    return lambda peer: peer.sendall(data)


def dripping(data: bytes) -> Script:
    """One byte every tenth of a second: each in time, all together never."""

    def drip(peer: socket.socket) -> None:
        for byte in data:
            peer.sendall(bytes([byte]))
            if threading.Event().wait(0.1):
                return

    return drip


def endless(head: bytes) -> Script:
    def pour(peer: socket.socket) -> None:
        peer.sendall(head)
        while True:
            peer.sendall(b"\0" * 65536)

    return pour


def silent(peer: socket.socket) -> None:
    """Keep the connection and say nothing, until the client goes."""
    peer.recv(1)


def request(peer: socket.socket) -> None:
    """Read one whole request: a server that closes on unread bytes resets its own answer."""
    data, length = b"", 0
    while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < length:
        data += peer.recv(65536)
        if found := re.search(rb"(?i)content-length: (\d+)", data):
            length = int(found[1])


@contextmanager
def responder(script: Script) -> Iterator[str]:
    """A server on loopback that reads one request per connection and runs the script; yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    threading.Thread(target=talk, args=(peer,), daemon=True).start()

        def talk(peer: socket.socket) -> None:
            with peer, suppress(OSError):
                request(peer)
                script(peer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/ocsp"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def answer(ca: Ca, leaf: bytes, signer: tuple[bytes, bytes] | None = None, **changes: Any) -> bytes:
    """A signed OCSP answer about the leaf of a PEM: good, for a month from an hour ago, unless changed.

    `signer`: certificate and key of a delegate, which is embedded; else the CA signs.
    """
    hour = timedelta(hours=1)
    cert = x509.load_pem_x509_certificate(leaf)
    issuer = x509.load_pem_x509_certificate(changes.get("issuer", ca.cert))
    status = changes.get("status", ocsp.OCSPCertStatus.GOOD)
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=cert,
        issuer=issuer,
        algorithm=hashes.SHA256(),
        cert_status=status,
        this_update=changes.get("this", ca.at - hour),
        next_update=changes.get("following", ca.at + 30 * 24 * hour),
        revocation_time=ca.at - hour if revoked else None,
        revocation_reason=changes.get("reason", x509.ReasonFlags.key_compromise) if revoked else None,
    )
    who = x509.load_pem_x509_certificate(signer[0] if signer else ca.cert)
    key: Any = serialization.load_pem_private_key(signer[1] if signer else ca.key, None)
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, who)
    if signer:
        builder = builder.certificates([who])
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def links(leaf: bytes, ca: Ca) -> tuple[bytes, bytes]:
    """The DER of a leaf and of its issuer."""
    link = chain_links(leaf, ca.cert)[0]
    return link.cert, link.issuer
