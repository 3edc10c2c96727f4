"""Starting a server as its own process on loopback, and ending it by its pid."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import pytest

from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
SERVERS = ROOT / ".servers"
LOCALHOST = "127.0.0.1"


def missing(what: str, install: str) -> NoReturn:
    """A skip with the command to run; in CI a failure."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {what} here: {install}")


def program(name: str, install: str) -> str:
    """Where a program is: in PATH, or in the virtual environment `.servers/NAME`."""
    found = shutil.which(name) or shutil.which(name, path=str(SERVERS / name / "bin"))
    return found or missing(name, install)


def free_port() -> int:
    """A TCP port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection((LOCALHOST, port), 1).close()
    except OSError:
        return False
    return True


class Running:
    """One server process; started by the `with` block, ended at its end. Its output is in `log`."""

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
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environ, cwd=self.cwd
            )
        wait_until(lambda: self.ended() or self.ready(), f"{self.command[0]} is ready: see {self.log}")
        assert not self.ended(), f"{self.command[0]} ended: {self.log.read_text(errors='replace')[-2000:]}"
        return self

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def stop(self) -> None:
        """End it, by force where it does not listen."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
