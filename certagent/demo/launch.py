"""Start the stand-in as a separate process, and connect to it."""

import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from types import TracebackType
from typing import Any, Self

SSL_REQUEST = struct.pack("!II", 8, 80877103)
LOCALHOST = "127.0.0.1"


def further(user: str, flags: Sequence[str]) -> list[str]:
    """Given the user that it becomes ("": it stays) and flags of cockroach, return them; it listens on loopback."""
    address = [] if any(f.startswith("--listen-addr") for f in flags) else ["--listen-addr", f"{LOCALHOST}:0"]
    return [*address, *(["--user", user] if user else []), *flags]


class StandIn:
    """One running stand-in; ends with the `with` block."""

    def __init__(
        self,
        certs_dir: str,
        workspace: str,
        *,
        user: str = "",
        environ: Mapping[str, str] | None = None,
        flags: Sequence[str] = (),
        command: str = "start",
        prefix: Sequence[str] = (),
    ) -> None:
        """Start it, with further flags of cockroach; `prefix` is a command that runs it (unshare).

        `workspace` takes its log and its ports file, and must be writable for `user`.
        """
        self.log_path, self._ports_path = f"{workspace}/cockroach.log", f"{workspace}/ports.json"
        words = [*prefix, sys.executable, "-m", "certagent.demo.server", *command.split(), "--certs-dir", certs_dir]
        words += ["--ports-file", self._ports_path, "--log", self.log_path, *further(user, flags)]
        self.process = subprocess.Popen(words, env={**os.environ, **(environ or {})}, stderr=subprocess.PIPE)
        self.ports: dict[str, int] = {}

    def wait(self, deadline: float = 60.0) -> Self:
        """Until it listens. Raises RuntimeError with its last words where it ends instead, or takes too long."""
        end = time.monotonic() + deadline
        while not os.path.exists(self._ports_path):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(self._last_words())
            time.sleep(0.01)
        with open(self._ports_path) as file:
            self.ports = json.load(file)
        return self

    def _last_words(self) -> str:
        """End it; what it said of its end."""
        self.process.kill()
        return (self.process.communicate()[1] or b"the stand-in does not listen").decode()

    def log(self) -> list[dict[str, Any]]:
        """Its log so far; whole lines only."""
        if not os.path.exists(self.log_path):
            return []
        with open(self.log_path) as file:
            return [json.loads(line) for line in file if line.endswith("\n")]

    def served(self, kind: str = "sql") -> str:
        """The fingerprint that a new connection gets now. Raises OSError."""
        with connect(self.ports[kind], kind) as tls:
            return sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()

    def stop(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()

    def __enter__(self) -> Self:
        return self.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def connect(port: int, kind: str, roots: str = "", pair: tuple[str, str] | None = None) -> ssl.SSLSocket:
    """A new TLS connection, verified by `roots` where given, with a client pair where given. Raises OSError."""
    context = _context(roots, pair)
    raw = socket.create_connection((LOCALHOST, port), timeout=20)
    try:
        return context.wrap_socket(_asked(raw) if kind == "sql" else raw)
    except BaseException:
        raw.close()
        raise


def _context(roots: str, pair: tuple[str, str] | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if roots:
        context.load_verify_locations(roots)
    else:
        context.verify_mode = ssl.CERT_NONE
    if pair:
        context.load_cert_chain(*pair)
    return context


def call(port: int, roots: str, pair: tuple[str, str]) -> str:
    """Call a node as another node does: a verified TLS connection with a pair; return its answer. Raises OSError."""
    with connect(port, "rpc", roots, pair) as tls:
        tls.sendall(b"call")
        answer = tls.recv(4096)
        if not answer:
            raise ConnectionResetError("closed after the handshake")
        return answer.decode()


def _asked(raw: socket.socket) -> socket.socket:
    raw.sendall(SSL_REQUEST)
    if raw.recv(1) != b"S":
        raise ConnectionError("the port does not speak pgwire")
    return raw
