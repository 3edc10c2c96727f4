"""A continuous stream of new TLS connections, and their results."""

import threading
import time
from hashlib import sha256

from certagent.demo.launch import StandIn, connect


class Stream:
    """Connects to the SQL port again and again, verifying, with a client pair where given, until stopped."""

    def __init__(self, server: StandIn, roots: str, pair: tuple[str, str] | None = None, threads: int = 2) -> None:
        """Starts immediately."""
        self._server, self._roots, self._pair = server, roots, pair
        self._end = threading.Event()
        self.fingerprints: dict[str, float] = {}  # each leaf seen, and when it was first seen (monotonic)
        self.failures: list[str] = []
        self.connections = 0
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                self._once()
            except OSError as error:
                self.failures.append(f"{type(error).__name__}: {error}")

    def _once(self) -> None:
        with connect(self._server.ports["sql"], "sql", self._roots, self._pair) as tls:
            if self._pair:
                tls.sendall(b"start")
                if not tls.recv(1):
                    raise ConnectionError("closed after the handshake")
            self.fingerprints.setdefault(sha256(tls.getpeercert(binary_form=True) or b"").hexdigest(), time.monotonic())
        self.connections += 1

    def stop(self) -> "Stream":
        """No more; wait for the last ones."""
        self._end.set()
        for thread in self._threads:
            thread.join()
        return self
