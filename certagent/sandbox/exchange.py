"""What is said between the agent and one of its workers: a question, lines on the way to the answer, the answer."""

import os
import select
import selectors
import time
from collections.abc import Callable
from contextlib import suppress
from subprocess import Popen

from certagent.posix.errors import HostError

Told = Callable[[bytes], None]
LIMIT = 4 << 20
ERRORS = 1 << 16
GRACE = 1.0
DONE = b"done\n"
MOST_LINES = 16


def exchange(
    child: Popen[bytes],
    question: bytes,
    deadline: float,
    into: tuple[bytearray, bytearray],
    told: Told | None,
) -> None:
    """Feed and read, `into` output and errors, within the deadline and the caps. Raises HostError.

    `told` gets each whole line of the output; without it lines are part of the answer.
    """
    end = time.monotonic() + deadline
    with selectors.DefaultSelector() as ready:
        talk = _Talk(ready, child, question, into, told)
        while ready.get_map():
            talk.go_on(remaining(end - time.monotonic(), deadline))
    if not _ended(child.pid, max(end - time.monotonic(), GRACE)):
        raise HostError("the worker closed its output but did not exit")


def remaining(left: float, deadline: float) -> float:
    """Given the seconds that are left of a deadline, return them. HostError where there are none."""
    if left <= 0:
        raise HostError(f"the worker did not finish within {deadline:g} s")
    return left


class _Talk:
    """One exchange: what is still to be written, and where each output goes, up to its cap."""

    def __init__(
        self,
        ready: selectors.BaseSelector,
        child: Popen[bytes],
        question: bytes,
        into: tuple[bytearray, bytearray],
        told: Told | None,
    ) -> None:
        """Waits for all three pipes. Raises HostError."""
        if child.stdin is None or child.stdout is None or child.stderr is None:
            raise HostError("cannot communicate with a worker without pipes")
        self._ready, self._stdin, self._rest, self._answer = ready, child.stdin, memoryview(question), into[0]
        self._lines, self._more = _Lines(child.stdin.fileno(), into[0], told), told is not None
        os.set_blocking(child.stdin.fileno(), False)
        ready.register(child.stdin, selectors.EVENT_WRITE)
        for pipe, buffer, cap in ((child.stdout, into[0], LIMIT), (child.stderr, into[1], ERRORS)):
            ready.register(pipe, selectors.EVENT_READ, (pipe.fileno(), buffer, cap))

    def go_on(self, seconds: float) -> None:
        """Wait for a pipe at most so long, then write and read what can be. Raises HostError."""
        for key, _ in self._ready.select(seconds):
            if key.fileobj is self._stdin:
                self._feed()
            elif not _drained(*key.data):
                self._ready.unregister(key.fileobj)
        self._lines.tell()
        if len(self._answer) > LIMIT:
            raise HostError(f"the worker's answer is longer than {LIMIT} bytes")

    def _feed(self) -> None:
        """Write what fits; when everything is written, or the reader is gone, close the pipe unless more follows."""
        self._rest = _written(self._stdin.fileno(), self._rest)
        if self._rest:
            return
        self._ready.unregister(self._stdin)
        if not self._more:
            with suppress(OSError):
                self._stdin.close()


def _ended(pid: int, seconds: float) -> bool:
    """Whether our child ends within that time; it is not reaped by it."""
    fd = os.pidfd_open(pid)
    try:
        return bool(select.select([fd], [], [], seconds)[0])
    finally:
        os.close(fd)


class _Lines:
    """The lines that a worker prints before its answer."""

    def __init__(self, stdin: int, out: bytearray, told: Told | None) -> None:
        """`out`: what it printed so far; whole lines are taken out of it."""
        self._stdin, self._out, self._told, self._left = stdin, out, told, MOST_LINES

    def tell(self) -> None:
        """Pass each whole line on, and say to the worker that it was. Raises HostError."""
        while self._told is not None and b"\n" in self._out:
            if not self._left:
                raise HostError(f"the worker printed more than {MOST_LINES} lines before its answer")
            self._left -= 1
            line = bytes(self._out[: self._out.index(b"\n")])
            del self._out[: len(line) + 1]
            self._told(line)
            _written(self._stdin, memoryview(DONE))  # the worker has read the question: the pipe is empty


def _written(fd: int, rest: memoryview) -> memoryview:
    """What is left to be written; nothing if the reader is gone."""
    try:
        return rest[os.write(fd, rest) :] if rest else rest
    except BlockingIOError:
        return rest
    except OSError:
        return rest[len(rest) :]


def _drained(fd: int, into: bytearray, cap: int) -> bool:
    """Read once; what is over the cap is counted by one byte only. False at the end."""
    data = os.read(fd, 1 << 16)
    into += data[: max(0, cap + 1 - len(into))]
    return bool(data)
