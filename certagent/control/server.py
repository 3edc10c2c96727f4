"""The control socket: peers are identified by the kernel, not by anything they send.

One thread reads all requests and sends all answers without waiting for any peer, by asyncio; so a connection that is
idle, slow or does not read its answer takes no thread, and ends after two seconds. The answers are made in small pools,
one for each lane: `status` never waits behind a command that waits for something, and root and the agent's own user
never wait behind others.
"""

import asyncio
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from certagent.control.admission import Admission, Asked, Others, Peer, denied, parsed, peer_of, readable, trusted_uids
from certagent.control.binding import bound
from certagent.posix.errors import HostError

DEADLINE = 2.0  # seconds for a request to arrive, and for an answer to be taken
LIMIT = 1 << 16
Lane = tuple[bool, bool]  # whether the peer is trusted, whether it asks for the status
LANES: dict[Lane, int] = {(True, True): 2, (True, False): 4, (False, True): 2, (False, False): 2}  # threads of each
MALFORMED = {"ok": False, "error": "malformed request", "code": "bad-request"}
Tell = Callable[[dict[str, Any]], None]


class Answer(Protocol):
    """What answers a command; `tell` is passed only where the client asked to hear what is known before the answer."""

    def __call__(self, command: str, arguments: dict[str, Any], peer: Peer, /, *, tell: Tell = ...) -> dict[str, Any]:
        """The answer."""


def untold(_said: dict[str, Any]) -> None:
    """The client waits for the answer alone."""


def lane(peer: Peer, request: Asked) -> Lane:
    """Given who asks for what, return the pool that answers."""
    return peer.trusted, request.command == "status"


class Control:
    """The server."""

    def __init__(self, path: str, *, others: Others, answer: Answer, deadline: float = DEADLINE) -> None:
        """Binds; raises HostError if another agent answers, or if the path is not a socket."""
        self._path, self._others, self._answer, self._deadline = path, others, answer, deadline
        self._listener = bound(path, others=others)
        self._admission = Admission(trusted_uids())
        self._pools = {key: _started(threads) for key, threads in LANES.items()}
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop.set_exception_handler(_unhandled)
        server = await asyncio.start_unix_server(self._connected, sock=self._listener, limit=LIMIT)
        await self._stopping.wait()
        server.close()  # the runner ends the connections that are left

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its first to its last byte."""
        peer = peer_of(writer.get_extra_info("socket"))
        if not self._admission.take(peer):
            writer.transport.abort()
            return
        try:
            with suppress(OSError):  # gone, or over its time
                await self._exchange(reader, writer, peer)
        finally:
            writer.transport.abort()
            self._admission.leave(peer)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer) -> None:
        """Raises OSError, TimeoutError where the peer is slower than its deadline."""
        async with asyncio.timeout(self._deadline):
            try:
                line = await reader.readline()
            except ValueError:  # longer than LIMIT
                line = b""
        answer = await self._answered(line, peer, lambda said: self._say(writer, {"told": said}))
        writer.transport.set_write_buffer_limits(high=0)  # drain() then waits until the last byte is sent
        async with asyncio.timeout(self._deadline):
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()

    def _say(self, writer: asyncio.StreamWriter, said: dict[str, Any]) -> None:
        """Send a line before the answer, from any thread; a client that is gone hears none."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(_send, writer, json.dumps(said).encode() + b"\n")

    async def _answered(self, line: bytes, peer: Peer, tell: Tell) -> dict[str, Any]:
        request = parsed(line)
        if request is None:
            return MALFORMED
        if not peer.trusted and not readable(request, self._others):
            return {"ok": False, "error": denied(request.command, os.geteuid()), "code": "forbidden"}
        return await self._made(request, peer, tell)

    async def _made(self, request: Asked, peer: Peer, tell: Tell) -> dict[str, Any]:
        """The answer, made in a thread of the lane."""
        try:
            pool = self._pools[lane(peer, request)]
            streaming = {"tell": tell} if request.arguments.get("stream") is True else {}
            make = partial(self._answer, request.command, request.arguments, peer, **streaming)
            return await self._loop.run_in_executor(pool, make)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, the peer gets an answer and the daemon goes on
            return {"ok": False, "error": f"{type(error).__name__}: {error}", "code": "internal"}

    def stop(self) -> None:
        """Stop answering, remove the socket. An answer that is being made is not waited for."""
        if self._thread.is_alive():
            with suppress(RuntimeError):  # it ended just now
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        else:
            self._loop.close()
        self._listener.close()
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        with suppress(OSError):
            os.unlink(self._path)


def _send(writer: asyncio.StreamWriter, line: bytes) -> None:
    if not writer.transport.is_closing():
        writer.write(line)


def _started(threads: int) -> ThreadPoolExecutor:
    """A pool whose threads all run already: no request waits for, or fails by, a thread that cannot be started."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="control")
    together = threading.Barrier(threads)
    try:
        for _ in range(threads):
            pool.submit(together.wait)
    except RuntimeError as error:
        together.abort()
        raise HostError(f"cannot answer on the socket: {error}; raise the limit of threads (TasksMax=)") from error
    return pool


def _unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Without a descriptor for a new connection asyncio tries again after a second: no line for each try."""
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)
