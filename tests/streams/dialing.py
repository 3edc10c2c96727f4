"""New TLS connections to each target all the time, verified in both directions, and what became of them.

Whose certificates are shown is asked again for each connection: a dialer of a server uses what the server has loaded.
What is counted as failed is TLS alone: a certificate that one of the two did not accept, or a connection that was
closed soon after it began. A target that nobody reaches (switched off, cut off), and a connection that took longer than
a server waits for, say nothing of the certificates: they are counted apart.
"""

import errno
import json
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from certagent.x509 import memory_file

SSL_REQUEST = struct.pack("!II", 8, 80877103)
STARTUP = b"user\0root\0database\0postgres\0\0"
PAUSE = 0.05  # seconds from one connection to the next
PATIENCE = 2.0  # seconds for a connection to be made; its TLS may take as long as a busy machine needs
BUSY = 60.0
SLOW = 10.0  # seconds after which a server may have closed a connection for its slowness
AWAY = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
KEPT = 5  # texts of failures of each direction


class Shown(NamedTuple):
    """Whom a dialer trusts, and what it shows: PEM."""

    roots: bytes
    cert: bytes
    key: bytes


@dataclass(frozen=True)
class Target:
    """One server. `name`: what its certificate must name."""

    host: str
    port: int
    kind: str  # rpc: TLS immediately, as between nodes; sql: as a client asks
    name: str
    pause: float = PAUSE


class UnreachedError(Exception):
    """No connection was made, or it led nowhere: nothing is known of the certificates."""


@dataclass
class Tally:
    """What became of the connections of one direction."""

    total: int = 0
    failed: int = 0
    unreached: int = 0
    last: float = 0.0  # when one failed, seconds since 1970; 0: never
    texts: list[tuple[float, str]] = field(default_factory=list)  # of the first failures, each with its moment

    def add(self, text: str) -> None:
        """A failure."""
        self.failed += 1
        self.last = time.time()
        if len(self.texts) < KEPT:
            self.texts.append((time.time(), text))


def context_of(shown: Shown) -> ssl.SSLContext:
    """Verify by its roots, show its pair. Raises ssl.SSLError for what cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as Go does: each certificate of the bundle is an anchor
    context.load_verify_locations(cadata=shown.roots.decode())
    with memory_file(shown.cert, shown.key) as path:
        context.load_cert_chain(path)
    return context


def dial(target: Target, context: ssl.SSLContext) -> None:
    """One connection, and one answer over it. Raises UnreachedError; OSError where TLS failed."""
    try:
        raw = socket.create_connection((target.host, target.port), PATIENCE)
    except OSError as error:
        raise UnreachedError(str(error)) from error
    begin = time.monotonic()
    with raw:
        raw.settimeout(BUSY)
        try:
            _spoken(target, raw, context)
        except OSError as error:
            if unreached(error, time.monotonic() - begin):
                raise UnreachedError(str(error)) from error
            raise


def unreached(error: OSError, lasted: float) -> bool:
    """Whether a connection that failed after so many seconds says nothing of the certificates.

    An alert, or a certificate that does not verify, is always an answer. A connection that is closed is one as well,
    unless it took so long that the other end may have given up.
    """
    if isinstance(error, TimeoutError) or error.errno in AWAY:
        return True
    closed = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionError)
    return closed and lasted > SLOW


def _spoken(target: Target, raw: socket.socket, context: ssl.SSLContext) -> None:
    if target.kind == "sql":
        raw.sendall(SSL_REQUEST)
        if raw.recv(1) != b"S":
            raise ConnectionError("the port does not speak pgwire with TLS")
    with context.wrap_socket(raw, server_hostname=target.name) as tls:
        tls.sendall(b"call" if target.kind == "rpc" else struct.pack("!II", 8 + len(STARTUP), 196608) + STARTUP)
        answer = tls.recv(4096)
        if target.kind == "sql" and answer[:1] == b"R":
            tls.sendall(b"X" + struct.pack("!I", 4))
        elif answer != b"OK":
            raise ConnectionError(f"answered {answer!r}")


class Dialer:
    """One thread for each target, until it is taken away."""

    def __init__(self, shown: Callable[[], Shown]) -> None:
        self.shown, self.tallies = shown, dict[str, Tally]()
        self._threads: dict[str, tuple[threading.Thread, threading.Event]] = {}
        self._built: tuple[Shown, ssl.SSLContext] | None = None

    def dial(self, targets: Mapping[str, Target]) -> None:
        """These from now on; the last connection to a target that is no longer there has ended at the return."""
        gone = [self._threads.pop(label) for label in list(self._threads) if label not in targets]
        for _, end in gone:
            end.set()
        for thread, _ in gone:
            thread.join()
        for label, target in targets.items():
            if label not in self._threads:
                end = threading.Event()
                thread = threading.Thread(target=self._run, args=(target, self._tally(label), end), daemon=True)
                self._threads[label] = thread, end
                thread.start()

    def _tally(self, label: str) -> Tally:
        return self.tallies.setdefault(label, Tally())

    def _run(self, target: Target, tally: Tally, end: threading.Event) -> None:
        pause = 0.0
        while not end.wait(pause):
            begin = time.monotonic()
            try:
                dial(target, self._context())
            except UnreachedError:
                tally.unreached += 1
            except (OSError, ValueError) as error:
                tally.add(f"{type(error).__name__}: {error}")
            tally.total += 1
            pause = max(0.0, target.pause - (time.monotonic() - begin))

    def _context(self) -> ssl.SSLContext:
        """Of what is shown now. Where files are replaced just now, a certificate may be read without its key.

        What cannot be used for longer than a busy machine takes to replace two files is raised.
        """
        end = time.monotonic() + SLOW
        while True:
            shown, built = self.shown(), self._built
            if built is not None and built[0] == shown:
                return built[1]
            try:
                self._built = shown, context_of(shown)
            except ssl.SSLError:
                if time.monotonic() > end:
                    raise
                threading.Event().wait(PAUSE)

    def report(self) -> dict[str, Any]:
        """What became of the connections so far, by target."""
        return {label: vars(tally) for label, tally in list(self.tallies.items())}


def obey(dialer: Dialer) -> None:
    """Carry out what standard input says, a JSON object a line, and answer each; return at its end."""
    for line in sys.stdin:
        targets = json.loads(line).get("targets")
        if targets is not None:
            dialer.dial({label: Target(**target) for label, target in targets.items()})
        print(json.dumps(dialer.report()), flush=True)
