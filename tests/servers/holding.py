"""A server in front of another one that holds an answer back, so that a test can end who waits for it at that moment.

It shows the certificate of the server behind, forwards everything, and keeps what was asked and granted.
"""

import http.server
import json
import ssl
import threading
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any, Self

import urllib3

from tests.servers.proxy import payload

Asked = tuple[str, dict[str, Any], dict[str, Any]]  # path, protected header, payload
DROPPED = {"content-length", "transfer-encoding", "connection", "date", "server"}


def header(body: bytes) -> dict[str, Any]:
    """The protected header of a signed request (RFC 8555); {} for none."""
    text = str(json.loads(body)["protected"]) if body else ""
    return dict(json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))) if text else {}


class Holding(http.server.ThreadingHTTPServer):
    """Runs in this process for the `with` block; `hold` names a part of the path whose next answer is held back."""

    daemon_threads = True

    def __init__(self, upstream: str, pair: tuple[Path, Path], ca: Path) -> None:
        """`upstream`: "https://localhost:port"; `pair`: its certificate and key, `ca`: what verifies it."""
        self.upstream, self.hold = upstream, ""
        self.held, self.released = threading.Event(), threading.Event()
        self.asked: list[Asked] = []
        self.binders: dict[str, str] = {}  # the account key that showed an external binding first
        self.pool = urllib3.PoolManager(ca_certs=str(ca))
        super().__init__(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.host = f"localhost:{self.server_address[1]}"

    def paths(self, part: str) -> list[Asked]:
        """What was granted below the paths with that part."""
        return [asked for asked in self.asked if part in asked[0]]

    def handle_error(self, *_: object) -> None:
        """Who waited for the answer was ended by the test."""

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Holding

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.bound_once(header(body), payload(body)):
            problem = {"type": "urn:ietf:params:acme:error:unauthorized", "detail": "this binding was used before"}
            self.reply(403, {"Content-Type": "application/problem+json"}, json.dumps(problem).encode())
            return
        kept = {k: v for k, v in self.headers.items() if k.lower() != "content-length"}
        url = self.server.upstream + self.path
        answer = self.server.pool.request(self.command, url, body=body, headers=kept, redirect=False)
        if answer.status < 300:
            self.server.asked.append((self.path, header(body), payload(body)))
        if self.server.hold and self.server.hold in self.path and answer.status < 300:
            self.server.hold = ""
            self.server.held.set()
            self.server.released.wait(60)
            return
        self.reply(answer.status, {k: v for k, v in answer.headers.items() if k.lower() not in DROPPED}, answer.data)

    def bound_once(self, protected: dict[str, Any], asked: dict[str, Any]) -> bool:
        """Whether an external account binding, if any, is shown for the first time, or again by the same key."""
        if "externalAccountBinding" not in asked:
            return True
        kid, key = header(json.dumps(asked["externalAccountBinding"]).encode())["kid"], json.dumps(protected["jwk"])
        return self.server.binders.setdefault(kid, key) == key

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST  # noqa: N815 - the base class looks for them by these names

    def log_message(self, *_: object) -> None: ...
