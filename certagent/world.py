"""One certs-dir as the loop sees it: observe() gathers the facts, act() carries out one action.

An attempt is recorded in the ledger before it is made; without that record nothing is issued, installed or
signalled. A repair of a mode is the exception: it is counted in memory, so that a full disk never stops it.
Jobs and commands reach this world through its inbox alone; nothing but the deciding thread touches the memory.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any

from certagent.authorities import CertificateAuthority
from certagent.authority.errors import AuthorityError
from certagent.core import actions
from certagent.core.clock import believable
from certagent.core.facts import (
    Adopted,
    Attempt,
    Clock,
    Degraded,
    InFlight,
    Listener,
    Process,
    Repair,
    Request,
    Revocation,
    Served,
    Snapshot,
)
from certagent.core.policy import Policy
from certagent.core.requests import fulfilled
from certagent.events import Log
from certagent.holding import Holding
from certagent.host.certs import Scanner
from certagent.host.errors import HostError
from certagent.host.files import Store, restrict
from certagent.host.ledger import Ledger
from certagent.jobs import Jobs
from certagent.observing import Records, Staging
from certagent.revoking import Revoking, Told
from certagent.working import Broken, Seen, Work

REMEMBERED = timedelta(hours=1)
RESTING = timedelta(seconds=30)  # a job that ended in an error left no fact: without a rest it would be begun at once


@dataclass(slots=True)
class Memory:
    """What is known but not on disk: cached facts with an age, requests, repairs."""

    processes: tuple[Process, ...] = ()
    processes_at: datetime | None = None
    served: dict[tuple[str, str, str], Served] = field(default_factory=dict)
    revocations: dict[str, Revocation] = field(default_factory=dict)  # by the leaf's fingerprint
    repairs: list[Repair] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    resting: dict[Broken, datetime] = field(default_factory=dict)  # until when
    degraded: tuple[Degraded, ...] = ()
    clock: Clock = field(default_factory=Clock)


class World:
    """The host behind one policy. `wake` only puts; it is called from the jobs' threads."""

    def __init__(
        self,
        policy: Policy,
        authorities: Mapping[str, CertificateAuthority],
        ledger: Ledger,
        log: Log,
        wake: Callable[[str], None],
    ) -> None:
        """Touches nothing."""
        self.ledger, self.log, self._wake = ledger, log, wake
        self.memory = Memory()
        self.inbox: SimpleQueue[Served | Seen | Told | Request | Broken] = SimpleQueue()
        self.scanner = Scanner()
        self.jobs = Jobs(self._done)
        self.records = Records(ledger, policy.path)
        self.holding = Holding(Store(policy.path))
        self.revoking = Revoking(policy.path, lambda: [(stem, cert) for stem, cert, _, _ in self.store.staged()])
        self.adopt(policy, authorities)

    def adopt(self, policy: Policy, authorities: Mapping[str, CertificateAuthority]) -> None:
        """Take a policy for the same directory; what is known and what runs stays."""
        self.policy, self.authorities = policy, authorities
        self.store = Store(policy.path, policy.keep)
        self.staging = Staging(self.store, policy.path)
        self.scanner.verdicts.roots = policy.roots
        self.work = Work(policy, authorities, self.ledger, self.store, self.log, self.revoking)

    def stop(self) -> None:
        """End the pools and let the directory go."""
        self.jobs.stop()
        self.revoking.stop()
        self.holding.release()

    def _done(self, kind: str, subject: str, result: Any, error: Exception | None) -> None:
        if error is not None:
            self.log.emit("action.failed", certs_dir=self.policy.path, file=subject, reason=f"{kind}: {error}")
            self.inbox.put(Broken(kind, subject))  # type: ignore[arg-type]
        if result is not None:
            self.inbox.put(result)
        self._wake(f"{kind} ended")

    def observe(self, now: datetime) -> Snapshot:
        """Everything known of the directory at this moment: one directory scan, the rest from the cache.

        What is in flight comes first, so that a job that ends meanwhile is still in flight or already known.
        """
        running = self.jobs.in_flight()
        self._empty_inbox(now)
        asked = self.memory.requests
        self.memory.requests = [replace(r, at=min(r.at, now)) for r in asked]  # where the clock was set back since
        scan = self.scanner.scan(self.policy.path, now)
        memory = self.memory
        in_flight = (*running, *self._resting(now))
        base = Snapshot(scan.directory, scan.pairs, scan.strangers, euid=os.geteuid(), in_flight=in_flight)
        known = self.records.add(self.holding.add(base))
        known = replace(known, attempts=believable(known.attempts, now, memory.clock))
        if scan.directory.exists and not scan.directory.problem:
            known = self._staged(known, now)
        self._forget(known, now)
        return replace(
            known,
            processes=memory.processes,
            processes_at=memory.processes_at,
            served=tuple(memory.served.values()),
            revocations=tuple(memory.revocations.values()) if self.policy.ocsp.mode != "off" else (),
            repairs=tuple(memory.repairs),
            requests=tuple(memory.requests),
            degraded=memory.degraded,
            clock=memory.clock,
            ledger_problem=self.ledger.problem or known.ledger_problem,
            authorities=tuple(a.fact() for a in self.authorities.values()),
        )

    def _staged(self, known: Snapshot, now: datetime) -> Snapshot:
        """With what is staged. An area that cannot be read is a fact of the directory: nothing is changed there."""
        try:
            return self.staging.add(known, self.policy, now)
        except (HostError, OSError) as error:
            directory = known.directory
            return replace(known, directory=replace(directory, foreign=directory.foreign or str(error)))

    def _resting(self, now: datetime) -> tuple[InFlight, ...]:
        """The jobs that broke a moment ago, as if they still ran."""
        memory = self.memory
        memory.resting = {k: end for k, end in memory.resting.items() if now < end <= now + RESTING}
        return tuple(InFlight(b.kind, b.subject, end - RESTING) for b, end in memory.resting.items())

    def glance(self) -> Snapshot:
        """The keys that changed since the last look, by their modes and owners alone."""
        scan = self.scanner.glance(self.policy.path)
        seen = Snapshot(
            scan.directory, scan.pairs, scan.strangers, euid=os.geteuid(), repairs=tuple(self.memory.repairs)
        )
        return self.holding.add(seen)

    def _empty_inbox(self, now: datetime) -> None:
        while True:
            try:
                message = self.inbox.get_nowait()
            except Empty:
                return
            match message:
                case Served():
                    self.memory.served[(message.process, message.address, message.client)] = message
                case Told():
                    self.memory.revocations |= {r.fingerprint: r for r in message.revocations}
                case Seen():
                    self._seen(message)
                case Request():
                    self.memory.requests.append(message)
                case Broken():
                    self.memory.resting[message] = now + RESTING

    def _seen(self, seen: Seen) -> None:
        """Take note of a scan; what is new or gone is an event."""
        before = {p.identity: p for p in self.memory.processes}
        after = {p.identity: p for p in seen.processes}
        for identity in after.keys() - before.keys():
            process = after[identity]
            self._say("process.appeared", f"pid {process.pid}", f"{process.state}, user {process.user}")
        for identity in before.keys() - after.keys():
            self._say("process.gone", f"pid {before[identity].pid}", "it ended, or owns another directory now")
        self.memory.processes, self.memory.processes_at = seen.processes, seen.at
        set_by_hand = tuple(Listener(host, port, kind) for host, port, kind in self.policy.process.probe)
        ports = {(i, port.address) for i, p in after.items() for port in p.listeners or set_by_hand}
        served = {k: s for k, s in self.memory.served.items() if (s.process, s.address) in ports}
        self.memory.served = {k: s for k, s in served.items() if not s.client or self.policy.want(s.client)}

    def _forget(self, snapshot: Snapshot, now: datetime) -> None:
        """Drop what is old, and requests that were carried out."""
        memory = self.memory
        if memory.revocations:
            pairs = (*snapshot.pairs, *(s.pair for s in snapshot.staged))
            here = {p.leaf.fingerprint for p in pairs if p.leaf}
            memory.revocations = {k: r for k, r in memory.revocations.items() if k in here}
        memory.repairs = [r for r in memory.repairs if abs(now - r.at) < REMEMBERED]
        waiting = [r for r in memory.requests if not fulfilled(r, snapshot.attempts)]
        memory.requests = [r for r in waiting if now - r.at < REMEMBERED]

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
            case actions.Discard():
                self._record(Attempt("install", action.stem, now, "refused", action.reason))
                self.store.discard(action.stem, action.reason)
                self._say("pair.refused", action.stem, action.reason)
            case actions.Adopt():
                self.ledger.adopt(self.policy.path, Adopted(action.stem, action.fingerprint, action.want), now)
                self._say("pair.adopted", action.stem, action.reason)
            case actions.Presume():
                self._record(Attempt("reload", action.process, now, "presumed", action.reason, action.material))
            case actions.Proven():
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
