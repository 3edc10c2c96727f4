"""The agent's side of a process that forks: it is started with the first request, and again where it ended."""

import json
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from certagent.sandbox.user import unprivileged
from certagent.sandbox.worker_process import ENVIRONMENT, Workers

FORKING = "certagent.sandbox.forking"


class Nursery:
    """One such process, for one module whose `answer` its children call; safe to use by any thread."""

    def __init__(self, module: str, user: Callable[[], tuple[int, int]] = unprivileged) -> None:
        """Starts nothing yet. `user` says whom the process becomes where we are root."""
        self._module, self._user = module, user
        self._guard = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, None where none runs."""
        return self._child.pid if self._child else None

    def send(self, question: dict[str, Any], files: list[int], seconds: float) -> None:
        """Have a child answer a question: it gets copies of these descriptors, and is killed after that time.

        Raises OSError where no process can be started.
        """
        data = json.dumps({"question": question, "seconds": seconds}).encode()
        with self._guard:
            if self._socket is not None:
                with suppress(OSError):  # it ended: another one is started
                    socket.send_fds(self._socket, [data], files)
                    return
            self._start()
            if self._socket is not None:
                socket.send_fds(self._socket, [data], files)

    def _start(self) -> None:
        self._end()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._child = subprocess.Popen(
                    Workers(self._user()).command(FORKING, [self._module]),
                    cwd="/",
                    env=ENVIRONMENT,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            except OSError:
                ours.close()
                raise
        self._socket = ours

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._child is not None:
            with suppress(OSError):  # it may be another user's, who ends when the socket is closed
                self._child.kill()
            self._child.wait()
        self._socket = self._child = None

    def end(self) -> None:
        """End the process; the next question starts another one."""
        with self._guard:
            self._end()
