"""What the certs directories of one agent share: configuration, ledger, readings, and the answers about all of them.

Each directory has a thread of its own (reconciler.py); nothing here waits for one of them without a deadline.

Locks: one per state directory and one per certs-dir, both flocks of the kernel, so that no stale lock exists.
"""

import gc
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from shlex import quote
from typing import Any

from certagent.agent.config_file import Reloading
from certagent.agent.converge import settled
from certagent.agent.directories import Directories, wait_for
from certagent.agent.problems import crashes, hung
from certagent.agent.reconciler import Common, Reconciler
from certagent.agent.textfile import Textfile
from certagent.agent.watch import RemoteWatch
from certagent.authority.client import hangs, inboxes, prepare, unconfined
from certagent.config import Config, ConfigError
from certagent.config.remote import RemoteConfig
from certagent.core.catalogue import CONFIG_REJECTED
from certagent.core.decide import severity
from certagent.core.findings import Finding, worst_of
from certagent.core.stalled import limit, stalled, unresponsive, with_stalled
from certagent.core.status import document, plan_document
from certagent.core.view import Planned
from certagent.keys import KEEPER
from certagent.posix.background import BackgroundReader
from certagent.posix.clock import clock
from certagent.posix.errors import HostError
from certagent.posix.responding import PATIENCE, TOUCHERS, responds
from certagent.probe.asking import PROBER
from certagent.sandbox.worker_process import Workers
from certagent.state.ledger import Ledger
from certagent.state.starts import Starts

