"""Starting a server as its own process on loopback, and ending it by its pid."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import pytest

from tests.logs import end_of, note
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
SERVERS = ROOT / ".servers"
LOCALHOST = "127.0.0.1"
FIRST_PORT = 10000
HELD: list[socket.socket] = []  # what keeps ports and addresses ours


def missing(what: str, install: str) -> NoReturn:
    """A skip with the command to run; in CI a failure."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {what} here: {install}")


def program(name: str, install: str, place: str | None = None) -> str:
    """Where a program is: in PATH, or in the virtual environment `.servers/PLACE`, which mostly has its name."""
    found = shutil.which(name) or shutil.which(name, path=str(SERVERS / (place or name) / "bin"))
    return found or missing(name, install)


def client_ports() -> range:
    """The ports that the kernel gives to clients, and to whoever binds port 0."""
    low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    return range(int(low), int(high) + 1)


def free_port() -> int:
    """A port that nobody uses, TCP and UDP, and that nobody is given until this process ends.

    None of those that the kernel gives to clients, and reserved among all runs of these tests by a socket of its name:
    between this probe and the server's own bind nobody else takes it.
    """
    taken = client_ports()
    ports = [port for port in range(FIRST_PORT, 1 << 16) if port not in taken] or list(taken)
    start = secrets.randbelow(len(ports))
    return next(port for port in (*ports[start:], *ports[:start]) if _mark(f"port {port}") and _unused(port))


def free_address() -> str:
    """One of 127/8 that nobody is given until this process ends: for CAs that ask at port 80 of an address."""
    spots = iter(lambda: (50 + secrets.randbelow(200), secrets.randbelow(256), 1 + secrets.randbelow(254)), None)
    return next(a for a in (f"127.{x}.{y}.{z}" for x, y, z in spots) if _mark(a))


def _unused(port: int) -> bool:
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind(("", port))
    except OSError:
        return False
    return True


def _mark(what: str) -> bool:
    """Make it ours among all runs of these tests on this machine; False where it is another's."""
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.bind(f"\0certagent test, {what}")
    except OSError:
        mark.close()
        return False
    HELD.append(mark)
    return True


def closed_port() -> int:
    """A port where every connection is refused until this process ends: it is bound, and nobody listens."""
    held = socket.socket()
    held.bind((LOCALHOST, 0))
    HELD.append(held)
    return int(held.getsockname()[1])


def listens(port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection((LOCALHOST, port), 1).close()
    except OSError:
        return False
    return True


class Running:
    """One server process; started by the `with` block, ended at its end. Its output is in `log`."""

    ends_by = signal.SIGTERM

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        ready: Callable[[], object],
        *,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """`ready` is asked until it is true."""
        self.command, self.log, self.ready, self.cwd = list(command), log, ready, cwd
        self.environ = {**os.environ, **(environ or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with open(note(self.log), "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environ, cwd=self.cwd
            )
        try:
            wait_until(
                lambda: self.ended() or self.ready(), lambda: f"{self.command[0]} is not ready: {end_of(self.log)}"
            )
            assert not self.ended(), f"{self.command[0]} ended: {end_of(self.log)}"
        except BaseException:
            self.stop()
            raise
        return self

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def stop(self) -> None:
        """End it, by force where it does not listen."""
        if self.process is None:
            return
        self.process.send_signal(self.ends_by)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
