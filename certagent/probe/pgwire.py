"""The SQL port below TLS: the SSLRequest, and which client CAs the server's certificate request names.

Python's ssl does not show those names to a client, so a TLS 1.2 ClientHello is sent by hand: under 1.2 the server's
first flight is in clear text. Nothing is negotiated; the connection is closed. Source: RFC 5246, sections 7.4.1 to
7.4.4; PostgreSQL's protocol, message SSLRequest.
"""

import os
import struct
from collections.abc import Iterator
from hashlib import sha256

from certagent.probe.wire import Wire

SSL_REQUEST = struct.pack("!II", 8, 80877103)
HANDSHAKE, CERTIFICATE_REQUEST, SERVER_HELLO_DONE = 22, 13, 14
HEADER = 4
MOST = 1 << 18
CIPHERS = (0xC02B, 0xC02C, 0xC02F, 0xC030, 0xCCA8, 0xCCA9)
GROUPS = (29, 23, 24)
SIGNATURES = (0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0807)


class NotPgwireError(OSError):
    """The port does not answer an SSLRequest with S."""


def ssl_request(wire: Wire) -> None:
    """Ask for TLS on a fresh connection. Raises NotPgwireError, OSError."""
    try:
        wire.send(SSL_REQUEST)
        answer = wire.some(1)
    except ConnectionError as error:
        raise NotPgwireError from error
    if answer != b"S":
        raise NotPgwireError


def advertised(wire: Wire) -> tuple[str, ...]:
    """SHA-256 of the DER of each CA name that the server's certificate request lists; () where it cannot be read."""
    try:
        ssl_request(wire)
        wire.send(client_hello(os.urandom(32)))
        return next((names_in(body) for kind, body in messages(wire) if kind == CERTIFICATE_REQUEST), ())
    except (OSError, struct.error):
        return ()


def _vector(items: tuple[int, ...]) -> bytes:
    body = b"".join(struct.pack("!H", i) for i in items)
    return struct.pack("!H", len(body)) + body


def client_hello(random: bytes) -> bytes:
    """Given 32 random bytes, return a TLS 1.2 ClientHello record."""
    extensions = b"".join(
        struct.pack("!HH", kind, len(body)) + body
        for kind, body in ((10, _vector(GROUPS)), (11, b"\x01\x00"), (13, _vector(SIGNATURES)), (0xFF01, b"\x00"))
    )
    body = b"\x03\x03" + random + b"\x00" + _vector(CIPHERS) + b"\x01\x00"
    body += struct.pack("!H", len(extensions)) + extensions
    message = b"\x01" + struct.pack("!I", len(body))[1:] + body
    return struct.pack("!BHH", HANDSHAKE, 0x0301, len(message)) + message


def messages(wire: Wire) -> Iterator[tuple[int, bytes]]:
    """The handshake messages of the server's first flight. Raises OSError, struct.error."""
    data, begin = bytearray(), 0
    for _ in range(64):
        kind, _version, length = struct.unpack("!BHH", wire.exactly(5))
        if kind != HANDSHAKE or len(data) > MOST:
            return
        data += wire.exactly(length)
        while (body := begin + HEADER) <= len(data):
            end = body + int.from_bytes(data[begin + 1 : body])
            if end > len(data):
                break
            yield data[begin], bytes(data[body:end])
            if data[begin] == SERVER_HELLO_DONE:
                return
            begin = end


def names_in(body: bytes) -> tuple[str, ...]:
    """Given a TLS 1.2 CertificateRequest, return the SHA-256 of each DER name in it. Raises struct.error."""
    at = 1 + body[0] if body else 0
    at += 2 + struct.unpack_from("!H", body, at)[0]
    end = at + 2 + struct.unpack_from("!H", body, at)[0]
    at += 2
    found = []
    while at + 2 <= min(end, len(body)):
        (length,) = struct.unpack_from("!H", body, at)
        found.append(sha256(body[at + 2 : at + 2 + length]).hexdigest())
        at += 2 + length
    return tuple(found)
