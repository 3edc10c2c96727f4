"""The daemon as its own process, its configuration, its log, and its command line."""

import json
import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from certagent.cli import main
from certagent.control.client import DaemonSilent, DaemonSlow, ask
from certagent.demo.launch import StandIn
from tests.logs import note
from tests.waiting import DEADLINE, wait_until

ME = pwd.getpwuid(os.getuid()).pw_name
Event = dict[str, Any]
EMPTY = dict.fromkeys(("certs_dir", "file", "reason", "remedy"), "")  # left out of a line where they are
ALONE = "[certs_dir.rotation]\npeers = []\noutside_clients = false"  # its only clients are those of the tests
LOOKING = ("status", "plan", "check", "history")


def looked(*words: str) -> subprocess.CompletedProcess[str]:
    """A command that only looks, run in this process: one of its own takes a third of a second to start."""
    printed, errors = StringIO(), StringIO()
    with redirect_stdout(printed), redirect_stderr(errors):
        try:
            code = main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(words, code, printed.getvalue(), errors.getvalue())


class Host:
    """One directory tree with a configuration; certs-dirs are made on demand."""

    def __init__(self, base: Path) -> None:
        self.base, self.config, self.certs = base, base / "config.toml", base / "certs"
        self.runs = 0

    def write(self, *, agent: str = "", house: str = "", extra: str = "", **options: str) -> None:
        """A configuration with one local CA and one certs-dir; options are TOML values of [[certs_dir]].

        The node is alone, unless `extra` says otherwise: nobody has to accept a pair of another CA but itself.
        """
        table = {"path": f'"{self.certs}"', "owner": f'"{ME}"', "authority": '"house"'}
        table |= {"names": '["localhost", "127.0.0.1"]', "clients": '["root"]', **options}
        lines = [f"[agent]\nstate_dir = '{self.base}/state'\nsocket = '{self.base}/control.sock'\nrescan = '1s'", agent]
        lines += [f"[authority.house]\ntype = 'local'\ndirectory = '{self.base}/ca'\ncreate = true", house]
        alone = "" if "[certs_dir.rotation]" in extra else ALONE
        lines += ["[[certs_dir]]", *(f"{key} = {value}" for key, value in table.items()), alone, extra]
        fresh = self.base / "config.toml.new"
        fresh.write_text("\n".join(lines) + "\n")
        fresh.rename(self.config)

    def make_certs(self) -> None:
        self.certs.mkdir(mode=0o700, exist_ok=True)

    def run(self, *words: str, timeout: float = 240.0) -> subprocess.CompletedProcess[str]:
        """One command of certagent."""
        command = [sys.executable, "-m", "certagent", *words, "-c", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)

    def json(self, *words: str) -> Any:
        done = looked(*words, "--json", "-c", str(self.config)) if words[0] in LOOKING else self.run(*words, "--json")
        assert done.stdout, f"{words}: exit code {done.returncode}, and no document: {done.stderr}"
        return json.loads(done.stdout)

    def once(self) -> subprocess.CompletedProcess[str]:
        """`run --once` on a certs-dir that is made where it is missing."""
        self.make_certs()
        return self.run("run", "--once", "--log", "json")

    def owner(self) -> int:
        """The agent's user: it owns where the host is. The state directory, by which the command knows it, may hang."""
        return self.base.stat().st_uid

    def status(self) -> Event:
        """The status document: of the daemon over its socket, as the command asks it; without one, of the command."""
        try:
            document: Event = ask(str(self.base / "control.sock"), "status", {}, owner=self.owner())["document"]
        except (DaemonSilent, DaemonSlow, KeyError):
            document = self.json("status")
        return document

    def file(self, name: str, certs: Path | None = None) -> Event:
        """What status says of one file."""
        directory = str(certs or self.certs)
        found = next(d for d in self.status()["certs_dirs"] if d["path"] == directory)
        return next(f for f in found["files"] if f["name"] == name)

    def codes(self) -> set[str]:
        """The findings of all certs-dirs."""
        return {f["code"] for d in self.status()["certs_dirs"] for f in d["findings"]}

    def history(self, kind: str) -> list[Event]:
        """The recorded attempts of a kind, newest first."""
        return [a for a in self.json("history", "--limit", "1000")["attempts"] if a["kind"] == kind]

    def agent(self, *prefix: str) -> "Agent":
        """A daemon; starts with the `with` block."""
        self.runs += 1
        return Agent(self, self.base / f"agent-{self.runs}.log", prefix)

    def server(self, workspace: str = "server", **options: Any) -> StandIn:
        """A stand-in for cockroach on this certs-dir; starts now, listens with the `with` block."""
        place = self.base / workspace
        place.mkdir(exist_ok=True, mode=0o777)
        place.chmod(0o777)
        for name in ("ports.json", "cockroach.log"):
            (place / name).unlink(missing_ok=True)
        note(place / "cockroach.log")
        return StandIn(str(options.pop("certs", self.certs)), str(place), **options)


class Agent:
    """A running daemon."""

    python, environ, cwd = sys.executable, None, None

    def __init__(self, host: Host, log: Path, prefix: tuple[str, ...]) -> None:
        self.host, self.log_path, self.prefix = host, log, prefix
        self.process: subprocess.Popen[bytes] | None = None
        self.read, self.rows = 0, list[Event]()  # of the log: bytes, and the events in them

    def __enter__(self) -> Self:
        command = [*self.prefix, self.python, "-m", "certagent", "run", "--log", "json", "-c", str(self.host.config)]
        with open(note(self.log_path), "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self.environ, cwd=self.cwd)
        try:
            wait_until(lambda: self.events("agent.started") or self.ended(), "the agent starts")
            assert not self.ended(), self.log_path.read_text()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        return self

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def events(self, name: str = "") -> list[Event]:
        """The log so far; whole lines only. It grows, and tests ask often: each line is parsed once."""
        if self.log_path.exists():
            with open(self.log_path, "rb") as log:
                log.seek(self.read)
                lines = log.read().split(b"\n")[:-1]
            self.read += sum(len(line) + 1 for line in lines)
            self.rows += [EMPTY | json.loads(line) for line in lines if line.startswith(b"{")]
        return [r for r in self.rows if name in ("", r["event"])]

    def wait_event(self, name: str, test: Callable[[Event], bool] = lambda _: True, count: int = 1) -> Event:
        """The count-th event of that name which passes the test."""

        def found() -> list[Event]:
            rows = [e for e in self.events(name) if test(e)]
            return rows if len(rows) >= count else []

        return wait_until(found, f"the log tells {name}, {count} times")[count - 1]


def unmount(path: Path) -> None:
    """As soon as nobody has anything open there: an agent may be looking just now."""

    def done() -> bool:
        found = subprocess.run(["umount", path], capture_output=True, text=True, check=False)
        said.append(found.stderr.strip())
        return found.returncode == 0

    said: list[str] = []
    wait_until(done, lambda: said[-1])


def open_tmp() -> Path:
    """A temporary directory that other users may enter."""
    base = Path(tempfile.mkdtemp(prefix="certagent-test-"))
    base.chmod(0o755)
    return base
