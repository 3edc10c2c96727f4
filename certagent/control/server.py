"""The control socket: peers are identified by the kernel, not by anything they send.

One thread accepts, two small pools answer: root and the agent's own user never wait behind others. A peer has two
seconds to send its request, however slowly it sends. The socket never exists with a wider mode than configured:
its mode is set before it is bound.
"""

import json
import os
import pwd
import socket
import stat
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from certagent.posix.errors import HostError

READ_ONLY = frozenset({"status", "plan", "history"})
LONGEST_PATH = 107
DEADLINE = 2.0
LIMIT = 1 << 16
WORKERS = 8  # of each pool
BREATH = 0.1  # seconds, when no connection can be taken (no fd left)
FOREIGN = "another user's socket is there: {}; stop that user's agent; if none runs, remove the socket"
IN_THE_WAY = {  # a file at the socket's path: why it is kept; "": it is removed
    "abandoned": "",
    "answers": "another certagent answers there",
    "no socket": "another file that is not a socket is there; remove it",
}
WAITING = 64
PER_UID = 16


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks, by SO_PEERCRED."""

    pid: int
    uid: int
    gid: int

    @property
    def trusted(self) -> bool:
        """Root, or the agent's own user."""
        return self.uid in {0, os.geteuid()}


def denied(command: str, uid: int) -> str:
    """Given a command and the agent's user, return why another user is refused."""
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:  # a user without an entry in passwd, as in a container
        user = f"uid {uid}"
    return f"permission denied: {command!r} needs root" + (f" or the agent's user ({user})" if uid else "")


Answer = Callable[[str, dict[str, Any], Peer], dict[str, Any]]


class Control:
    """The server."""

    def __init__(self, path: str, *, others: Literal["read-only", "refuse"], answer: Answer) -> None:
        """Binds; raises HostError if another agent answers, or if the path is not a socket."""
        if len(os.fsencode(path)) > LONGEST_PATH:
            raise HostError(f"cannot bind {path}: longer than {LONGEST_PATH} bytes; set `socket` to a shorter path")
        self._path, self._others, self._answer = path, others, answer
        self._pools = {trusted: ThreadPoolExecutor(WORKERS, thread_name_prefix="control") for trusted in (True, False)}
        self._stopping = threading.Event()
        self._busy: Counter[int] = Counter()
        self._guard = threading.Lock()
        self._listener = self._bind()
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)

    def _bind(self) -> socket.socket:
        folder = os.path.dirname(self._path)
        try:
            os.makedirs(folder, mode=0o755, exist_ok=True)
        except OSError as error:
            remedy = "let the agent's user own this directory, or set agent.socket"
            raise HostError(f"cannot bind {self._path}: cannot make {folder}: {error.strerror}; {remedy}") from error
        self._clear()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(listener.fileno(), 0o600)
            listener.bind(self._path)
            if self._others == "read-only":
                os.chmod(self._path, 0o666)  # noqa: S103 - SO_PEERCRED decides which commands a user may send
            listener.listen(128)
        except OSError as error:
            listener.close()
            raise HostError(f"cannot bind {self._path}: {error.strerror}", error.errno) from error
        return listener

    def _clear(self) -> None:
        """Remove the socket of a daemon that is gone."""
        try:
            problem = IN_THE_WAY[_standing(self._path)]
            if not problem:
                os.unlink(self._path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise HostError(f"cannot bind {self._path}: {uncleared(error)}", error.errno) from error
        if problem:
            raise HostError(f"cannot bind {self._path}: {problem}")

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                self._stopping.wait(BREATH)
                continue
            peer = Peer(*struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)))
            with self._guard:
                full = not peer.trusted and (sum(self._busy.values()) >= WAITING or self._busy[peer.uid] >= PER_UID)
                if not full:
                    self._busy[peer.uid] += 1
            if full:
                connection.close()
            else:
                self._hand_on(connection, peer)

    def _hand_on(self, connection: socket.socket, peer: Peer) -> None:
        try:
            self._pools[peer.trusted].submit(self._serve, connection, peer)
        except RuntimeError:  # no thread can be started now: the pool has kept it, for the next one that can
            self._stopping.wait(BREATH)

    def _serve(self, connection: socket.socket, peer: Peer) -> None:
        try:
            with connection, suppress(OSError):
                answer = self._reply(_line(connection), peer)
                connection.settimeout(DEADLINE)
                connection.sendall(json.dumps(answer).encode() + b"\n")
        finally:
            with self._guard:
                self._busy[peer.uid] -= 1

    def _reply(self, line: bytes, peer: Peer) -> dict[str, Any]:
        request = parsed(line)
        if request is None:
            return {"ok": False, "error": "malformed request", "code": "bad-request"}
        if not peer.trusted and (self._others == "refuse" or request.command not in READ_ONLY):
            return {"ok": False, "error": denied(request.command, os.geteuid()), "code": "forbidden"}
        try:
            return self._answer(request.command, request.arguments, peer)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, the peer gets an answer and the daemon goes on
            return {"ok": False, "error": f"{type(error).__name__}: {error}", "code": "internal"}

    def stop(self) -> None:
        """Stop answering, remove the socket."""
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join()  # before its pools end: it may have taken a connection just now
        self._listener.close()
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        with suppress(OSError):
            os.unlink(self._path)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a peer sent."""

    command: str
    arguments: dict[str, Any]


def parsed(line: bytes) -> Asked | None:
    """Given a line from a peer, return the request, None if it is malformed."""
    try:
        request = json.loads(line)
        return Asked(str(request["command"]), dict(request.get("args", {})))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def uncleared(error: OSError) -> str | None:
    """Given why the file at the socket's path cannot be examined or removed, return the message."""
    return FOREIGN.format(error.strerror) if isinstance(error, PermissionError) else error.strerror


def _standing(path: str) -> Literal["abandoned", "answers", "no socket"]:
    """The file at a path. Raises OSError, FileNotFoundError if there is none."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return "no socket"
    return "answers" if _answered(path) else "abandoned"


def _answered(path: str) -> bool:
    """Whether a process accepts connections at a socket. Raises OSError if that is not known."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.settimeout(1)
        try:
            knock.connect(path)
        except ConnectionRefusedError:
            return False
    return True


def _line(connection: socket.socket) -> bytes:
    """The request; TimeoutError where it is not there in time."""
    data, end = b"", time.monotonic() + DEADLINE
    while not data.endswith(b"\n") and len(data) < LIMIT:
        connection.settimeout(max(end - time.monotonic(), 0.001))
        part = connection.recv(4096)
        if not part:
            break
        data += part
    return data
