"""Several hosts and a client or two, new connections between all of them all the time, and how many failed."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.logs import end_of
from tests.making import Ca
from tests.streams.dialing import KEPT, PAUSE
from tests.streams.host import MONTH, SQL, Channel, Member, awaited
from tests.streams.network import Network
from tests.streams.pki import Pki, signed
from tests.system.test_owners import reachable

USERS = ("backup", "list", "irc", "news", "proxy", "uucp")
OUTSIDE = "app"  # a client with a bundle and a pair of its own
INSIDE = "cli"  # one that reads the certs directory of the first host


@dataclass
class Direction:
    """What became of the connections from one to another."""

    total: int = 0
    failed: int = 0
    unreached: int = 0
    last: float = 0.0
    texts: list[tuple[float, str]] = field(default_factory=list)

    def add(self, other: Mapping[str, object]) -> None:
        told = Direction(**other)  # type: ignore[arg-type]
        self.total, self.failed = self.total + told.total, self.failed + told.failed
        self.unreached, self.last = self.unreached + told.unreached, max(self.last, told.last)
        self.texts = sorted([*self.texts, *map(tuple, told.texts)])[:KEPT]  # type: ignore[list-item]

    @property
    def good(self) -> int:
        return self.total - self.failed - self.unreached


class Fleet:
    """Everything is below `base`, which users may enter; it runs with the `with` block."""

    def __init__(self, base: Path, size: int = 3, member: type[Member] = Member, pause: float = PAUSE) -> None:
        self.base, self.kind, self.pause = base, member, pause
        self.network, self.pki = Network(), Pki(base / "pki")
        self.size, self.members = size, dict[str, Member]()
        self.dialled: set[str] = set()  # whose servers are dialled
        self.clients: dict[str, Channel] = {}
        self.ended: dict[str, Direction] = {}  # of channels that are over
        self.begin, self.words = time.time(), False
        self.pinned = True  # configurations name the roots
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.environ = prepared(self.base)
            self._stack.enter_context(self.network)
            self._stack.callback(self._stop)
            for _ in range(self.size):
                self.add()
            (self.base / "live").write_text(f"{self.size}\n")
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _stop(self) -> None:
        for client in self.clients.values():
            client.end()
        for member in self.members.values():
            with suppress(subprocess.SubprocessError):
                member.stop_agent()
            member.stop_server()

    def add(self) -> Member:
        """A host with an empty certs directory, on which nothing runs."""
        name = f"n{len(self.members) + 1}"
        address = self.network.add(name)
        made = self.kind(self.base, name, USERS[len(self.members)], address, self.network.enter(name))
        made.pause = max(made.pause, self.pause)
        made.quirks["STANDIN_LIVE_NODES"] = str(self.base / "live")
        self.members[name] = made
        return made

    def know(self, *, words: bool = True, among: Iterable[Member] | None = None) -> None:
        """The configuration of each of these hosts lists them, and every server says that so many nodes are live.

        `among`: without it every host. `words`: agents wait for what a person says about clients of other hosts.
        """
        self.words, known = words, list(self.members.values() if among is None else among)
        peers = [f"{m.address}:{SQL}" for m in known]
        for member in known:
            member.rotation = (
                f"[certs_dir.rotation]\npeers = {json.dumps(peers)}\nsoak = '1s'\noutside_clients = {json.dumps(words)}"
            )
        (self.base / "live").write_text(f"{len(peers)}\n")

    def configure(self, member: Member, roots: bytes) -> None:
        """Its configuration pins these roots, where roots are pinned."""
        member.configure(self.pki, roots if self.pinned else b"")

    def deploy(self, ca: Ca, bundle: bytes = b"", lifetime: timedelta = MONTH, chain: bytes = b"") -> None:
        """Every host has pairs of this CA, its agent a configuration by which the same one answers."""
        self.pki.answers(ca, chain)
        for member in self.members.values():
            member.put("ca.crt", bundle or ca.cert, 0o644)
            for stem in ("node", "client.root"):
                member.pair(ca, stem, lifetime, chain)
            self.configure(member, bundle or ca.cert)
        self.outside(ca, bundle or ca.cert, chain)

    def outside(self, ca: Ca | None = None, bundle: bytes = b"", chain: bytes = b"") -> None:
        """What the client outside has: a pair of that CA, a bundle; each where it is given."""
        place = self.base / OUTSIDE
        place.mkdir(exist_ok=True)
        place.chmod(0o755)
        files = {"ca.crt": bundle} if bundle else {}
        if ca is not None:
            files["client.root.crt"], files["client.root.key"] = signed(ca, "client.root", (), MONTH, chain)
        for name, data in files.items():
            fresh = place / f"{name}.new"
            fresh.write_bytes(data)
            fresh.chmod(0o644)
            fresh.rename(place / name)

    def start(self, *, clients: bool = True) -> None:
        """Servers, then agents, then everybody dials everybody."""
        for member in self.members.values():
            member.start_server()
        for member in self.members.values():
            member.start_agent(self.environ)
        first = next(iter(self.members.values()))
        if clients:
            self.network.add(OUTSIDE)
            self._client(INSIDE, self.network.enter(first.name), first.user, first.certs)
            self._client(OUTSIDE, self.network.enter(OUTSIDE), "nobody", self.base / OUTSIDE)
        self.dial(self.members)
        self.flow()

    def _client(self, name: str, enter: list[str], user: str, place: Path) -> None:
        command = [*enter, sys.executable, "-m", "tests.streams.dialer", user, str(place), "client.root"]
        self.clients[name] = Channel(command, self.base / f"{name}.log")

    def channels(self) -> dict[str, Channel]:
        running = {m.name: m.channel for m in self.members.values() if m.channel is not None}
        return {**running, **self.clients}

    def dial(self, names: Iterable[str]) -> None:
        """The servers that everybody dials from now on; no connection to another one is left."""
        self.dialled = set(names)
        for label, channel in self.channels().items():
            targets = {f"{label}>{n}": self.members[n].target for n in self.dialled if n != label}
            if label in self.clients:
                targets = {key: replace(t, kind="sql") for key, t in targets.items()}
            channel.ask(targets)

    def off(self, name: str, *, agent: bool = True) -> None:
        """A host is switched off: nobody dials it any more, and it dials nobody."""
        self.dial(self.dialled - {name})
        member = self.members[name]
        if agent:
            member.stop_agent()
        if member.channel is not None:
            self._keep(member.channel.ask({}))
        member.stop_server()

    def on(self, name: str, *, agent: bool = True) -> None:
        """It starts again with what it has."""
        member = self.members[name]
        member.start_server()
        if agent:
            member.start_agent(self.environ)
        self.dial(self.dialled | {name})

    def _keep(self, report: Mapping[str, Mapping[str, object]]) -> None:
        for label, told in report.items():
            self.ended.setdefault(label, Direction()).add(told)

    def counts(self) -> dict[str, Direction]:
        """What became of all connections so far."""
        found = {label: Direction(**vars(d)) for label, d in self.ended.items()}
        for channel in self.channels().values():
            for label, told in channel.ask().items():
                found.setdefault(label, Direction()).add(told)
        return found

    def flow(self, more: int = 10, among: Iterable[str] | None = None) -> None:
        """So many more connections are made in each direction that is dialled, or among these."""
        names = set(self.dialled if among is None else among)
        ends = [*(n for n in names if self.members[n].channel), *(self.clients if among is None else ())]
        labels = [f"{a}>{b}" for a in ends for b in names if a != b]
        before = self.counts()

        def grown() -> bool:
            now = self.counts()
            return all(now[n].total - before.get(n, Direction()).total >= more for n in labels)

        awaited(grown, lambda: f"connections are made: {self.told()}")

    def told(self) -> str:
        """The directions in which something failed, with the first texts."""
        lines = []
        for label, d in sorted(self.counts().items()):
            texts = "; ".join(f"{at - self.begin:.2f} s {text}" for at, text in d.texts[:2])
            lines += [f"{label}: {d.failed} failed, {d.unreached} unreached of {d.total}: {texts}"] if texts else []
        return "\n".join(lines)

    def logs(self) -> str:
        """The end of what each agent said: the files are gone when a test has failed."""
        agents = [m.agent for m in self.members.values() if m.agent is not None]
        return "\n".join(f"{a.log_path}:\n{end_of(a.log_path, 15)}" for a in agents)


def prepared(base: Path) -> dict[str, str]:
    """The program where any user may read it, compiled: each agent and each worker would compile it again."""
    environ = reachable(base)
    words = ["/usr/bin/python3", "-m", "compileall", "-q", "-j", "2", str(base / "lib")]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    return environ


def removed(base: Path) -> None:
    shutil.rmtree(base)