PRUNE_EVERY = 1000
PLANNED_WITHIN = 2.0  # seconds that `plan` waits for directories that are just being checked
STUCK = timedelta(minutes=5)  # the longest pass over the largest directory takes less
LOOKED_WITHIN = 60.0


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
        common: Common,
        remote: RemoteWatch,
        textfile: Textfile,
    ) -> None:
        """Touches nothing; `file` is the one that the configuration was read from."""
        self.config = config  # the one in force
        self.config_problem: str | None = None  # why a newer one is not
        self.findings: tuple[Finding, ...] = ()  # what the agent does without
        self._file, self._directories, self._workers = file, directories, workers
        self._ledger, self._remote, self.textfile = ledger, remote, textfile
        self.starts = Starts(ledger)
        self._log, self._clocks, self._go = common.log, common.clocks, common.go
        self.turned: datetime | None = None  # when the main loop did so last
        self._passes = 0
        self._told: str | None = None  # the ledger's problem that was logged last
        self._stalled: dict[str, Finding] = {}  # by path, as logged
        self._unconfined: tuple[Finding, ...] = ()
        directories.adopt(config)

    def take_locks(self) -> None:
        """Lock every certs-dir. HostError names the holder."""
        self._directories.take_locks()

    def try_workers(self) -> None:
        """Find out what this kernel cannot confine, if external services would be asked."""
        self._unconfined = tried(self.config, self._workers)

    def go(self) -> None:
        """Let the directories be changed from now on."""
        self.check(read=True)
        self._remote.change(inboxes(self.config), self._file.path, lambda: prepare(self.config))
        self._go.set()

    def _readings(self) -> list[BackgroundReader[Any]]:
        """What is read in the background: files of authorities and roots, the configuration. No pass waits for them."""
        return [*self._directories.readings(), self._file.reading]

    def read(self) -> None:
        """Begin to read all of that again."""
        for reading in self._readings():
            reading.begin(clock())

    def look(self, seconds: float, *known: Finding) -> None:
        """Observe and decide once, and change nothing; wait so long at most for files of other machines.

        `known`: what else holds for every directory.
        """
        end = time.monotonic() + seconds
        self.read()
        for reading in self._readings():
            reading.wait(max(0.0, end - time.monotonic()))
        now = clock()
        self.findings = (*known, *self._unconfined, *hung(self._readings(), now), *crashes(self.starts, now))
        for thread in self._threads:
            threading.Thread(target=thread.look, name="look", daemon=True).start()
        wait_for([thread.looked for thread in self._threads], LOOKED_WITHIN)

    def check(self, *, read: bool) -> None:
        """What is done for all directories together: settle the ledger, read files, see which of them are stalled."""
        self._settle()
        if read:
            self.read()
            self._remote.look()
        self.findings = (
            *self._remote.problems(),
            *self._unconfined,
            *hung(self._readings(), clock()),
            *crashes(self.starts, clock()),
            *self._rejected(),
            *self.textfile.findings(clock()),
        )
        self._directories.start()
        self._tell_stalled()
        self.turned = clock()
        self._passes += 1
        KEEPER.rest(time.monotonic())
        if self._passes % PRUNE_EVERY == 1 and self._clocks.moment().fact.sound:
            self._prune(clock())
        self._clocks.remember()

    def _settle(self) -> None:
        """What the ledger could not take is written as soon as it can; only the change is an event.

        It is asked each time, since nothing else reads it in an idle agent and it may have stopped responding.
        """
        try:
            self._ledger.execute("pragma user_version")
        except HostError as error:
            self._ledger.problem = str(error)
        with suppress(HostError):
            self._ledger.settle()
        if self._ledger.problem and self._ledger.problem != self._told:
            self._log.emit("ledger.failed", reason=self._ledger.problem)
        if self._told and not self._ledger.problem:
            self._directories.wake_all("ledger settled")
        self._told = self._ledger.problem

    def _prune(self, now: datetime) -> None:
        gc.collect()  # what was there at the start is left out (start.py), so this takes a millisecond
        try:
            self._ledger.prune(now)
        except HostError as error:
            self._log.emit("ledger.failed", reason=str(error))

    def _rejected(self) -> tuple[Finding, ...]:
        remedy, problem = f"certagent config check -c {quote(self._file.path)}", self.config_problem
        return () if problem is None else (CONFIG_REJECTED.found("", problem, remedy=remedy),)

    @property
    def _threads(self) -> list[Reconciler]:
        return list(self._directories.threads.values())

    def _stalled_of(self, thread: Reconciler) -> Finding | None:
        return stalled(thread.world.policy, thread.age, self.config.settings.rescan) if self._go.is_set() else None

    def _tell_stalled(self) -> None:
        """Log which directories are stalled, and which no longer are; their own threads cannot."""
        found = {t.world.policy.path: f for t in self._threads if (f := self._stalled_of(t)) is not None}
        before, self._stalled = self._stalled, found
        news = [("finding.appeared", path, f) for path, f in found.items() if path not in before]
        news += [("finding.cleared", path, f) for path, f in before.items() if path not in found]
        for event, path, f in news:
            reason = f.message if event == "finding.appeared" else f"{path} is checked again"
            about = {"code": f.code, "severity": f.severity}
            self._log.emit(event, None, certs_dir=path, file=f.file, reason=reason, remedy=f.remedy, **about)

    def _known(self, thread: Reconciler) -> Planned | None:
        """What is known of a directory, and said where that is too old."""
        found, known, policy = self._stalled_of(thread), thread.world.last, thread.world.policy
        if known is None and found is not None:
            known = unresponsive(policy, None, clock() - thread.age)
        return replace(with_stalled(known, found), checked=clock() - thread.age) if known else None

    def seen(self) -> list[Planned]:
        """What is known now, by certs-dir; one that was never observed is left out."""
        return [known for thread in self._threads if (known := self._known(thread))]

    def wake_at(self) -> datetime | None:
        """When the next thing is due."""
        return min((e.plan.wake_at for e in self.seen() if e.plan.wake_at), default=None)

    def wake(self, reason: str) -> None:
        """Have every directory checked now."""
        self._directories.wake_all(reason)

    def wake_due(self) -> None:
        """Have those checked of which something is due."""
        now = clock()
        for thread in self._threads:
            last = thread.world.last
            if last and last.plan.wake_at and last.plan.wake_at <= now:
                thread.wake("due")

    def settled(self, seconds: float) -> bool:
        """No job is running, nothing is to do, nothing is unverified, and every file that does not hang was read."""
        if not all(r.ended or hangs(r, clock()) for r in self._readings()):
            return False
        found = self._directories.fresh(seconds)
        return len(found) == len(self._directories) and all(settled(p, s, clock()) for p, s in found)

    def reload(self, fresh: Config | ConfigError) -> None:
        """Go by the configuration that was read; a bad file keeps the old one, and is an event and a finding."""
        if isinstance(fresh, ConfigError):
            self.config_problem = "; ".join(fresh.errors)
            self._log.emit("config.rejected", file=self._file.path, reason=self.config_problem)
            return
        mine = self.config.settings
        restart = replace(fresh.settings, rescan=mine.rescan, enforce=mine.enforce, resident=mine.resident)
        later = "" if restart == mine else "; state_dir, socket, log and worker_user take effect at a restart"
        self.config_problem, self.config = None, fresh
        self._directories.adopt(fresh)
        self._directories.start()
        self._remote.change(inboxes(fresh), self._file.path, lambda: prepare(fresh))
        with suppress(RuntimeError):  # no thread available: the result from the start is kept
            threading.Thread(target=self.try_workers, name="worker-probe", daemon=True).start()
        reason = f"certs directories: {len(self._directories)}{later}"
        self._log.emit("config.loaded", file=self._file.path, reason=reason)

    def wait_until_looked(self, seconds: float) -> None:
        """Wait until every certs-dir was looked at, at most so long."""
        wait_for([thread.looked for thread in self._threads], seconds)

    def ready(self) -> bool:
        """Whether every directory was checked once, but for those that do not respond."""
        return all(t.looked.is_set() or self._left_behind(t, PATIENCE) for t in self._threads)

    def alive(self) -> bool:
        """Whether no thread is stuck over a directory that responds: a hung mount is no reason for a restart."""
        longest = max(STUCK, limit(self.config.settings.rescan)).total_seconds()
        return all(not t.stuck(longest) or self._left_behind(t, longest) for t in self._threads)

    def _left_behind(self, thread: Reconciler, seconds: float) -> bool:
        """Whether a thread has waited for so long for a directory that does not respond."""
        return thread.stuck(seconds) and not responds(thread.world.policy.path)

    def plans(self) -> dict[str, Any]:
        """What would be done now, for every certs-dir, without doing it; what is known of one that is not ready."""
        if self._go.is_set():
            self._directories.fresh(PLANNED_WITHIN)
        return planned(self.seen())

    def status(self, daemon: dict[str, Any] | None) -> dict[str, Any]:
        """The status document of the last pass; "unknown" until every certs-dir was observed."""
        known = self.seen()
        about = {"digest": self.config.digest, "rescan_seconds": self.config.settings.rescan.total_seconds()}
        found = {**document(known, clock(), daemon), "configuration": about}
        return found if len(known) == len(self._threads) else {**found, "severity": "unknown"}

    def summary(self) -> str:
        """One line for `systemctl status`."""
        known = self.seen()
        worst = worst_of(severity(e.plan) for e in known) if len(known) == len(self._threads) else "unknown"
        return f"{worst}; certs directories: {len(self._directories)}; passes of the loop: {self._passes}"

    def stop(self) -> bool:
        """End the threads and the workers that run, within seconds; whether all ended: what hangs is left behind."""
        self._workers.stop()
        self._remote.end()
        ended = self._directories.stop()
        TOUCHERS.end()
        PROBER.end()
        KEEPER.end()
        return ended


def planned(known: Iterable[Planned]) -> dict[str, Any]:
    """The plans of what is known."""
    parts, now = list(known), clock()
    several, plans = len(parts) > 1, [None if e.current else e.plan for e in parts]
    rows = [plan_document(e.policy, e.snapshot, now, p, several=several) for e, p in zip(parts, plans, strict=True)]
    found = [{"path": e.policy.path, **row} for e, row in zip(parts, rows, strict=True)]
    return {"version": 1, "certs_dirs": found}


def tried(config: Config, workers: Workers) -> tuple[Finding, ...]:
    """What this kernel cannot confine, tested once in a worker; nothing if no external service is asked."""
    authorities, policies = config.authorities.values(), config.policies
    if any(isinstance(a.options, RemoteConfig) for a in authorities) or any(p.ocsp.mode != "off" for p in policies):
        return unconfined(workers, [policy.path for policy in policies if responds(policy.path)])
    return ()
