"""The in-memory handshake of the gate: the pair must serve, or connect, before it goes live. No socket, no file on disk."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

ROUNDS = 20


@contextmanager
def memory_file(data: bytes) -> Iterator[str]:
    """The bytes as a path in memory: TLS wants paths, and a key touches no disk for it."""
    fd = os.memfd_create("pair", os.MFD_CLOEXEC)
    try:
        os.write(fd, data)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _context(server: bool, bundle: bytes, require: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if require else ssl.CERT_NONE
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=bundle.decode("ascii", "replace"))
    return context


def handshake(certs: bytes, key: bytes, bundle: bytes, *, server: bool, client: bool) -> str | None:
    """Given a pair and the bundle, return why a handshake with it fails in the roles it must serve, or None.

    In both roles it meets itself, mutually; as a server only it meets an anonymous client. A pair for clients only cannot be
    served by itself: there loading it, which matches key and certificate, is what can be tried.
    """
    try:
        with memory_file(certs) as cert_path, memory_file(key) as key_path:
            near, far = _context(True, bundle, client and server), _context(False, bundle, server)
            near.load_cert_chain(cert_path, key_path)
            if client:
                far.load_cert_chain(cert_path, key_path)
            return _shake(near, far) if server else None
    except (ssl.SSLError, ValueError, OSError) as error:
        return getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)


def _shake(near: ssl.SSLContext, far: ssl.SSLContext) -> str | None:
    to_near, to_far = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [near.wrap_bio(to_near, to_far, server_side=True), far.wrap_bio(to_far, to_near)]
    for _ in range(ROUNDS):
        waiting = [e for e in ends if not _step(e)]
        if not waiting:
            return None
        ends = waiting
    return "the handshake does not come to an end"


def _step(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
