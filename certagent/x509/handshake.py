"""A TLS handshake of a pair against itself and its bundle, in memory: no socket, no file, no second process.

The ssl module loads keys from files only, so the pair passes through a memfd: no byte of a key touches a disk.
Rejected: a socket pair with a thread, which needs a deadline of its own.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from certagent.x509.errors import X509Error
from certagent.x509.keys import plain_key
from certagent.x509.making import make_ca
from certagent.x509.parsing import load_certificates
from certagent.x509.pem import blocks

ROUNDS = 10  # a TLS 1.3 handshake takes three


def handshake(
    certs_pem: bytes, key_pem: bytes, *, server_roots: bytes | None, client_roots: bytes | None
) -> str | None:
    """Given a pair and the bundles that verify it, return None when a handshake completes, else one sentence.

    `server_roots`: the pair serves and is verified by that bundle. `client_roots`: it is presented by a client and
    verified by that one. With one alone the other side is anonymous, or a server that nobody verifies. Host names
    are not checked. The clock is the machine's.
    """
    try:
        pair = (certs_pem, key_pem)
        served, shown = (None if pem is None else _der(pem) for pem in (server_roots, client_roots))
        one = _context(ssl.PROTOCOL_TLS_SERVER, _throwaway() if served is None else pair, shown)
        other = _context(ssl.PROTOCOL_TLS_CLIENT, None if shown is None else pair, served)
    except X509Error as error:
        return f"no handshake is possible: {error.message}"
    except (ssl.SSLError, OSError, ValueError) as error:
        return f"certificate and key cannot be loaded: {_reason(error)}"
    return _shake(_sides(one, other))


def _der(bundle_pem: bytes) -> bytes:
    return b"".join(c.der for c in load_certificates(bundle_pem))


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (getattr(error, "reason", None) or type(error).__name__).replace("_", " ").lower()


def _context(protocol: int, pair: tuple[bytes, bytes] | None, roots: bytes | None) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED if roots is not None else ssl.CERT_NONE
    if roots is not None:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as in Go, an intermediate in the bundle is a root
        context.load_verify_locations(cadata=roots)
    if pair is not None:
        with memory_file(*pair) as path:
            context.load_cert_chain(path, password=lambda: "")
    return context


def pair_pem(certs_pem: bytes, key_pem: bytes) -> bytes:
    """A pair in one file. X509Error where Go cannot read the key. Without a key: b"".

    OpenSSL's reader of PEM is not Go's: so what Go finds is written again.
    """
    written = "".join(ssl.DER_cert_to_PEM_cert(der) for kind, der in blocks(certs_pem) if kind == b"CERTIFICATE")
    return written.encode() + (plain_key(key_pem) if key_pem else b"")


@contextmanager
def memory_file(certs_pem: bytes, key_pem: bytes) -> Iterator[str]:
    """A pair as a path in memory, for as long as the block lasts. X509Error where Go cannot read the key.

    TLS libraries want paths, and a key touches no disk for it.
    """
    pair = pair_pem(certs_pem, key_pem)
    handle = os.memfd_create("pair", os.MFD_CLOEXEC)
    with closing(os.fdopen(handle, "wb")) as file:
        file.write(pair)
        file.flush()
        yield f"/proc/self/fd/{handle}"


@lru_cache(maxsize=1)
def _throwaway() -> tuple[bytes, bytes]:
    return make_ca("throwaway", timedelta(days=1), datetime.now(UTC))


def _sides(one: ssl.SSLContext, other: ssl.SSLContext) -> dict[str, ssl.SSLObject]:
    """A server and its client, joined in memory."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    return {"client": other.wrap_bio(down, up), "server": one.wrap_bio(up, down, server_side=True)}


def _shake(sides: dict[str, ssl.SSLObject]) -> str | None:
    """Turn by turn until neither side waits for the other."""
    for _ in range(ROUNDS):
        waiting = 0
        for role, side in sides.items():
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                waiting += 1
            except ssl.SSLError as error:
                return f"the handshake failed at the {role}: {_reason(error)}"
        if not waiting:
            return None
    return "the handshake did not finish"
