"""One host of a fleet: its certs directory and owner, its server, which dials the others, and its agent."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from certagent.control.client import ask
from tests.logs import end_of, note
from tests.making import Ca
from tests.servers.process import ROOT
from tests.streams.dialing import PAUSE, Target
from tests.streams.pki import Pki, signed
from tests.system.running import Agent, Host
from tests.waiting import wait_until

T = TypeVar("T")
SQL, HTTP = 26257, 8080
MONTH = timedelta(days=30)
PATIENCE = 300.0  # seconds for what agents do: fleets run beside each other, on a machine that is shared


def awaited(condition: Callable[[], T], what: Callable[[], str]) -> T:
    """What agents do in their own time."""
    return wait_until(condition, what, PATIENCE)


class Channel:
    """A process that dials as it is told on its standard input."""

    def __init__(self, command: list[str], log: Path, environ: Mapping[str, str] | None = None) -> None:
        with open(note(log), "ab") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env={**os.environ, **(environ or {})},
            )
        self.log = log

    def ask(self, targets: Mapping[str, Target] | None = None) -> dict[str, dict[str, Any]]:
        """Give it targets, if any; return what became of its connections so far."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        told = {} if targets is None else {"targets": {label: asdict(t) for label, t in targets.items()}}
        try:
            self.process.stdin.write(json.dumps(told).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise AssertionError(f"{self.process.args!r} ended: {end_of(self.log)}") from error
        line = self.process.stdout.readline()
        assert line, f"{self.process.args!r} ended: {end_of(self.log)}"
        answer: dict[str, dict[str, Any]] = json.loads(line)
        return answer

    def end(self) -> None:
        """End it, by force where it does not."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


class Owned(Agent):
    """An agent that runs as the owner of its host's files, without any capability."""

    python, cwd = "/usr/bin/python3", "/"


class Member:
    """One host with a server named `name`, at an address of its own."""

    kind = "rpc"  # how its peers dial its server
    pause = PAUSE
    process = ""  # of [certs_dir.process]

    def __init__(self, base: Path, name: str, user: str, address: str, enter: list[str]) -> None:
        self.name, self.user, self.address, self.enter = name, user, address, enter
        self.account = pwd.getpwnam(user)
        (base / name).mkdir(mode=0o755)
        self.host = Host(base / name)
        self.certs = self.host.certs
        self.names = [name, address, "localhost", "127.0.0.1"]
        for place in (self.host.base, self.certs, self.host.base / "server"):
            place.mkdir(mode=0o700 if place is self.certs else 0o755, exist_ok=True)
            os.chown(place, self.account.pw_uid, self.account.pw_gid)
        self.channel: Channel | None = None
        self.agent: Agent | None = None
        self.quirks: dict[str, str] = {}
        self.rotation = ""  # [certs_dir.rotation]
        self.extra = ""  # more of [[certs_dir]], and further tables
        self.options: dict[str, str] = {}  # of [[certs_dir]]

    @property
    def target(self) -> Target:
        return Target(self.address, SQL, self.kind, self.name, self.pause)

    def put(self, name: str, data: bytes, mode: int = 0o600) -> None:
        """As a tool of the owner's does: a file beside it, then a rename."""
        fresh = self.certs / f".put-{name}"
        fresh.write_bytes(data)
        fresh.chmod(mode)
        os.chown(fresh, self.account.pw_uid, self.account.pw_gid)
        fresh.rename(self.certs / name)

    def pair(self, ca: Ca, stem: str, lifetime: timedelta = MONTH, chain: bytes = b"") -> None:
        """A new pair of that CA, put there by hand."""
        cert, key = signed(ca, stem, tuple(self.names), lifetime, chain)
        self.put(f"{stem}.crt", cert)
        self.put(f"{stem}.key", key)

    def configure(self, pki: Pki, roots: bytes, extra: str = "", **options: str) -> None:
        """`roots`: of issuing_roots; without any no root is pinned. A running agent takes the configuration."""
        pinned = self.host.base / f"roots-{sha256(roots).hexdigest()[:12]}.pem"
        pinned.write_bytes(roots)  # not the one of the configuration before: both are read until this one is taken
        options = {"names": json.dumps(self.names), "authority": '"pki"', **self.options, **options}
        table = pki.table(self.name, self.account.pw_uid, pinned if roots else None)
        more = f"{extra}\n{self.process}\n{self.rotation}\n{self.extra}"
        self.host.write(owner=f'"{self.user}"', house=table, extra=more, **options)
        if self.agent is not None and self.agent.process is not None:
            taken = len(self.agent.events("config.loaded"))
            self.agent.process.send_signal(signal.SIGHUP)
            self.agent.wait_event("config.loaded", count=taken + 1)

    @property
    def drop(self) -> list[str]:
        """What runs a command on the host as its owner."""
        ids = [f"--reuid={self.user}", f"--regid={self.account.pw_gid}", "--clear-groups", "--inh-caps=-all"]
        return [*self.enter, "setpriv", *ids]

    def run(self, environ: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
        """One command of certagent, by the owner."""
        command = [*self.drop, Owned.python, "-m", "certagent", *words, "-c", str(self.host.config)]
        return subprocess.run(command, env=environ, cwd="/", capture_output=True, text=True, check=False, timeout=600)

    def start_agent(self, environ: Mapping[str, str]) -> None:
        self.host.runs += 1
        agent = Owned(self.host, self.host.base / f"agent-{self.host.runs}.log", tuple(self.drop))
        agent.environ = environ
        self.agent = agent.__enter__()

    def stop_agent(self) -> None:
        if self.agent is not None:
            self.agent.stop()
            self.agent = None

    def start_server(self) -> None:
        """Its server, which dials nobody yet."""
        place = self.host.base / "server"
        (place / "ports.json").unlink(missing_ok=True)
        words = ["start", "--certs-dir", str(self.certs), "--listen-addr", f"{self.address}:{SQL}"]
        words += ["--http-addr", f"{self.address}:{HTTP}", "--advertise-addr", self.name, "--user", self.user]
        words += ["--ports-file", str(place / "ports.json"), "--log", str(place / "cockroach.log")]
        command = [*self.enter, sys.executable, "-m", "tests.streams.standin", *words]
        self.channel = channel = Channel(command, place / "errors.log", self.quirks)
        wait_until((place / "ports.json").exists, lambda: f"{self.name} listens: {end_of(channel.log)}")

    def stop_server(self) -> None:
        """Nobody may dial it any more by now."""
        if self.channel is not None:
            self.channel.end()
            self.channel = None

    def ask(self, command: str, **arguments: str | bool) -> dict[str, Any]:
        """One command over the agent's socket."""
        return ask(str(self.host.base / "control.sock"), command, arguments, PATIENCE, owner=self.account.pw_uid)

    def wiped(self) -> None:
        """Its certs directory is empty, as on a new machine."""
        for path in self.certs.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
