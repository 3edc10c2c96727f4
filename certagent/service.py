"""The running agent: configuration -> worlds, the loop around them, and the answers to commands.

Locks: one per state directory and one per certs-dir, both flocks of the kernel, so that no stale lock exists.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from certagent import __version__
from certagent.authority.local import LocalAuthority
from certagent.config import Config, ConfigError, LocalConfig, load
from certagent.core.actions import Finding, Plan
from certagent.core.decide import decide
from certagent.core.facts import Clock, Request, Snapshot
from certagent.core.status import document, plan_document, rfc3339
from certagent.daemon import converge, pause, settled
from certagent.events import Log, changes
from certagent.host.control import Peer
from certagent.host.errors import HostError
from certagent.host.ledger import Ledger
from certagent.host.systemd import Notifier
from certagent.host.wake import ClockWatch, Wake, clock_synchronised
from certagent.world import World

BUILT = datetime(2026, 1, 1, tzinfo=UTC)
FAR = timedelta(days=20 * 365)
DAY = timedelta(days=1)


def clock() -> datetime:
    """The wall clock, in UTC; read here and handed down."""
    return datetime.now(UTC)


def clock_fact(now: datetime, newest: datetime | None, synchronised: bool) -> Clock:
    """Given the wall clock, the ledger's newest entry and the kernel's word, say whether the clock can be believed."""
    if now < BUILT:
        return Clock(False, f"it is {rfc3339(now)}, before this program was built")
    if now > BUILT + FAR:
        return Clock(False, f"it is {rfc3339(now)}, more than 20 years after this program was built")
    if newest is not None and newest - now > DAY and not synchronised:
        return Clock(False, f"the ledger's newest entry is from {rfc3339(newest)}, more than a day ahead of it")
    return Clock()


def authorities_of(config: Config) -> dict[str, LocalAuthority]:
    """The embedded CAs of a configuration."""
    found = {}
    for name, authority in config.authorities.items():
        options = authority.options
        if isinstance(options, LocalConfig):
            found[name] = LocalAuthority(
                options.directory, options.create, options.lifetime, options.ca_lifetime, options.key, options.ca_cert, options.ca_key
            )
    return found


@dataclass(slots=True)
class Last:
    """The newest snapshot and plan of one certs-dir, and the findings last logged."""

    snapshot: Snapshot
    plan: Plan
    findings: tuple[Finding, ...] = ()


class Service:
    """All certs-dirs of one configuration."""

    def __init__(self, config: Config, log: Log, wake: Callable[[str], None]) -> None:
        """Opens the ledger; raises HostError where it cannot."""
        self.config = config
        self.log = log
        self.wake = wake
        self.started = clock()
        self.config_problem: str | None = None
        os.makedirs(config.settings.state_dir, mode=0o700, exist_ok=True)
        self.ledger = Ledger(os.path.join(config.settings.state_dir, "ledger.db"))
        self.lock = threading.RLock()
        self.worlds = self._worlds(config)
        self.last: dict[str, Last] = {}

    def _worlds(self, config: Config) -> list[World]:
        authorities = authorities_of(config)
        return [World(policy, authorities, self.ledger, self.log, self.wake) for policy in config.policies]

    def locks(self) -> list[int]:
        """Take the lock of the state directory and of every certs-dir; HostError names the holder."""
        taken = [self.ledger.lock_state(self.config.settings.state_dir)]
        for world in self.worlds:
            if os.path.isdir(world.policy.path) and os.access(world.policy.path, os.W_OK):
                taken.append(world.store.lock())
        return taken

    def turn(self) -> None:
        """One look at everything: converge each certs-dir, log what changed."""
        sound = clock_fact(clock(), self.ledger.newest(), clock_synchronised())
        for world in self.worlds:
            world.memory.clock = sound
            snapshot, plan = converge(world, clock)
            with self.lock:
                before = self.last.get(world.policy.path)
                self.last[world.policy.path] = Last(snapshot, plan, plan.findings)
            self._report(world.policy.path, before.findings if before else (), plan)

    def _report(self, path: str, before: tuple[Finding, ...], plan: Plan) -> None:
        for event, finding in changes(before, plan.findings):
            self.log.emit(
                event, certs_dir=path, file=finding.file, reason=finding.message, remedy=finding.remedy, code=finding.code, severity=finding.severity
            )

    def pause(self) -> float:
        """Seconds to wait unless woken."""
        entries = list(self.last.values())
        return pause([e.plan for e in entries], [e.snapshot for e in entries], clock(), self.config.settings.rescan)

    def settled(self) -> bool:
        """Nothing in flight, nothing unproven."""
        return all(settled(world.observe(clock()), clock()) for world in self.worlds)

    def reload(self, path: str) -> None:
        """Read the configuration again; a bad file keeps the old one, and is an event and a finding."""
        try:
            fresh = load(path)
        except ConfigError as error:
            self.config_problem = "; ".join(error.errors)
            self.log.emit("config.rejected", file=path, reason=self.config_problem, remedy="certagent config check")
            return
        self.config_problem = None
        memories = {w.policy.path: w.memory for w in self.worlds}
        with self.lock:
            self.config = fresh
            self.worlds = self._worlds(fresh)
            for world in self.worlds:
                world.memory = memories.get(world.policy.path, world.memory)
            paths = {w.policy.path for w in self.worlds}
            self.last = {p: e for p, e in self.last.items() if p in paths}
        self.log.emit("config.loaded", file=path, reason=f"{len(self.worlds)} certs-dirs")

    def status(self, daemon: dict[str, Any] | None) -> dict[str, Any]:
        """The status document of the last turn."""
        with self.lock:
            parts = [(w.policy, self.last[w.policy.path].snapshot, self.last[w.policy.path].plan) for w in self.worlds if w.policy.path in self.last]
        found = document(parts, clock(), daemon)
        if self.config_problem:
            found["config_problem"] = self.config_problem
            found["severity"] = max(found["severity"], "warning", key=("ok", "info", "warning", "critical").index)
        return found

    def plans(self) -> dict[str, Any]:
        """What would be done now, for every certs-dir, without doing it."""
        found = []
        for world in self.worlds:
            snapshot = world.observe(clock())
            found.append({"path": world.policy.path, **plan_document(decide(world.policy, snapshot, clock()))})
        return {"version": 1, "certs_dirs": found}

    def request(self, kind: str, subject: str, certs_dir: str, force: bool) -> Request:
        """Put an operator's command where decide sees it; HostError where it names nothing here."""
        worlds = [w for w in self.worlds if certs_dir in ("", w.policy.path) and (not subject or w.policy.want(subject))]
        if not worlds:
            raise HostError(f"cannot {kind} {subject or 'anything'}: no certs-dir here has it; `certagent status` lists what is managed")
        if len(worlds) > 1 and subject:
            raise HostError(f"cannot {kind} {subject}: several certs-dirs have it; add --certs-dir")
        asked = Request(kind, subject, clock(), force)  # type: ignore[arg-type]
        for world in worlds:
            world.memory.requests.append(asked)
        self.log.emit("command.received", certs_dir=certs_dir, file=subject, reason=kind)
        self.wake(f"command {kind}")
        return asked

    def stop(self) -> None:
        """End the pools."""
        for world in self.worlds:
            world.jobs.stop()


