"""One certs-dir as the loop sees it: observe() gathers the facts, act() carries out one action.

An attempt is recorded in the ledger before it is made; without that record nothing is issued, installed or
signalled. A repair of a mode is the exception: it is counted in memory, so that a full disk never stops it.
Jobs and commands reach this world through its inbox alone; nothing but the deciding thread touches the memory.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from certagent.agent.jobs.pool import Jobs
from certagent.agent.jobs.work import JobFailed, Work
from certagent.agent.memory import Memory, Message
from certagent.agent.observe import Records, Staging
from certagent.authority.client import AuthorityCache, CertificateAuthority
from certagent.authority.errors import AuthorityError
from certagent.certs_dir import Scanner
from certagent.certs_dir.lock import DirectoryLock
from certagent.certs_dir.swap import Store, restrict
from certagent.certs_dir.system_roots import Roots, load
from certagent.core import actions
from certagent.core.clock import believable
from certagent.core.facts import Adopted, Attempt, InFlight, Repair, Snapshot
from certagent.core.policy import Policy
from certagent.events import Log
from certagent.posix.aside import BackgroundReader
from certagent.posix.errors import HostError
from certagent.revocation.checker import Revoking
from certagent.state.ledger import Ledger


class World:
    """The host behind one policy. `wake` only puts; it is called from the jobs' threads."""

    def __init__(
        self,
        policy: Policy,
        authorities: Mapping[str, CertificateAuthority],
        known: AuthorityCache,
        ledger: Ledger,
        log: Log,
        wake: Callable[[str], None],
    ) -> None:
        """Touches nothing."""
        self.ledger, self.log, self._wake = ledger, log, wake
        self.roots: BackgroundReader[Roots] | None = None  # those that the policy names
        self.memory = Memory()
        self.inbox: SimpleQueue[Message] = SimpleQueue()
        self.scanner = Scanner()
        self.jobs = Jobs(self._done)
        self.records = Records(ledger, policy.path)
        self.holding = DirectoryLock(Store(policy.path))
        self.revoking = Revoking(policy.path, lambda: [(stem, cert) for stem, cert, _, _ in self.store.staged()])
        self.policy = policy
        self.adopt(policy, authorities, known)

    def adopt(self, policy: Policy, authorities: Mapping[str, CertificateAuthority], known: AuthorityCache) -> None:
        """Take a policy for the same directory; what is known and what runs stays."""
        if policy.roots != self.policy.roots or self.roots is None:
            self.roots = self._reading(policy.roots) if policy.roots else None
        self.policy, self.authorities, self.known = policy, authorities, known
        self.store = Store(policy.path, policy.keep)
        self.staging = Staging(self.store, policy.path)
        self.scanner.verdicts.roots = self._roots
        self.work = Work(policy, authorities, self.ledger, self.store, self.log, self.revoking)

    def _reading(self, path: str) -> BackgroundReader[Roots]:
        return BackgroundReader(
            f"roots of ui in {self.policy.path}: {path}", partial(load, path), lambda: self._wake("roots read")
        )

    def _roots(self) -> Roots | None:
        """The roots beside `ca.crt` for `ui`: of this system, or those that the policy names; None: not read yet."""
        return self.roots.found if self.roots else load()

    def stop(self) -> None:
        """End the pools and let the directory go."""
        self.jobs.stop()
        self.revoking.stop()
        self.holding.release()

    def _done(self, kind: str, subject: str, result: Any, error: Exception | None) -> None:
        if error is not None:
            self.log.emit("action.failed", certs_dir=self.policy.path, file=subject, reason=f"{kind}: {error}")
            self.inbox.put(JobFailed(kind, subject))  # type: ignore[arg-type]
        if result is not None:
            self.inbox.put(result)
        self._wake(f"{kind} ended")

    def observe(self, now: datetime) -> Snapshot:
        """Everything known of the directory at this moment: one directory scan, the rest from the cache.

        What is in flight comes first, so that a job that ends meanwhile is still in flight or already known.
        """
        running = self.jobs.in_flight()
        self._empty_inbox(now)
        scan, memory = self.scanner.scan(self.policy.path, now), self.memory
        in_flight = (*running, *memory.rests(now))
        base = Snapshot(scan.directory, scan.pairs, scan.unmanaged_files, euid=os.geteuid(), in_flight=in_flight)
        known = self.records.add(self.holding.add(base))
        known = self._staged(replace(known, attempts=believable(known.attempts, now, memory.clock)), now)
        memory.forget(known, now)
        return replace(
            memory.add(known, self.policy),
            ledger_problem=self.ledger.problem or known.ledger_problem,
            authorities=self.known.facts(now),
        )

    def _staged(self, known: Snapshot, now: datetime) -> Snapshot:
        """With what is staged. An area that cannot be read is a fact of the directory: nothing is changed there."""
        directory = known.directory
        if not directory.exists or directory.problem:
            return known
        try:
            return self.staging.add(known, self.policy, self._roots(), now)
        except (HostError, OSError) as error:
            return replace(known, directory=replace(directory, foreign=directory.foreign or str(error)))

    def scan_changed_keys(self) -> Snapshot:
        """The keys that changed since the last look, by their modes and owners alone."""
        scan = self.scanner.scan_changed_keys(self.policy.path)
        seen = Snapshot(
            scan.directory, scan.pairs, scan.unmanaged_files, euid=os.geteuid(), repairs=tuple(self.memory.repairs)
        )
        return self.holding.add(seen)

    def _empty_inbox(self, now: datetime) -> None:
        while True:
            try:
                message = self.inbox.get_nowait()
            except Empty:
                return
            for event, file, reason in self.memory.take(message, self.policy, now):
                self._say(event, file, reason)

    def act(self, action: actions.Action, now: datetime) -> None:
        """Carry out one action; a failure is logged and recorded, never raised."""
        try:
            self._act(action, now)
        except (HostError, AuthorityError, OSError) as error:
            self._say("action.failed", actions.subject_of(action), str(error))

    def _act(self, action: actions.Action, now: datetime) -> None:  # noqa: C901, PLR0912 - one arm per action
        match action:
            case actions.Recover():
                self._say("swap.recovered", "", self.store.recover() or "nothing was left to do")
            case actions.Restrict():
                self._restrict(action, now)
            case actions.Issue():
                self.jobs.submit(InFlight("issue", action.subject, now), lambda: self.work.issue(action))
            case actions.Install():
                self._install(action, now)
            case actions.RejectStaged():
                self._record(Attempt("install", action.stem, now, "refused", action.reason))
                self.store.discard(action.stem, action.reason)
                self._say("pair.refused", action.stem, action.reason)
            case actions.Adopt():
                self.ledger.adopt(self.policy.path, Adopted(action.stem, action.fingerprint, action.want), now)
                self._say("pair.adopted", action.stem, action.reason)
            case actions.AssumeLoaded():
                self._record(Attempt("reload", action.process, now, "presumed", action.reason, action.material))
            case actions.RecordProof():
                self._record(Attempt("reload", action.process, now, "ok", action.reason, action.material))
                self._say("reload.proven", "", action.reason)
            case actions.Reload():
                self.jobs.submit(InFlight("reload", action.subject, now), lambda: self.work.reload(action))
            case actions.Probe():
                self.jobs.submit(InFlight("probe", action.subject, now), lambda: self.work.probe(action))
            case actions.Rollback():
                self._rollback(action, now)
            case actions.Scan():
                self.jobs.submit(InFlight("scan", "", now), self.work.scan)
            case actions.AskWindow():
                self.jobs.submit(InFlight("window", action.stem, now), lambda: self.work.window(action))
            case actions.AskRevocation():
                self.jobs.submit(InFlight("revocation", "", now), lambda: self.work.revocation(action))
            case actions.RejectCommand():
                self._record(Attempt("command", action.stem, now, "refused", action.reason, action.command))
                self._say("command.declined", action.stem, f"{action.command}: {action.reason}")
            case actions.Quarantine():
                self._quarantine(action, now)

    def _say(self, event: str, file: str, reason: str) -> None:
        self.log.emit(event, certs_dir=self.policy.path, file=file, reason=reason)

    def _record(self, attempt: Attempt) -> int:
        """Record an attempt before it is made; durably, or where the disk is full in memory until it is not."""
        return self.ledger.attempt(self.policy.path, attempt)

    def _restrict(self, action: actions.Restrict, now: datetime) -> None:
        problem = ""
        try:
            restrict(self.policy.path, action.file, action.mode, action.uid, action.gid)
        except (HostError, OSError) as error:
            problem = str(error)
        self.memory.repairs.append(Repair(action.file, now, not problem, problem))
        event = "mode.repair-failed" if problem else "mode.repaired"
        owner = "" if action.uid is None else f"{action.uid}:{action.gid} "
        self._say(event, action.file, problem or f"{action.reason}, now {owner}{action.mode:04o}")

    def _quarantine(self, action: actions.Quarantine, now: datetime) -> None:
        self.ledger.quarantine(self.policy.path, action.fingerprint, now)
        self._say("pair.revoked", action.stem, action.reason)

    def _install(self, action: actions.Install, now: datetime) -> None:
        row = self._record(Attempt("install", action.stem, now, digest=action.fingerprint))
        try:
            self.store.install(action.stem, action.digests, action.key_mode, _owner(action))
        except (HostError, OSError) as error:
            self.ledger.finish(row, "failed", str(error), action.fingerprint)
            raise
        self.ledger.finish(row, "ok", action.reason, action.fingerprint)
        self._say("pair.installed", action.stem, action.reason)

    def _rollback(self, action: actions.Rollback, now: datetime) -> None:
        row = self._record(Attempt("rollback", action.stem, now, reason=action.reason, digest=action.fingerprint))
        if action.bad:
            self.ledger.quarantine(self.policy.path, action.bad, now)
        try:
            self.store.rollback(action.stem, action.generation, action.key_mode, _owner(action))
        except (HostError, OSError) as error:
            self.ledger.finish(row, "failed", str(error))
            raise
        self.ledger.finish(row, "ok", action.reason)
        self._say("pair.rolled-back", action.stem, action.reason)


def _owner(action: actions.Install | actions.Rollback) -> tuple[int | None, int | None]:
    """Only root can give a file away; anyone else's files are its own."""
    return (action.uid, action.gid) if os.geteuid() == 0 else (None, None)
