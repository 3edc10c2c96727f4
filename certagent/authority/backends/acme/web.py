"""http-01: a server that knows the tokens and nothing else, or files in the webroot of one that runs already."""

import http.server
import os
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

from certagent.authority.backends.acme.listening import listening
from certagent.authority.backends.acme.options import Options
from certagent.authority.backends.acme.polling import Patience
from certagent.authority.errors import AuthorityError

PREFIX = "/.well-known/acme-challenge/"
TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}")  # base64url: it becomes a file's name
SOCKET = "certagent-http01"
SLOW = 10.0
TICK = 0.01  # how soon the server notices its end


class Standalone:
    """Answers on the HTTP port while the `with` block lasts."""

    def __init__(self, options: Options, inherited: Mapping[str, int]) -> None:
        """Binds nothing yet."""
        self._options, self._inherited = options, inherited
        self._answers: dict[str, bytes] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Listen. Raises AuthorityError."""
        o = self._options
        for sock in listening(SOCKET, o.listen_address, o.http_port, self._inherited):
            server = _Server(sock, self._answers)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": TICK}, daemon=True).start()
            self._stack.callback(server.server_close)
            self._stack.callback(server.shutdown)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._stack.close()

    def present(self, name: str, token: str, authorization: str) -> None:
        """Know one more answer."""
        del name
        self._answers[PREFIX + token] = authorization.encode()

    def ready(self, patience: Patience) -> None:
        """At once."""


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = SLOW
    server_version, sys_version = "certagent", ""

    def do_GET(self) -> None:
        """A known token's answer, else 404."""
        answers: Mapping[str, bytes] = self.server.answers  # type: ignore[attr-defined]
        body = answers.get(self.path, b"")
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Standard error is the worker's own."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, sock: socket.socket, answers: Mapping[str, bytes]) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self.answers = sock, answers

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing about a client that closes its connection."""


class Webroot:
    """Files below `webroot`, gone at the end of the `with` block; the running server serves them."""

    def __init__(self, options: Options) -> None:
        """Writes nothing yet."""
        self._folder = os.path.join(options.webroot, *PREFIX.strip("/").split("/"))
        self._made: list[str] = []

    def __enter__(self) -> Self:
        """Make the folder. Raises AuthorityError."""
        try:
            os.makedirs(self._folder, mode=0o755, exist_ok=True)
        except OSError as error:
            raise AuthorityError(
                f"cannot create {self._folder}: {error.strerror}; make it writable for the worker"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the files."""
        for path in self._made:
            with suppress(OSError):
                os.unlink(path)

    def present(self, name: str, token: str, authorization: str) -> None:
        """Write one answer. Raises AuthorityError."""
        del name
        if not TOKEN.fullmatch(token):
            raise AuthorityError("cannot use the challenge: its token is not base64url", kind="malformed")
        path = os.path.join(self._folder, token)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            self._made.append(path)
            with os.fdopen(fd, "wb") as file:
                os.fchmod(fd, 0o644)
                file.write(authorization.encode())
        except OSError as error:
            raise AuthorityError(f"cannot write {path}: {error.strerror}; make it writable for the worker") from error

    def ready(self, patience: Patience) -> None:
        """At once."""
