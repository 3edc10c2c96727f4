"""Short-lived worker processes: each answers one question within a deadline and exits.

A worker gets the question on standard input, no inherited file (except systemd's sockets, if it listens), a minimal
environment, and a temporary directory that is removed afterwards. Rejected: preexec_fn (unsafe in a threaded process)
and starting it as its user (perhaps only root can read the interpreter). So a worker limits itself and drops its
rights before it uses the network.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from certagent.posix.as_user import run_as
from certagent.posix.errors import HostError, StoppingError, reason
from certagent.posix.prctl import SET_CHILD_SUBREAPER, prctl
from certagent.sandbox.exchange import GRACE, Told, exchange

MOMENT = 0.01
BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv.pop(1)); from {module} import main; raise SystemExit(main())"
)
HERE = str(Path(__file__).parent.parent.parent)  # where our own package is
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
PREFIX = "certagent-worker-"
PLACES = ("/tmp", "/var/tmp")  # noqa: S108 - mkdtemp makes a unique name


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """What a worker printed; and why that is not its whole answer, "" where it is."""

    data: bytes
    problem: str


class Workers:
    """Starts workers and knows which run, so that the agent's end is theirs."""

    def __init__(self, user: tuple[int, int] | None) -> None:
        """`user`: (uid, gid) that they become where we are root."""
        self.user = user if os.geteuid() == 0 else None
        self._running: set[int] = set()
        self._guard = threading.Lock()
        self._stopped = False

    def ask(
        self,
        module: str,
        words: list[str],
        question: bytes,
        deadline: float,
        *,
        listens: bool = False,
        told: Told | None = None,
    ) -> bytes:
        """As `run`, for an answer that is of use only as a whole. Raises HostError."""
        output = self.run(module, words, question, deadline, listens=listens, told=told)
        if output.problem:
            raise (StoppingError if self._stopped else HostError)(output.problem)
        return output.data

    def run(
        self,
        module: str,
        words: list[str],
        question: bytes,
        deadline: float,
        *,
        listens: bool = False,
        told: Told | None = None,
    ) -> Output:
        """Run `main` of a module with these words and this question; return what it printed until it ended or had to.

        `listens`: it gets the listening sockets of systemd. `told` gets each whole line that comes before the answer;
        the worker reads DONE when it has returned, and nothing if it raises HostError. Raises HostError where no worker
        can be started.
        """
        out, errors, problem = bytearray(), bytearray(), ""
        with self._directory() as place, self._started(self.command(module, words), place, listens=listens) as child:
            try:
                exchange(child, question, deadline, (out, errors), told)
            except HostError as error:
                problem = str(error)
        return Output(data=bytes(out), problem=problem or ended(child.returncode, bytes(errors)))

    def command(self, module: str, words: list[str]) -> list[str]:
        """The command line of a worker."""
        known = [p for p in sys.path if p.startswith("/")]
        path = known if HERE in known else [HERE, *known]
        who = f"{self.user[0]}:{self.user[1]}" if self.user else "-"
        return [sys.executable, "-I", "-S", "-c", BOOT.format(module=module), json.dumps(path), *words, who]

    @contextmanager
    def _directory(self) -> Iterator[str]:
        place = self._made()
        try:
            yield place
        finally:
            if self.user is None:
                shutil.rmtree(place, ignore_errors=True)
            elif os.path.lexists(place):  # no worker was started in it
                with suppress(HostError):
                    run_as(self.user, ["remove", place])

    def _made(self) -> str:
        """A directory that its user may enter: the temporary directory of the agent's starter may be closed to it."""
        problem = ""
        for parent in dict.fromkeys((tempfile.gettempdir(), *PLACES)):
            try:
                if self.user is None:
                    return tempfile.mkdtemp(prefix=PREFIX, dir=parent)
                place = os.path.join(parent, PREFIX + secrets.token_hex(8))
                run_as(self.user, ["make", place])
            except (OSError, HostError) as error:
                problem = f"{parent}: {reason(error)}"
            else:
                return place
        raise HostError(f"cannot create a temporary directory for a worker: {problem}")

    def _kill(self, pid: int, *place: str) -> None:
        """The whole group: as ourselves before it dropped, as its user since; and its directory, where it is given.

        Root without CAP_KILL and CAP_DAC_OVERRIDE, as in the unit, has no power over either.
        """
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        if self.user is not None:
            with suppress(HostError):
                run_as(self.user, ["end", str(pid), *place])

    @contextmanager
    def _started(self, command: list[str], place: str, *, listens: bool) -> Iterator["subprocess.Popen[bytes]"]:
        sockets, environment = _listening() if listens else ((), {})
        try:
            with self._guard:
                if self._stopped:
                    raise StoppingError("cannot ask: the agent is stopping")
                child = subprocess.Popen(
                    command,
                    cwd=place if self.user is None else "/",
                    env=ENVIRONMENT | {"HOME": place, "TMPDIR": place} | environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=sockets,
                    start_new_session=True,
                )
                self._running.add(child.pid)
        except OSError as error:
            raise HostError(f"cannot start a worker: {error.strerror}") from error
        try:
            yield child
        finally:
            self._end(child, place)

    def _end(self, child: "subprocess.Popen[bytes]", place: str) -> None:
        """Nothing of it outlives the request: the whole group is killed before its leader is waited for."""
        with self._guard:
            self._kill(child.pid, place)
            self._running.discard(child.pid)
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        child.wait()
        _collect(child.pid)

    def running(self) -> frozenset[int]:
        """The pids of those that run."""
        with self._guard:
            return frozenset(self._running)

    def stop(self) -> None:
        """End every worker that runs, and start no more."""
        with self._guard:
            self._stopped = True
            for pid in self._running:
                self._kill(pid)


def adopt_orphans() -> None:
    """Become the parent of what a worker leaves, so that its end is seen to; for a whole process, at its start."""
    with suppress(OSError):  # without it init is their parent
        prctl(SET_CHILD_SUBREAPER, 1)


def _collect(group: int) -> None:
    """Reap what a worker left: it was killed with its group, and is ours where we adopt orphans or are PID 1."""
    end = time.monotonic() + GRACE
    with suppress(ChildProcessError):
        while time.monotonic() < end:
            if os.waitpid(-group, os.WNOHANG) == (0, 0):
                time.sleep(MOMENT)


def _listening() -> tuple[tuple[int, ...], dict[str, str]]:
    """Listening sockets that systemd gave us, handed on: a worker answers an ACME challenge on a low port by them."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return (), {}
    count = os.environ.get("LISTEN_FDS", "0")
    fds = tuple(range(3, 3 + int(count))) if count.isdigit() else ()
    names = os.environ.get("LISTEN_FDNAMES", "")
    return fds, {"LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": names} if fds else {}


def ended(code: int, errors: bytes) -> str:
    """Given how a worker ended and what it said on standard error, return what is wrong with that; "": nothing."""
    if code == 0:
        return ""
    last = errors.decode("utf-8", "replace").strip().splitlines()
    how = f"signal {-code}" if code < 0 else f"code {code}"
    why = "".join(c if c.isprintable() else " " for c in last[-1])[:300] if last else "it printed no reason"
    return f"the worker failed with {how}: {why}"


def user_of(who: str) -> tuple[int, int] | None:
    """Given the last argument of a worker, return the user to become (uid, gid); None for "-": stay."""
    uid, _, gid = who.partition(":")
    return None if who == "-" else (int(uid), int(gid))
