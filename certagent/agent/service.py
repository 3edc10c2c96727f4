"""The running agent: one pass of the loop over every certs-dir, and its events.

Locks: one per state directory and one per certs-dir, both flocks of the kernel, so that no stale lock exists.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from certagent.agent.config_file import Reloading
from certagent.agent.converge import converge, look, pause, settled
from certagent.agent.directories import Directories
from certagent.agent.directory import World
from certagent.agent.steady import SteadyClock, boot_clock, ticking
from certagent.agent.wake import clock_synchronised
from certagent.authority.client import hangs, unconfined
from certagent.config import Config, ConfigError
from certagent.config.remote import RemoteConfig
from certagent.core.actions import Action, shown, subject_of, word_of
from certagent.core.catalogue import CONFIG_REJECTED, PATH_HUNG
from certagent.core.clock import clock_fact
from certagent.core.decide import severity
from certagent.core.facts import Clock
from certagent.core.findings import Finding
from certagent.core.spans import span
from certagent.core.status import document, plan_document, rfc3339
from certagent.core.view import Planned
from certagent.events import Log, changes
from certagent.posix.background import BackgroundReader
from certagent.posix.clock import clock
from certagent.posix.errors import HostError
from certagent.posix.locks import lock
from certagent.sandbox.worker_process import Workers
from certagent.state.ledger import Ledger

# no line in the log: looking, and repairs of modes, which have a line of their own, once a minute
QUIET = frozenset({"probe", "scan", "presume", "askwindow", "askrevocation", "restrict", "expose"})
PRUNE_EVERY = 1000


class Service:
    """All certs-dirs of one configuration file."""

    def __init__(
        self,
        config: Config,
        *,
        file: Reloading,
        directories: Directories,
        workers: Workers,
        ledger: Ledger,
        log: Log,
    ) -> None:
        """Touches nothing; `file` is the one that the configuration was read from."""
        self.config = config  # the one in force
        self.config_problem: str | None = None  # why a newer one is not
        self._file, self._directories, self._workers = file, directories, workers
        self._ledger, self._log = ledger, log
        self._turns, self._steady = 0, SteadyClock()
        self._looked = threading.Event()  # set while every certs-dir was looked at
        self._told: str | None = None  # the ledger's problem that was logged last
        self._unconfined: tuple[Finding, ...] = ()
        self._appeared: dict[tuple[str, str, str], datetime] = {}  # findings that are not resolved yet
        self._lock = threading.Lock()  # locked during a pass, so that a command never sees half of one
        directories.adopt(config)

    def take_locks(self) -> None:
        """Lock the state directory and every certs-dir, close what a crash left open. HostError names the holder."""
        state = self.config.settings.state_dir
        lock(os.path.join(state, "lock"), state)
        self._directories.take_locks()
        self._directories.forget_unwanted()
        with suppress(HostError):  # a full disk: open attempts still count as failed
            self._ledger.close_interrupted()

    def try_workers(self) -> None:
        """Find out what this kernel cannot confine, if external services would be asked."""
        self._unconfined = tried(self.config, self._workers)

    def _readings(self) -> list[BackgroundReader[Any]]:
        """What is read in the background: files of authorities and roots, the configuration. No turn waits for them."""
        return [*self._directories.readings(), self._file.reading]

    def look(self, seconds: float) -> None:
        """Observe and decide once, and change nothing; wait so long at most for files of other machines."""
        end = time.monotonic() + seconds
        begin(self._readings(), clock())
        for reading in self._readings():
            reading.wait(max(0.0, end - time.monotonic()))
        for world in self._directories:
            world.surround((*self._unconfined, *hung(self._readings(), clock())), Clock())
            snapshot, plan = look(world, clock)
            world.last = Planned(policy=world.policy, snapshot=snapshot, plan=plan)

    def turn(self, degraded: tuple[Finding, ...] = ()) -> None:
        """Converge each certs-dir, log what changed. `degraded`: what the caller does without."""
        now, boot, synchronised = clock(), boot_clock(), clock_synchronised()
        self._settle()
        begin(self._readings(), now)
        with self._lock:
            newest = self._newest()
            steady = self._steady.at(now, boot, newest, synchronised=synchronised)
            fact = clock_fact(now, newest, synchronised=synchronised, steady=steady)
            known = (*degraded, *self._unconfined, *hung(self._readings(), now), *self._rejected())
            for world in self._directories:
                world.surround(known, fact)
                world.retry_lock()
                self._converge(world, ticking(now, boot))
            self._turns += 1
            self._looked.set()
            if self._turns % PRUNE_EVERY == 1 and fact.sound:
                self._prune(now)

    def _newest(self) -> datetime | None:
        try:
            return self._ledger.newest()
        except HostError:
            return None

    def _settle(self) -> None:
        """What the ledger could not take is written as soon as it can; only the change is an event."""
        with suppress(HostError):
            self._ledger.settle()
            for world in self._directories:
                world.settle()
        if self._ledger.problem and self._ledger.problem != self._told:
            self._log.emit("ledger.failed", reason=self._ledger.problem)
        self._told = self._ledger.problem

    def _prune(self, now: datetime) -> None:
        try:
            self._ledger.prune(now)
        except HostError as error:
            self._log.emit("ledger.failed", reason=str(error))

    def _converge(self, world: World, moment: Callable[[], datetime]) -> None:
        path, before = world.policy.path, world.last
        snapshot, plan, done = converge(world, moment)
        world.last = Planned(policy=world.policy, snapshot=snapshot, plan=plan)
        news = changes(before.plan.findings if before else (), plan.findings)
        for event, f in news:
            about = {"code": f.code, "severity": f.severity}
            reason = self._told_of(path, event, f)
            self._log.emit(event, certs_dir=path, file=f.file, reason=reason, remedy=f.remedy, **about)
        steps = [step(a) for a in done if word_of(a) not in QUIET]
        if steps or news:
            reason = ", ".join(dict.fromkeys(steps)) or "findings changed"
            self._log.emit("converged", certs_dir=path, reason=reason, actions=len(steps), severity=severity(plan))

    def _told_of(self, path: str, event: str, finding: Finding) -> str:
        """The finding's own sentence; of one that was resolved also how long it lasted."""
        key, now = (path, finding.code, finding.file), clock()
        if event != "finding.cleared":
            self._appeared.setdefault(key, now)
            return finding.message
        return f"resolved after {span(now - self._appeared.pop(key, now))}: {finding.message}"

    def _rejected(self) -> tuple[Finding, ...]:
        if self.config_problem is None:
            return ()
        return (CONFIG_REJECTED.found("", self.config_problem, remedy=f"certagent config check -c {self._file.path}"),)

    def seen(self) -> list[Planned]:
        """The observations of the last pass, by certs-dir; one that was never observed is left out."""
        return [world.last for world in self._directories if world.last]

    def wake_at(self) -> datetime | None:
        """When the next thing is due."""
        return min((e.plan.wake_at for e in self.seen() if e.plan.wake_at), default=None)

    def pause(self) -> float:
        """Seconds to wait unless woken."""
        return pause((e.plan.wake_at for e in self.seen()), clock(), self.config.settings.rescan)

    def settled(self) -> bool:
        """No job is running, nothing is to do, nothing is unverified, and every file that does not hang was read."""
        read = all(r.ended or hangs(r, clock()) for r in self._readings())
        return read and all(settled(w.policy, w.observe(clock()), clock()) for w in self._directories)

    def reload(self, fresh: Config | ConfigError) -> None:
        """Go by the configuration that was read; a bad file keeps the old one, and is an event and a finding."""
        if isinstance(fresh, ConfigError):
            self.config_problem = "; ".join(fresh.errors)
            self._log.emit("config.rejected", file=self._file.path, reason=self.config_problem)
            return
        restart = replace(fresh.settings, rescan=self.config.settings.rescan, enforce=self.config.settings.enforce)
        later = (
            ""
            if restart == self.config.settings
            else "; state_dir, socket, log and worker_user take effect at a restart"
        )
        with self._lock:
            self.config_problem = None
            if any(policy.path not in self._directories.worlds for policy in fresh.policies):
                self._looked.clear()
            self._directories.adopt(fresh)
            self.config = fresh
            self._directories.forget_unwanted()
        with suppress(RuntimeError):  # no thread available: the result from the start is kept
            threading.Thread(target=self.try_workers, name="worker-probe", daemon=True).start()
        self._log.emit(
            "config.loaded", file=self._file.path, reason=f"certs directories: {len(self._directories)}{later}"
        )

    def shift(self, jump: timedelta) -> None:
        """The wall clock was set: how long a command has waited is not changed by that."""
        with self._lock:
            for world in self._directories:
                world.shift(jump)

    def wait_until_looked(self, seconds: float) -> None:
        """Wait until every certs-dir was looked at, at most so long."""
        self._looked.wait(seconds)

    def plans(self) -> dict[str, Any]:
        """What would be done now, for every certs-dir, without doing it."""
        with self._lock:
            observed = [(world.policy, world.observe(clock())) for world in self._directories]
        found = [{"path": policy.path, **plan_document(policy, snapshot, clock())} for policy, snapshot in observed]
        return {"version": 1, "certs_dirs": found}

    def status(self, daemon: dict[str, Any] | None) -> dict[str, Any]:
        """The status document of the last pass; "unknown" until every certs-dir was observed."""
        last = [world.last for world in self._directories]
        found = document([e for e in last if e], clock(), daemon)
        return found if all(last) else {**found, "severity": "unknown"}

    def summary(self) -> str:
        """One line for `systemctl status`."""
        worst = self.status(None)["severity"]
        return f"{worst}; certs directories: {len(self._directories)}; passes of the loop: {self._turns}"

    def stop(self) -> None:
        """End the pools, and the workers that run."""
        self._workers.stop()
        self._directories.stop()


def tried(config: Config, workers: Workers) -> tuple[Finding, ...]:
    """What this kernel cannot confine, tested once in a worker; nothing if no external service is asked."""
    authorities, policies = config.authorities.values(), config.policies
    if any(isinstance(a.options, RemoteConfig) for a in authorities) or any(p.ocsp.mode != "off" for p in policies):
        return unconfined(workers, [policy.path for policy in policies])
    return ()


def begin(readings: Iterable[BackgroundReader[Any]], now: datetime) -> None:
    """Have all of it read again."""
    for reading in readings:
        reading.begin(now)


def hung(readings: Iterable[BackgroundReader[Any]], now: datetime) -> tuple[Finding, ...]:
    """What has not answered for longer than a disk of this host takes."""
    found = [f"{r.what}: not responding since {rfc3339(r.since)}" for r in readings if hangs(r, now)]
    return (PATH_HUNG.found("", "; ".join(found)),) if found else ()


def step(action: Action) -> str:
    """One word and what it was done to: "install node"."""
    return f"{word_of(action)} {shown(subject_of(action))}".strip()
