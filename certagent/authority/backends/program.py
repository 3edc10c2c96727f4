"""Running a program: its input from memory, its output bounded, its end at a deadline.

Rejected: subprocess.run with a timeout. It keeps all output without a limit, and waits forever for a grandchild that
has the pipe open. Rejected too: a separate session. A worker is the leader of its process group, and the agent kills
the whole group, even if the system call filter forbids signals here.
"""

import os
import selectors
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from certagent.authority.errors import AuthorityError
from certagent.posix.owner import name_of
from certagent.sandbox import Profile

OUT, ERR = 1 << 20, 1 << 16  # the most that is taken of the two outputs
MEMORY = 8 << 30  # bytes of address space: Go and Java reserve more than they use
GRACE = 0.2  # silence, after a program ended, until a descendant that holds its output is not waited for


def confinement(words: Sequence[str], read: Iterable[str] = (), write: Iterable[str] = ()) -> Profile:
    """What a worker needs that runs a program: what the program's own words name, and what the settings allow."""
    named = sorted(w for w in words if w.startswith("/") and w.strip("/"))
    return Profile(programs=True, read=(*read, *named), write=(*write,), connect=None, memory=MEMORY)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: exit code (negative: the signal that ended it) and what it said."""

    code: int
    out: bytes
    err: bytes


def run(
    argv: Sequence[str],
    data: bytes,
    environ: Mapping[str, str],
    cwd: str,
    seconds: float,
    *,
    setting: str = "command",
    verbose: bool = False,
    secret: str = "",
) -> Ended:
    """Run it to its end; `setting` is what names it in the configuration. Raises AuthorityError.

    `verbose`: what it says on standard error is for people alone, and of too much of it the end is kept. `secret`: its
    content is behind the descriptor whose number is in CERTAGENT_SECRET_FD. Not in the environment, which every other
    process of the same user can read.
    """
    end = time.monotonic() + seconds
    try:
        with _memory(data) as given, _memory(secret.encode()) as hidden:
            handed = [hidden.fileno()] if secret else []
            child = subprocess.Popen(
                argv,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=with_secret(environ, handed),
                cwd=cwd,
                pass_fds=handed,
            )
    except (OSError, ValueError) as error:
        why = closed_to_us(argv[0]) or getattr(error, "strerror", None) or error
        raise AuthorityError(f"cannot run {argv[0]}: {why}; check `{setting}`", kind="credentials") from error
    try:
        out, err = _listen(argv[0], child, end, verbose=verbose)
        return Ended(child.wait(), out, err)
    finally:
        _end(child)


def with_secret(environ: Mapping[str, str], handed: Sequence[int]) -> Mapping[str, str]:
    """Given the descriptors that a program gets, return its environment: it says behind which one the secret is."""
    return {**environ, "CERTAGENT_SECRET_FD": str(handed[0])} if handed else environ


def _closed(path: str) -> Path | None:
    """The first part of an absolute path that is there and may not be entered or run by this process."""
    parts = [*reversed(Path(path).parents), Path(path)] if path.startswith("/") else []
    return next((p for p in parts if p.exists() and not os.access(p, os.X_OK)), None)


def closed_to_us(path: str) -> str:
    """Which part of a program's path its user may not read, in a sentence; "" where the path is open, or not there."""
    closed = _closed(path)
    return f"worker_user {name_of(os.geteuid())} cannot read {closed}" if closed else ""


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill it, where it still runs and we may: never wait for what cannot be killed."""
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()
    with suppress(OSError):
        if child.poll() is None:
            child.kill()
            child.wait(GRACE)


def _memory(data: bytes) -> IO[bytes]:
    """A file in memory, to be read from its start: a program that does not read it blocks nothing."""
    file = os.fdopen(os.memfd_create("input", os.MFD_CLOEXEC), "w+b")
    file.write(data)
    file.seek(0)
    return file


def _listen(name: str, child: subprocess.Popen[bytes], end: float, *, verbose: bool) -> tuple[bytes, bytes]:
    """Both outputs until both are closed and the program ended. Raises AuthorityError."""
    settled = False
    with selectors.DefaultSelector() as ready:
        out, err = _register(ready, child, verbose=verbose)
        while True:
            ended = child.poll() is not None  # asked before what it wrote is looked for: nothing is written after it
            if over(name, ended=ended, open_outputs=len(ready.get_map()), settled=settled, left=_left(end)):
                return bytes(out), bytes(err)
            settled = not _heard(name, ready, _left(end)) and ended


def _register(
    ready: selectors.BaseSelector, child: subprocess.Popen[bytes], *, verbose: bool
) -> tuple[bytearray, bytearray]:
    """Have both outputs listened to; what they fill."""
    out, err = bytearray(), bytearray()
    for stream, buffer, most, tail in ((child.stdout, out, OUT, False), (child.stderr, err, ERR, verbose)):
        if stream is not None:
            ready.register(stream, selectors.EVENT_READ, (stream.fileno(), buffer, most, tail))
    return out, err


def over(name: str, *, ended: bool, open_outputs: int, settled: bool, left: float) -> bool:
    """Whether a program's output is complete; `settled`: it had ended, and its outputs were silent afterwards.

    Raises AuthorityError where there is, and no time is left.
    """
    if settled or (ended and not open_outputs):
        return True
    if left < 0:
        raise AuthorityError(f"cannot wait for {name}: it did not finish before the deadline", kind="unreachable")
    return False


def _left(end: float) -> float:
    return end - time.monotonic()


def _heard(name: str, ready: selectors.BaseSelector, seconds: float) -> int:
    """Wait a moment and read what is there; how many outputs had something, or ended."""
    events = ready.select(min(GRACE, max(seconds, 0.01)))
    for key, _ in events:
        if not _take(name, *key.data):
            ready.unregister(key.fileobj)
    return len(events)


def _take(name: str, fd: int, buffer: bytearray, most: int, tail: bool) -> bool:
    """Read what is there; whether there may be more. Raises AuthorityError."""
    part = os.read(fd, 1 << 16)
    buffer += part
    if tail:
        del buffer[:-most]
    if len(buffer) > most:
        raise AuthorityError(f"cannot use what {name} printed: more than {most} bytes", kind="malformed")
    return bool(part)
