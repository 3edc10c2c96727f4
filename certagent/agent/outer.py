"""The outer process: where a configured path is on a file system that may hang, the agent itself is its child.

A thread that waits for a FUSE daemon which has read its request ends by no signal, and its process stays until the
mount ends. The agent touches no such path before a child has (posix/responding.py), but a mount may begin to hang in
between. The outer process touches none at all, so it always ends: it passes signals on to the agent, and to systemd
what the agent says. When the agent has stopped, or has not within its time, what is left of it stays behind.

Rejected: a process for each directory, which would need a second protocol between all parts of an agent; the outer
process for everybody, who would pay with memory for what cannot happen on a local disk.
"""

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Any

from certagent.agent.systemd import notify
from certagent.posix.mounts import MOUNTS
from certagent.posix.responding import TOUCHERS

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STOPS_WITHIN = 12.0  # seconds after SIGTERM: then it is killed
ENDS_WITHIN = 1.0  # seconds after the agent has stopped, or was killed
NOTE, END = b"N", b"E"
UNENDED = 1  # the exit code where the agent did not stop


def paths_in(value: object) -> Iterable[str]:
    """Every absolute path in a configuration."""
    if isinstance(value, str):
        yield from (value,) if value.startswith("/") else ()
    elif is_dataclass(value):
        for field in fields(value):
            yield from paths_in(getattr(value, field.name))
    elif isinstance(value, Mapping):
        yield from paths_in(tuple(value.values()))
    elif isinstance(value, tuple | list | frozenset):
        for part in value:
            yield from paths_in(part)


class Inner:
    """The agent's side of an outer process."""

    def __init__(self, line: socket.socket) -> None:
        """It ends with the outer process, however that ends."""
        self._line = line
        threading.Thread(target=self._watch, name="outer", daemon=True).start()

    def _watch(self) -> None:
        with suppress(OSError):
            self._line.recv(1)
        os.kill(os.getpid(), signal.SIGKILL)

    def notify(self, text: str) -> None:
        """Have it told to systemd, which listens to the outer process alone."""
        with suppress(OSError):
            self._line.send(NOTE + text.encode())

    def stopped(self, code: int) -> None:
        """The agent has stopped: what is left of this process may not be able to end."""
        with suppress(OSError):
            self._line.send(END + str(code).encode())


def divided(config: object, path: str) -> Inner | int | None:
    """Divide this process where a path may hang: the agent's side, or at the end the exit code. None: no need to.

    It must have no other thread. `path`: of the configuration.
    """
    if not any(MOUNTS.hanging(found) for found in (path, *paths_in(config))):
        return None
    TOUCHERS.end()  # each side has its own
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # until there is somebody to pass them on
    pid = os.fork()
    if pid == 0:
        ours.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return Inner(theirs)
    theirs.close()
    return _Outer(pid, ours).run(before)


class _Outer:
    """What waits for the agent."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self._pid, self._line = pid, line
        self._code: int | None = None  # that the agent has said
        self._end: float | None = None  # until when it is waited for; None: for ever
        self._killed = False

    def run(self, mask: Any) -> int:
        """Pass on what there is to pass on, until the agent has ended or cannot."""
        woken, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waking)
        for number in (*PASSED_ON, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        while (code := self._ended()) is None:
            heard = [self._line.fileno()] if self._line.fileno() >= 0 else []
            ready, _, _ = select.select([woken, *heard], [], [], self._left())
            if woken in ready:
                self._pass_on(os.read(woken, 4096))
            if set(heard) & set(ready):
                self._hear()
        return code

    def _left(self) -> float | None:
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def _pass_on(self, numbers: bytes) -> None:
        for number in set(numbers) & set(PASSED_ON):
            with suppress(ProcessLookupError):
                os.kill(self._pid, number)
            if number != signal.SIGHUP and self._end is None:
                self._end = time.monotonic() + STOPS_WITHIN

    def _hear(self) -> None:
        said = self._line.recv(1 << 16)
        if said.startswith(NOTE):
            notify(os.environ, said.removeprefix(NOTE).decode())
        elif said.startswith(END):
            self._code, self._end = int(said.removeprefix(END)), time.monotonic() + ENDS_WITHIN
        else:
            self._line.close()  # it has ended, which waitpid tells

    def _ended(self) -> int | None:
        """The exit code of the agent, where it has ended or is waited for no longer."""
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid:
            return self._as(os.waitstatus_to_exitcode(status))
        if self._end is None or time.monotonic() < self._end:
            return None
        if self._code is None and not self._killed:
            os.kill(self._pid, signal.SIGKILL)
            self._killed, self._end = True, time.monotonic() + ENDS_WITHIN
            return None
        return UNENDED if self._code is None else self._code

    def _as(self, code: int) -> int:
        """The exit code; where a signal ended the agent, the same ends this process."""
        if code < 0 and not self._killed:
            with suppress(OSError):
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        return code if code >= 0 else UNENDED
