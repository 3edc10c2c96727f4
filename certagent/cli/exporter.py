"""Metrics for those who ask a loopback port: HTTP, one answer for each connection.

It runs in a process of its own that has no key, no right to give a command and nothing of the agent's memory: it asks
the control socket as any user of the host may. It outlives the agent, and answers 503 then. A connection that is slow
or idle ends after two seconds, and takes no thread. Rejected: prometheus-client's server and http.server, which give
each connection a thread for as long as the client likes.
"""

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from certagent.cli.common import Reply, Stopped

DEADLINE = 2.0  # seconds for a request to arrive, and for an answer to be taken
FRESH = 1.0  # seconds that an answer counts: who asks more often does not ask the agent
LIMIT = 8192  # bytes of a request
MOST = 32  # connections
TEXT = "text/plain; version=0.0.4; charset=utf-8"
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Exporter:
    """One port."""

    def __init__(self, host: str, port: int, metrics: Callable[[], Reply]) -> None:
        """Opens nothing yet. `metrics` may wait; it is called by one thread at a time."""
        self._host, self._port, self._metrics = host, port, metrics
        self._open, self._known, self._until = 0, (503, ""), 0.0

    def run(self) -> None:
        """Answer until SIGTERM or SIGINT. Raises OSError where the port cannot be opened."""
        asyncio.run(self.serve())

    async def serve(self) -> None:
        """The same, in a loop that runs."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        self._asking = asyncio.Lock()
        server = await asyncio.start_server(self._connected, self._host, self._port, limit=LIMIT)
        await ended.wait()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MOST:
                with suppress(OSError):  # gone, or over its time
                    await self._exchange(reader, writer)
        finally:
            self._open -= 1
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Raises OSError, TimeoutError where the client is slower than its deadline."""
        async with asyncio.timeout(DEADLINE):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                head = b""
        answer = await self._answer(head)
        writer.transport.set_write_buffer_limits(high=0)  # drain() then waits until the last byte is sent
        async with asyncio.timeout(DEADLINE):
            writer.write(answer)
            await writer.drain()

    async def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        path, _, protocol = rest.partition(b" ")
        if not protocol.startswith(b"HTTP/1."):
            return response(400, "not an HTTP request\n")
        if method not in {b"GET", b"HEAD"}:
            return response(405, "GET /metrics\n", "Allow: GET, HEAD\r\n")
        if path.partition(b"?")[0] != b"/metrics":
            return response(404, "GET /metrics\n")
        code, text = await self._fresh()
        whole = response(code, text)
        return whole if method == b"GET" else whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    async def _fresh(self) -> tuple[int, str]:
        """The metrics, or why there are none; asked once for all who want them now."""
        async with self._asking:
            if time.monotonic() > self._until:
                self._known = await asyncio.to_thread(self._told)
                self._until = time.monotonic() + FRESH
        return self._known

    def _told(self) -> tuple[int, str]:
        try:
            reply = self._metrics()
        except Stopped as stopped:
            reply = stopped.reply
        return (503, f"{reply.error}\n") if reply.error else (200, f"{reply.text}\n")


def response(code: int, text: str, more: str = "") -> bytes:
    """Given a status code, a text and further header lines, return the whole answer."""
    body = text.encode()
    head = f"HTTP/1.1 {code} {REASONS[code]}\r\nContent-Type: {TEXT}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}{more}Connection: close\r\n\r\n".encode() + body