def daemon_fact(service: Service) -> dict[str, Any]:
    """What `status` says of the daemon itself."""
    return {"pid": os.getpid(), "started": rfc3339(service.started), "version": __version__, "config_problem": service.config_problem}


def run_once(service: Service, wait: Callable[[float], list[str]], deadline: float) -> None:
    """Turn until everything is settled or the deadline (seconds) is over."""
    end = clock() + timedelta(seconds=deadline)
    service.turn()
    while not service.settled() and clock() < end:
        wait(min(service.pause(), 1.0))
        service.turn()


def run_forever(service: Service, wake: Wake, notifier: Notifier, path: str) -> None:
    """The daemon's loop; returns when told to stop."""
    jumps = ClockWatch()
    wake.watch([w.policy.path for w in service.worlds] + [os.path.dirname(os.path.abspath(path))])
    service.turn()
    notifier.ready()
    while True:
        notifier.watchdog()
        _rearm(service, wake)
        reasons = wake.wait(min(service.pause(), notifier.watchdog_interval or 3600.0))
        if "stop" in reasons:
            notifier.stopping()
            return
        if "config" in reasons:
            notifier.reloading()
            service.reload(path)
            wake.watch([w.policy.path for w in service.worlds])
            notifier.ready()
        if (jump := jumps.jumped()) is not None:
            service.log.emit("clock.jumped", reason=f"the wall clock moved by {jump:.0f} s")
        service.turn()


def _rearm(service: Service, wake: Wake) -> None:
    for reason in wake.rearm_if_changed():
        service.log.emit("watch.rearmed", reason=reason)
    problems = wake.problems()
    for world in service.worlds:
        world.memory.degraded = tuple(problems)


def answer(service: Service, command: str, arguments: dict[str, Any], peer: Peer) -> dict[str, Any]:
    """Answer one command of the socket; runs in a thread of its own and only puts or reads."""
    del peer
    if command == "status":
        return {"ok": True, "document": service.status(daemon_fact(service))}
    if command == "plan":
        return {"ok": True, "document": service.plans()}
    if command == "history":
        return {"ok": True, "rows": service.ledger.history(arguments.get("certs_dir") or None, int(arguments.get("limit", 50)))}
    try:
        asked = service.request(command, str(arguments.get("file", "")), str(arguments.get("certs_dir", "")), bool(arguments.get("force")))
    except HostError as error:
        return {"ok": False, "error": str(error), "code": "refused"}
    return {"ok": True, "at": rfc3339(asked.at)}
