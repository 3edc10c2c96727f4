"""An HTTP(S) server of the tests' own, in this process: answers by a function; and a CONNECT proxy."""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Hands every request to the server's function."""

    protocol_version = "HTTP/1.1"
    server: "Web"
    body: bytes

    def do_GET(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.close_connection = True
        with suppress(OSError):
            self.server.answer(self)

    do_POST = do_PUT = do_CONNECT = do_GET  # noqa: N815 - names of the base class

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        after = "close" if self.close_connection else "keep-alive"
        for name, value in {"Content-Length": str(len(body)), "Connection": after, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class Web(ThreadingHTTPServer):
    """One server on loopback, for the `with` block."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, answer: Answer, cert: Path | None = None, key: Path | None = None, clients: Path | None = None
    ) -> None:
        """`clients`: the CA that client certificates must come from."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.scheme = "http" if cert is None else "https"
        self.over = threading.Event()
        self.handshakes: list[str] = []
        if cert is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(cert, key)
            if clients is not None:
                self.context.verify_mode = ssl.CERT_REQUIRED
                self.context.load_verify_locations(clients)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        """The handshake belongs to the request's own thread."""
        if self.scheme == "https":
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except (ssl.SSLError, OSError) as error:
                self.handshakes.append(type(error).__name__)
                return
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is none."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()


def tunnel(asked: list[str]) -> Answer:
    """A CONNECT proxy; what was asked for is noted."""

    def answer(handler: Handler) -> None:
        asked.append(f"{handler.command} {handler.path}")
        host, _, port = handler.path.rpartition(":")
        with socket.create_connection((host, int(port)), 10) as far:
            handler.send_response(200)
            handler.end_headers()
            back = threading.Thread(target=_pump, args=(far, handler.connection), daemon=True)
            back.start()
            _pump(handler.connection, far)
            back.join(10)

    return answer


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
