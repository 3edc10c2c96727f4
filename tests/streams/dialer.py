"""A dialer of its own: of a client, or of a server that dials nobody itself (PostgreSQL).

dialer.py USER DIR STEM        a client: it reads DIR anew for each connection
dialer.py USER DIR STEM LOG ADDRESS LIVE

Beside a server: it reads DIR anew when LOG says that the server did. At ADDRESS it says as cockroach's metrics do how
many nodes are live: the number in the file LIVE.
"""

import socket
import ssl
import sys
import threading
from contextlib import suppress
from pathlib import Path

from certagent.demo.server import become
from certagent.x509 import memory_file
from tests.streams.dialing import BUSY, Dialer, Shown, obey

RELOADED = b"received SIGHUP"


def read(directory: Path, stem: str) -> Shown:
    """A bundle and a pair as they are on disk; `node` where there is no pair of its own for calls."""
    own = stem if (directory / f"{stem}.crt").exists() else "node"
    return Shown(*((directory / name).read_bytes() for name in ("ca.crt", f"{own}.crt", f"{own}.key")))


class Following:
    """What a server has loaded, as far as its log shows."""

    def __init__(self, directory: Path, stem: str, log: Path) -> None:
        self.directory, self.stem, self.log, self.reloads = directory, stem, log, 0
        self.loaded = read(directory, stem)

    def __call__(self) -> Shown:
        """After a reload it is read once."""
        reloads = self.log.read_bytes().count(RELOADED)
        if reloads != self.reloads:
            self.reloads, self.loaded = reloads, read(self.directory, self.stem)
        return self.loaded


class Metrics:
    """A page with the number of live nodes, by the certificate that is loaded."""

    def __init__(self, address: str, live: Path, loaded: Following) -> None:
        host, _, port = address.rpartition(":")
        self.listener = socket.create_server((host, int(port)))
        self.live, self.loaded = live, loaded
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        """One connection after the other."""
        while True:
            raw, _ = self.listener.accept()
            with raw, suppress(OSError, ValueError):
                raw.settimeout(BUSY)
                self._answer(raw)

    def _answer(self, raw: socket.socket) -> None:
        context, shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.loaded()
        with memory_file(shown.cert, shown.key) as path:
            context.load_cert_chain(path)
        with context.wrap_socket(raw, server_side=True) as tls:
            tls.recv(65536)
            text = f'liveness_livenodes{{node_id="1"}} {self.live.read_text().strip()}\n'
            tls.sendall(f"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n{text}".encode())


def main(user: str, directory: str, stem: str, log: str = "", address: str = "", live: str = "") -> None:
    place = Path(directory)
    become(user)
    if not log:
        obey(Dialer(lambda: read(place, stem)))
        return
    loaded = Following(place, stem, Path(log))
    Metrics(address, Path(live), loaded)
    obey(Dialer(loaded))


if __name__ == "__main__":
    main(*sys.argv[1:])
