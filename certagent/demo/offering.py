"""What the stand-in's ports offer in a handshake, built from the bytes that were loaded last, as Go builds it."""

import _ssl
import ctypes
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from certagent.demo.loader import Entry, Material
from certagent.x509 import X509Error, memory_file, usable


@dataclass(frozen=True, slots=True)
class Offer:
    """What one handshake uses: a pair, the CAs that clients are asked for (none: they are not asked), ALPN."""

    entry: Entry
    clients: tuple[bytes, ...] = ()  # bundles
    protocols: tuple[str, ...] = ()


def offer(material: Material, kind: str) -> Offer | None:
    """Given what is loaded and the port that speaks, return what it offers; None: nothing can be served."""
    if kind == "http":
        entry = material.console()
        return Offer(entry) if entry else None
    server, clients = material.server(), material.client_cas()
    if not server or not clients:
        return None
    return Offer(server, clients, ("h2",) if kind == "rpc" else ())


def tls_problem(material: Material, build: Callable[["Offer"], object] | None = None) -> str:
    """Why one of the three TLS configurations that are built at start cannot be, "" where all can.

    `build`: `context_of`, or one that remembers what it built.
    """
    build = build or context_of
    own, ca = material.first("client.node", material.tenant or "node"), material.good("ca")
    outgoing = Offer(own, (ca.cert,)) if own and ca else None
    for name, what in (("server", offer(material, "sql")), ("console", offer(material, "http")), ("client", outgoing)):
        try:
            if what is None:
                return f"{name}: no certificates"
            build(what)
        except ssl.SSLError as error:
            return f"{name}: {error}"
    return ""


def context_of(what: Offer) -> ssl.SSLContext:
    """Build what one handshake uses. Raises ssl.SSLError for a pair that does not match, or an empty pool."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        with memory_file(what.entry.cert, what.entry.key) as path:
            context.load_cert_chain(path)
    except X509Error as error:
        raise ssl.SSLError(error.message) from error
    if what.clients:
        _ask_clients(context, what.clients)
    if what.protocols:
        context.set_alpn_protocols(what.protocols)
    return context


@lru_cache(maxsize=8)
def built(what: Offer) -> ssl.SSLContext:
    """As `context_of`, once for what is loaded: it takes as long as the handshake. A failure is not remembered."""
    return context_of(what)


def _ask_clients(context: ssl.SSLContext, bundles: Sequence[bytes]) -> None:
    """Ask clients for a certificate, and verify one by these bundles. Raises ssl.SSLError where one has no CA."""
    pools = [usable(bundle) for bundle in bundles]
    if not all(pools):
        raise ssl.SSLError("failed to parse PEM data to pool")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=b"".join(pools).decode())
    advertise(context, b"".join(pools))


def advertise(context: ssl.SSLContext, bundle: bytes) -> None:
    """Name the CAs of a bundle in the certificate request, as Go does. Python's ssl cannot, so OpenSSL is asked."""
    library = ctypes.CDLL(_ssl.__file__)
    library.SSL_load_client_CA_file.restype = ctypes.c_void_p
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)  # PySSLContext's first field
    with memory_file(bundle, b"") as path:
        names = library.SSL_load_client_CA_file(path.encode())
    library.SSL_CTX_set_client_CA_list(pointer, ctypes.c_void_p(names))
