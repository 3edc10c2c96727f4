"""The running agent: configuration -> worlds, and one turn of the loop over all of them.

Locks: one per state directory and one per certs-dir, both flocks of the kernel, so that no stale lock exists.
"""

import errno
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from certagent.agent.config_file import Reloading
from certagent.agent.converge import converge, pause, settled
from certagent.agent.directory import World
from certagent.agent.wake import clock_synchronised
from certagent.authority.client import AuthorityCache, authorities_of, hangs, unconfined
from certagent.certs_dir.swap import pending
from certagent.config import Config, ConfigError
from certagent.config.remote import RemoteConfig
from certagent.core.actions import Action, Plan, subject_of, word_of
from certagent.core.catalogue import CONFIG_REJECTED, PATH_HUNG
from certagent.core.clock import clock_fact
from certagent.core.decide import severity
from certagent.core.facts import Snapshot
from certagent.core.findings import Finding
from certagent.core.policy import Policy
from certagent.core.status import document, rfc3339
from certagent.events import Log, changes
from certagent.posix.aside import BackgroundReader
from certagent.posix.clock import clock
from certagent.posix.errors import HostError
from certagent.posix.locks import lock
from certagent.sandbox.worker_process import Workers
from certagent.state.authority_state import AuthorityState
from certagent.state.ledger import Ledger

QUIET = frozenset({"probe", "scan", "presume", "askwindow", "askrevocation"})  # looking: no line in the log
PRUNE_EVERY = 1000


@dataclass(frozen=True, slots=True)
class Last:
    """The newest snapshot and plan of one certs-dir, under the policy that they were made by."""

    policy: Policy
    snapshot: Snapshot
    plan: Plan


