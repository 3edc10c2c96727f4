"""The page that a test shares with the preloaded library (calls.c), and the nursery of agents that have it loaded."""

import json
import mmap
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from tests.logs import end_of, note
from tests.servers.process import missing
from tests.waiting import DEADLINE

SOURCE = Path(__file__).with_name("calls.c")
CLOCK = SOURCE.parent.parent / "system" / "clock.c"
ROOT = Path(__file__).parent.parent.parent
FIELDS = "=9i240s128s240s240s"  # of `struct page` in calls.c, up to its log
ENTRY, ENTRIES = struct.Struct("=16s240s"), 8192
ACTION, TARGET, ERROR, UNSYNCED, OPENS, COUNT, FIRED, RECORDED = range(1, 9)


class Do(IntEnum):
    """What is done at a call; the enumeration of calls.c."""

    RECORD = 0
    BEFORE = 1
    AFTER = 2
    ERROR = 3
    SKIP = 4
    STOP = 5


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call that was recorded: its name, and its path below the root."""

    name: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do at which call. `at` 0: each one; `names`: any of them between spaces; `path`: a pattern."""

    do: Do = Do.RECORD
    at: int = 0
    names: str = ""
    path: str = ""
    error: int = 0
    opens: bool = False
    unsynced: bool = True
    root: str = ""  # instead of the page's
    omitted: str = ""  # a pattern: syncs of these paths do nothing


class Page:
    """The shared page."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path, self.root = path, root
        size = struct.calcsize(FIELDS) + ENTRY.size * ENTRIES
        path.write_bytes(bytes(size))
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)

    def set(self, plan: Plan, pid: int = 0) -> None:
        """Count from now on; `pid`: of a process that runs already."""
        numbers = (pid, plan.do, plan.at, plan.error, plan.unsynced, plan.opens, 0, 0, 0)
        texts = ((plan.root or str(self.root)).encode(), plan.names.encode(), plan.path.encode(), plan.omitted.encode())
        struct.pack_into(FIELDS, self._map, 0, *numbers, *texts)

    def _number(self, field: int) -> int:
        return int(struct.unpack_from("=i", self._map, 4 * field)[0])

    @property
    def fired(self) -> int:
        return self._number(FIRED)

    @property
    def count(self) -> int:
        return self._number(COUNT)

    def calls(self) -> list[Call]:
        """What was recorded."""
        recorded = self._number(RECORDED)
        assert recorded <= ENTRIES, "the log of the page is too short"
        start = struct.calcsize(FIELDS)
        rows = (ENTRY.unpack_from(self._map, start + n * ENTRY.size) for n in range(recorded))
        return [Call(name=_text(name), path=_text(path)) for name, path in rows]


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode()


class Nursery:
    """The process that forks agents; `page` says what happens to the next one."""

    def __init__(self, base: Path, root: Path) -> None:
        if shutil.which("gcc") is None:
            missing("C compiler", "apt-get install -y gcc libc6-dev")
        libraries = [compiled(SOURCE, base), compiled(CLOCK, base)]
        self.page, self.log, self.clock = Page(base / "page", root), note(base / "agent.log"), base / "clock"
        self.set_clock(0)
        environ = {**os.environ, "LD_PRELOAD": " ".join(map(str, libraries)), "PYTHONPATH": str(ROOT)}
        environ |= {"CALLS_PAGE": str(self.page.path), "CLOCK_SHIM": str(self.clock)}
        command = [sys.executable, "-m", "tests.faults.nursery"]
        self._process = subprocess.Popen(
            command, env=environ, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._unread, self._running = b"", 0
        assert self._answer() == "ready"

    def set_clock(self, offset: float, *, synchronised: bool = False, passed: bool = False) -> None:
        """The wall clock of the agents: the right one plus so many seconds, which have passed or were set."""
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(f"{int(offset)} {int(synchronised)} {int(offset) if passed else 0}")
        fresh.rename(self.clock)

    def _heard(self, seconds: float) -> bool:
        """Whether there is a whole line to read, after so many seconds at most."""
        assert self._process.stdout is not None
        return b"\n" in self._unread or bool(select.select([self._process.stdout], [], [], seconds)[0])

    def has_ended(self) -> bool:
        """Whether the agent that was begun has ended."""
        return self._heard(0)

    def _answer(self) -> str:
        out = self._process.stdout
        assert out is not None
        while b"\n" not in self._unread:
            assert self._heard(DEADLINE), f"the nursery is silent: {end_of(self.log)}"
            data = os.read(out.fileno(), 4096)
            assert data, f"the nursery ended: {end_of(self.log)}"
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def begin(self, plan: Plan, *words: str, environ: Mapping[str, str] | None = None) -> int:
        """Start an agent under a plan; return its pid."""
        assert self._process.stdin is not None
        self.log.unlink(missing_ok=True)
        self.page.set(plan)
        order = {"words": words, "log": str(self.log), "environ": dict(environ or {})}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._running = int(self._answer())
        return self._running

    def ended(self) -> int:
        """Wait until it ended; its exit code, or the negative signal."""
        code = os.waitstatus_to_exitcode(int(self._answer()))
        self._running = 0
        return code

    def run(self, plan: Plan, *words: str) -> int:
        """One agent under a plan, to its end."""
        self.begin(plan, *words)
        return self.ended()

    def stop(self) -> None:
        """End it, and the agent that runs."""
        if self._running:
            with suppress(ProcessLookupError):
                os.kill(self._running, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


def literally(path: str) -> str:
    """The pattern that matches that path alone."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in path)


def compiled(source: Path, base: Path) -> Path:
    """A library to preload."""
    library = base / f"{source.stem}.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    return library
