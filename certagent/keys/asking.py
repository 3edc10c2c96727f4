"""The agent's side of the children that have keys. In a process that lives for one command, nothing is asked of one."""

import json
import os
import select
import socket
import threading
import time
from contextlib import suppress
from itertools import chain
from typing import Any

from certagent.keys.child import DONE, READY, SECONDS
from certagent.keys.operations import perform
from certagent.posix.closing import close
from certagent.posix.errors import HostError
from certagent.sandbox.nursery import Nursery
from certagent.x509 import X509Error

CHILD = "certagent.keys.child"
MOST = 4  # children at a time
START = 30.0  # seconds that a loaded machine may take to start one
LONGEST = 60.0  # seconds of one operation: the longest makes an RSA key
TRIES = 2
EXAMINE, STRANGERS = "examine", "led"  # what parses files of a directory, and what a stranger sent
UNUSED = 60.0  # seconds after which nothing waits for another request
LARGEST = 16 << 20  # bytes of an answer
SLOW = f"cannot use a key: that takes longer than {LONGEST:g} s"
BROKEN = "cannot use a key: the process that does it ended, or gave a malformed answer"
NO_CHILD = "no process can be started that reads what others sent"


class Keeper:
    """Has children carry out operations with keys, after `apart`; safe to use by any thread."""

    def __init__(self, nursery: Nursery | None = None) -> None:
        """Starts nothing yet."""
        self._nursery = nursery or Nursery(CHILD)
        self._apart = False
        self._idle: dict[str, list[socket.socket]] = {}  # by whose bytes they parse: "" for our own alone
        self._guard = threading.Lock()
        self._slots = threading.BoundedSemaphore(MOST)
        self._used = 0.0  # when something was asked last, by the monotonic clock

    def apart(self) -> None:
        """From now on this process has no key in its memory."""
        self._apart = True

    def rest(self, now: float) -> None:
        """End what was not needed for a minute. `now`: of the monotonic clock."""
        if self._used and now - self._used > UNUSED:
            self._used = 0.0
            self.end()

    def end(self) -> None:
        """End the children and the process that makes them."""
        with self._guard:
            for session in chain.from_iterable(self._idle.values()):
                session.close()
            self._idle = {}
        self._nursery.end()

    def ask(self, name: str, given: dict[str, Any], files: list[int]) -> Any:
        """The result of an operation. X509Error and ValueError as the operation raises them; HostError without one.

        A machine that can start no further process does it here: its certificates are worth more than this guard. Only
        what a stranger sent is read by a child or not at all.
        """
        found = None
        if self._apart:
            self._used = time.monotonic()
            with suppress(OSError), self._slots:
                found = self._asked(name, given, files)
        if found is None and self._apart and name == STRANGERS:
            raise HostError(NO_CHILD)
        if found is None:
            found = perform(name, given, files)
        if "problem" not in found:
            return found["result"]
        if found["kind"]:
            raise X509Error(found["kind"], found["problem"])
        raise ValueError(found["problem"])

    def _asked(self, name: str, given: dict[str, Any], files: list[int]) -> dict[str, Any]:
        """What a child says, one that waits or a new one. OSError where none can be started, else HostError."""
        request = os.memfd_create("request", os.MFD_CLOEXEC)
        try:
            while (session := self._waiting(name)) is not None:
                with suppress(OSError):  # it ended meanwhile, for it had nothing to do
                    return self._told(session, name, given, [request, *files])
            for _ in range(TRIES):
                session = self._started()
                with suppress(OSError):
                    return self._told(session, name, given, [request, *files])
            raise HostError(BROKEN)
        finally:
            close(request)

    def _waiting(self, name: str) -> socket.socket | None:
        """A child that waits for such a request.

        What examines the files of a directory never has the key of a CA; what reads a stranger's bytes has no key.
        """
        with self._guard:
            idle = self._idle.get(_class(name))
            return idle.pop() if idle else None

    def _started(self) -> socket.socket:
        """A new child that has given up its rights. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._nursery.send({}, [theirs.fileno()], SECONDS)
            _expect(READY, _heard(ours, START))
        except OSError:
            ours.close()
            raise
        return ours

    def _told(self, session: socket.socket, name: str, given: dict[str, Any], files: list[int]) -> dict[str, Any]:
        """The answer to one request, after which the child waits for another one.

        Raises OSError where it ended, HostError where it takes too long.
        """
        os.ftruncate(files[0], 0)
        os.pwrite(files[0], json.dumps(given).encode(), 0)
        try:
            socket.send_fds(session, [name.encode()], files)
            word = _heard(session, LONGEST)
            _expect(DONE, DONE if word is None else word)
        except OSError:
            session.close()
            raise
        if word is None:
            session.close()
            raise HostError(SLOW)
        with self._guard:
            self._idle.setdefault(_class(name), []).append(session)
        return _result(os.pread(files[0], LARGEST, 0))


def _class(name: str) -> str:
    """Which operations share a child."""
    return name if name in {EXAMINE, STRANGERS} else ""


def _heard(session: socket.socket, seconds: float) -> bytes | None:
    """One datagram, b"" at the end, None where nothing comes in time. Raises OSError."""
    poll = select.poll()
    poll.register(session, select.POLLIN)
    return session.recv(1) if poll.poll(seconds * 1000) else None


def _expect(word: bytes, heard: bytes | None) -> None:
    """Raises OSError where a child said something else, or nothing."""
    if heard != word:
        raise OSError("the process that has keys ended")


def _result(data: bytes) -> dict[str, Any]:
    """Given what a child wrote, return its answer. Raises HostError where it is none."""
    with suppress(ValueError, RecursionError):
        found = json.loads(data)
        if isinstance(found, dict) and ("result" in found or {"kind", "problem"} <= found.keys()):
            return found
    raise HostError(BROKEN)


KEEPER = Keeper()  # of this process