class Service:
    """All certs-dirs of one configuration file."""

    def __init__(self, config: Config, path: str, ledger: Ledger, log: Log, wake: Callable[[str], None]) -> None:
        """Touches nothing; `path` is the configuration file's."""
        self.config, self.path, self.ledger, self.log, self.wake = config, path, ledger, log, wake
        self.started = clock()
        self.turns = 0
        self.looked = threading.Event()  # set while every certs-dir was looked at
        self._told: str | None = None  # the ledger's problem that was logged last
        self.degraded: tuple[Finding, ...] = ()
        self.unconfined: tuple[Finding, ...] = ()
        user = config.settings.worker_user
        self.workers = Workers((user.uid, user.gid))
        self.book = AuthorityState(os.path.join(config.settings.state_dir, "authority"))
        self.config_problem: str | None = None
        self.lock = threading.Lock()  # held during a turn: a command's answer never sees half of one
        self.last: dict[str, Last] = {}
        self.worlds: dict[str, World] = {}
        self.file = Reloading(path, wake)
        self.known: AuthorityCache | None = None
        self._adopt(config)

    def _adopt(self, config: Config) -> None:
        """Make a configuration the one in force: worlds that stay keep what they know."""
        authorities = authorities_of(config, self.workers, self.book)
        known = AuthorityCache(config.authorities, authorities, lambda: self.wake("authorities read"), self.known)
        self.known = known
        before, worlds = dict(self.worlds), dict[str, World]()
        for policy in config.policies:
            world = before.pop(policy.path, None)
            if world is None:
                self.looked.clear()
                world = World(policy, authorities, known, self.ledger, self.log, self.wake)
            else:
                world.adopt(policy, authorities, known)
            worlds[policy.path] = world
        self.worlds = worlds
        for path, world in before.items():
            world.stop()
            self.log.emit("directory.retired", certs_dir=path, reason="it is no longer configured")
        self.config = config
        self.last = {p: e for p, e in self.last.items() if p in self.worlds}

    def take_locks(self) -> None:
        """Lock the state directory and every certs-dir, close what a crash left open. HostError names the holder."""
        state = self.config.settings.state_dir
        lock(os.path.join(state, "lock"), state)
        for world in self.worlds.values():
            try:
                world.holding.take()
            except HostError as error:  # one that cannot be locked at all is a finding: the others go on
                if error.errno == errno.EWOULDBLOCK:
                    raise
        self._forget_unwanted()
        with suppress(HostError):  # a full disk: what is open counts as failed all the same
            self.ledger.close_interrupted()

    def _forget_unwanted(self) -> None:
        """Keys that wait for the answer to what is no longer wanted."""
        for policy in self.config.policies:
            with suppress(HostError, OSError):
                pending.only(policy.path, frozenset(w.name.stem for w in policy.wants))

    def look_at_workers(self) -> None:
        """Where strangers would be asked: what this kernel cannot confine, tried once in a worker of its own."""
        authorities, policies = self.config.authorities.values(), self.config.policies
        if any(isinstance(a.options, RemoteConfig) for a in authorities) or any(p.ocsp.mode != "off" for p in policies):
            self.unconfined = unconfined(self.workers, self.worlds)

    def readings(self) -> list[BackgroundReader[Any]]:
        """What is read aside: files of authorities and roots, the configuration. No turn waits for them."""
        known = self.known.readings.values() if self.known else ()
        return [*known, *(w.roots for w in self.worlds.values() if w.roots), self.file.reading]

    def look(self, now: datetime) -> None:
        """Have all of it read again."""
        for reading in self.readings():
            reading.begin(now)

    def read(self, now: datetime, seconds: float) -> None:
        """The same, and wait for it so long at most: for those that look once."""
        self.look(now)
        end = time.monotonic() + seconds
        for reading in self.readings():
            reading.wait(max(0.0, end - time.monotonic()))

    def hung(self, now: datetime) -> tuple[Finding, ...]:
        """What has not answered for longer than a disk of this host takes."""
        found = [f"{r.what}: no answer since {rfc3339(r.since)}" for r in self.readings() if hangs(r, now)]
        return (PATH_HUNG.found("", "; ".join(found)),) if found else ()

    def turn(self) -> None:
        """One look at everything: converge each certs-dir, log what changed."""
        now, synchronised = clock(), clock_synchronised()
        self._settle()
        self.look(now)
        with self.lock:
            fact = clock_fact(now, self._newest(), synchronised=synchronised)
            for world in self.worlds.values():
                world.memory.clock = fact
                world.memory.degraded = (*self.degraded, *self.unconfined, *self.hung(now), *self._rejected())
                world.holding.retry()
                self._converge(world)
            self.turns += 1
            self.looked.set()
            if self.turns % PRUNE_EVERY == 1 and fact.sound:
                self._prune(now)

    def _newest(self) -> datetime | None:
        try:
            return self.ledger.newest()
        except HostError:
            return None

    def _settle(self) -> None:
        """What the ledger could not take is written as soon as it can; only the change is an event."""
        with suppress(HostError):
            self.ledger.settle()
        if self.ledger.problem and self.ledger.problem != self._told:
            self.log.emit("ledger.failed", reason=self.ledger.problem)
        self._told = self.ledger.problem

    def _prune(self, now: datetime) -> None:
        try:
            self.ledger.prune(now)
        except HostError as error:
            self.log.emit("ledger.failed", reason=str(error))

    def _converge(self, world: World) -> None:
        path = world.policy.path
        snapshot, plan, done = converge(world, clock)
        before = self.last.get(path)
        self.last[path] = Last(world.policy, snapshot, plan)
        news = changes(before.plan.findings if before else (), plan.findings)
        for event, f in news:
            about = {"code": f.code, "severity": f.severity}
            self.log.emit(event, certs_dir=path, file=f.file, reason=f.message, remedy=f.remedy, **about)
        steps = [step(a) for a in done if word_of(a) not in QUIET]
        if steps or news:
            reason = ", ".join(dict.fromkeys(steps)) or "findings changed"
            self.log.emit("converged", certs_dir=path, reason=reason, actions=len(steps), severity=severity(plan))

    def _rejected(self) -> tuple[Finding, ...]:
        if self.config_problem is None:
            return ()
        return (CONFIG_REJECTED.found("", self.config_problem, remedy=f"certagent config check -c {self.path}"),)

    def wake_at(self) -> datetime | None:
        """When the next thing is due."""
        return min((e.plan.wake_at for e in self.last.values() if e.plan.wake_at), default=None)

    def pause(self) -> float:
        """Seconds to wait unless woken."""
        return pause((e.plan.wake_at for e in self.last.values()), clock(), self.config.settings.rescan)

    def settled(self) -> bool:
        """Nothing in flight, nothing to do, nothing unproven, everything read that does not hang."""
        read = all(r.ended or hangs(r, clock()) for r in self.readings())
        return read and all(settled(w.policy, w.observe(clock()), clock()) for w in self.worlds.values())

    def reload(self, fresh: Config | ConfigError) -> None:
        """Go by the configuration that was read; a bad file keeps the old one, and is an event and a finding."""
        if isinstance(fresh, ConfigError):
            self.config_problem = "; ".join(fresh.errors)
            self.log.emit("config.rejected", file=self.path, reason=self.config_problem)
            return
        restart = replace(fresh.settings, rescan=self.config.settings.rescan, enforce=self.config.settings.enforce)
        later = (
            ""
            if restart == self.config.settings
            else "; state_dir, socket, log and worker_user take effect at a restart"
        )
        with self.lock:
            self.config_problem = None
            self._adopt(fresh)
            self._forget_unwanted()
        with suppress(RuntimeError):  # no thread to be had: what was found at the start stays known
            threading.Thread(target=self.look_at_workers, name="worker-probe", daemon=True).start()
        self.log.emit("config.loaded", file=self.path, reason=f"{len(self.worlds)} certs-dirs{later}")

    def shift(self, jump: timedelta) -> None:
        """The wall clock was set: how long a command has waited is not changed by that."""
        with self.lock:
            for world in self.worlds.values():
                world.memory.shift(jump)

    def status(self, daemon: dict[str, Any] | None) -> dict[str, Any]:
        """The status document of the last turn; "unknown" while a certs-dir was never looked at."""
        worlds, last = self.worlds, self.last
        entries = [last[path] for path in worlds if path in last]
        found = document([(e.policy, e.snapshot, e.plan) for e in entries], clock(), daemon)
        return found if len(entries) == len(worlds) else {**found, "severity": "unknown"}

    def summary(self) -> str:
        """One line for `systemctl status`."""
        worst = self.status(None)["severity"]
        return f"{worst}: {len(self.worlds)} certs-dirs, {self.turns} turns"

    def stop(self) -> None:
        """End the pools, and the workers that run."""
        self.workers.stop()
        for world in self.worlds.values():
            world.stop()


def step(action: Action) -> str:
    """One word and what it was done to: "install node"."""
    return f"{word_of(action)} {subject_of(action)}".strip()
