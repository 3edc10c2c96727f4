"""A forward proxy for plain http that keeps what was sent through it."""

import http.server
import threading
from typing import Self

import urllib3


class Proxy(http.server.ThreadingHTTPServer):
    """Runs in this process for the `with` block."""

    daemon_threads = True

    def __init__(self) -> None:
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
        kept = {k: v for k, v in self.headers.items() if k.lower() not in {"content-length", "proxy-connection"}}
        answer = self.server.pool.request(self.command, self.path, body=body, headers=kept, redirect=False)
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            if key.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(answer.data)))
        self.end_headers()
        self.wfile.write(answer.data)

    do_GET = do_HEAD = do_POST  # noqa: N815 - the base class looks for them by these names

    def log_message(self, *_: object) -> None: ...
