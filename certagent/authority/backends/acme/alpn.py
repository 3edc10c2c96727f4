"""tls-alpn-01 (RFC 8737, with IP identifiers by RFC 8738): a TLS server that shows a challenge certificate by name."""

import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from hashlib import sha256
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from certagent import x509
from certagent.authority.backends.acme.listening import listening
from certagent.authority.backends.acme.options import Options
from certagent.authority.backends.acme.polling import Patience

SOCKET = "certagent-tlsalpn01"
PROTOCOL = "acme-tls/1"
SLOW = 10.0
TICK = 0.1


class Alpn:
    """Answers on the TLS port while the `with` block lasts."""

    def __init__(self, options: Options, inherited: Mapping[str, int]) -> None:
        """Binds nothing yet."""
        self._options, self._inherited = options, inherited
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._stack = ExitStack()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        """Listen. Raises AuthorityError."""
        o = self._options
        for sock in listening(SOCKET, o.listen_address, o.tls_port, self._inherited):
            self._stack.callback(sock.close)
            sock.settimeout(TICK)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._over.set()
        self._stack.close()

    def present(self, name: str, token: str, authorization: str) -> None:
        """Make the certificate of one name; an IP's server name is its reverse name (RFC 8738, section 6)."""
        del token
        cert, key = x509.challenge_pair(name, sha256(authorization.encode()).digest())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols([PROTOCOL])
        with x509.memory_file(cert, key) as path:
            context.load_cert_chain(path)
        self._contexts[server_name(name)] = context

    def ready(self, patience: Patience) -> None:
        """At once."""

    def _serve(self, sock: socket.socket) -> None:
        while not self._over.is_set():
            try:
                visitor, _ = sock.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            threading.Thread(target=self._shake, args=(visitor,), daemon=True).start()

    def _shake(self, visitor: socket.socket) -> None:
        with suppress(OSError, StopIteration), visitor:
            visitor.settimeout(SLOW)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.set_alpn_protocols([PROTOCOL])
            context.sni_callback = self._choose
            with context.wrap_socket(visitor, server_side=True) as wrapped:
                wrapped.recv(1)

    def _choose(self, sock: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> int | None:
        found = self._contexts.get((name or "").lower())
        if found is None:
            return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
        sock.context = found
        return None


def server_name(name: str) -> str:
    """The server name by which a CA asks for an identifier."""
    try:
        return ip_address(name).reverse_pointer
    except ValueError:
        return name.lower()
