"""A forward proxy for plain http that keeps what was sent through it, and may answer in the server's place."""

import http.server
import json
import threading
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any, Self

import urllib3

Judge = Callable[[str, dict[str, Any]], tuple[int, dict[str, str], dict[str, Any]] | None]


def payload(body: bytes) -> dict[str, Any]:
    """What a signed request (RFC 8555) says; {} for none."""
    text = str(json.loads(body)["payload"]) if body else ""
    return dict(json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))) if text else {}


class Proxy(http.server.ThreadingHTTPServer):
    """Runs in this process for the `with` block."""

    daemon_threads = True

    def __init__(self, judge: Judge = lambda _url, _payload: None) -> None:
        """`judge`: given a URL and what a request says, its own answer (status, headers, document), or None."""
        self.judge = judge
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.pool = urllib3.PoolManager()
        self.bodies: list[bytes] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Proxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.bodies.append(body)
        if (own := self.server.judge(self.path, payload(body))) is not None:
            self.reply(own[0], own[1], json.dumps(own[2]).encode())
            return
        kept = {k: v for k, v in self.headers.items() if k.lower() not in {"content-length", "proxy-connection"}}
        answer = self.server.pool.request(self.command, self.path, body=body, headers=kept, redirect=False)
        dropped = {"content-length", "transfer-encoding", "connection", "date", "server"}
        passed = {k: v for k, v in answer.headers.items() if k.lower() not in dropped}
        self.reply(answer.status, passed, answer.data)

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_POST  # noqa: N815 - the base class looks for them by these names

    def log_message(self, *_: object) -> None: ...
