"""One certs-dir as the loop sees it: observe() gathers the facts, act() carries out one action. One match, one arm per action.

An attempt is recorded in the ledger before it is made; without that record nothing is issued, installed or signalled. A repair of a mode is the
exception: it is counted in memory, so that a full disk never stops it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from certagent.authority.errors import AuthorityError
from certagent.authority.local import LocalAuthority
from certagent.core import actions
from certagent.core.facts import Adopted, Attempt, Authority, Clock, Degraded, InFlight, Leaf, Process, Repair, Request, Served, Snapshot
from certagent.core.policy import Policy
from certagent.events import Log
from certagent.host import x509
from certagent.host.certs import Scanner
from certagent.host.errors import HostError
from certagent.host.files import Store
from certagent.host.ledger import Ledger
from certagent.jobs import Jobs
from certagent.observing import Staging
from certagent.working import Work

REMEMBERED = timedelta(hours=1)


@dataclass(slots=True)
class Memory:
    """What is known but not on disk: cached facts with an age, requests, repairs."""

    processes: tuple[Process, ...] = ()
    processes_at: datetime | None = None
    served: dict[tuple[str, str, str], Served] = field(default_factory=dict)
    repairs: list[Repair] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    degraded: tuple[Degraded, ...] = ()
    clock: Clock = Clock()
    ledger_problem: str | None = None


class World:
    """The host behind one policy. `memory` and the jobs outlive a change of configuration."""

    def __init__(self, policy: Policy, authorities: dict[str, LocalAuthority], ledger: Ledger, log: Log, wake: Callable[[str], None]) -> None:
        """`wake` only puts; it is called from the jobs' threads."""
        self.policy = policy
        self.authorities = authorities
        self.ledger = ledger
        self.log = log
        self.memory = Memory()
        self.scanner = Scanner()
        self.store = Store(policy.path, policy.keep)
        self.jobs = Jobs(self._done)
        self._wake = wake
        self.staging = Staging(self.store, ledger, policy.path)
        self.work = Work(self)

    def _done(self, kind: str, subject: str, error: Exception | None) -> None:
        if error is not None:
            self.log.emit("action.failed", certs_dir=self.policy.path, file=subject, reason=f"{kind}: {error}")
        self._wake(f"{kind} ended")

    def observe(self, now: datetime) -> Snapshot:
        """Everything known of the directory at this moment; one directory scan, the rest from the cache."""
        scan = self.scanner.scan(self.policy.path)
        base = Snapshot(scan.directory, scan.pairs, scan.strangers, euid=os.geteuid(), in_flight=self.jobs.in_flight())
        known = self._ledger_facts(base)
        if scan.directory.exists and not scan.directory.problem:
            known = self.staging.add(known, self.policy, now)
        self._forget(known, now)
        memory = self.memory
        return replace(
            known,
            processes=memory.processes,
            processes_at=memory.processes_at,
            served=tuple(memory.served.values()),
            repairs=tuple(memory.repairs),
            requests=tuple(memory.requests),
            degraded=memory.degraded,
            clock=memory.clock,
            ledger_problem=memory.ledger_problem,
            authorities=self._authority_facts(now),
        )

    def _ledger_facts(self, base: Snapshot) -> Snapshot:
        path = self.policy.path
        try:
            found = replace(
                base,
                attempts=self.ledger.attempts(path, None),
                adopted=self.ledger.adopted(path),
                issued=self.ledger.issued(path),
                quarantined=self.ledger.quarantined(path),
            )
        except HostError as error:
            self.memory.ledger_problem = str(error)
            return base
        return found

    def _authority_facts(self, now: datetime) -> tuple[Authority, ...]:
        facts = []
        for name, authority in self.authorities.items():
            roots, problem = authority_roots(authority, now)
            facts.append(Authority(name, "local", roots, problem))
        return tuple(facts)

    def _forget(self, snapshot: Snapshot, now: datetime) -> None:
        """Drop what is old, and requests that were carried out."""
        memory = self.memory
        memory.repairs = [r for r in memory.repairs if now - r.at < REMEMBERED]
        memory.requests = [r for r in memory.requests if not fulfilled(r, snapshot.attempts) and now - r.at < REMEMBERED]
        alive = {p.identity for p in memory.processes}
        memory.served = {k: s for k, s in memory.served.items() if s.process in alive}

    def act(self, action: actions.Action, now: datetime) -> None:
        """Carry out one action; a failure is logged and recorded, never raised."""
        try:
            self._act(action, now)
        except (HostError, AuthorityError, OSError) as error:
            self.log.emit("action.failed", certs_dir=self.policy.path, file=act_subject(action), reason=str(error))

    def _act(self, action: actions.Action, now: datetime) -> None:
        match action:
            case actions.Recover():
                self._say("swap.recovered", "", self.store.recover() or "nothing was left to do")
            case actions.Restrict():
                self._restrict(action, now)
            case actions.Issue():
                self._start("issue", action.subject, lambda: self.work.issue(action), now)
            case actions.Install():
                self._install(action, now)
            case actions.Discard():
                self._recorded(Attempt("install", action.stem, now, "refused", action.reason))
                self.store.discard(action.stem, action.reason)
                self._say("pair.refused", action.stem, action.reason)
            case actions.Adopt():
                self.ledger.adopt(self.policy.path, Adopted(action.stem, action.fingerprint, action.want), now)
                self._say("pair.adopted", action.stem, action.reason)
            case actions.Presume():
                self._recorded(Attempt("reload", action.process, now, "presumed", action.reason, action.material))
            case actions.Proven():
                self._recorded(Attempt("reload", action.process, now, "ok", action.reason, action.material))
                self._say("reload.proven", "", action.reason)
            case actions.Reload():
                self._start("reload", action.subject, lambda: self.work.reload(action), now)
            case actions.Probe():
                self._start("probe", action.subject, lambda: self.work.probe(action), now)
            case actions.Rollback():
                self._rollback(action, now)
            case actions.Scan():
                self._start("scan", "", self.work.scan, now)

    def _say(self, event: str, file: str, reason: str) -> None:
        self.log.emit(event, certs_dir=self.policy.path, file=file, reason=reason)

    def _start(self, kind: str, subject: str, work: Callable[[], None], now: datetime) -> None:
        self.jobs.submit(InFlight(kind, subject, now), work)  # type: ignore[arg-type]

    def _recorded(self, attempt: Attempt) -> int:
        """Record an attempt durably; one that cannot be recorded is not made."""
        try:
            row = self.ledger.attempt(self.policy.path, attempt)
        except HostError as error:
            self.memory.ledger_problem = str(error)
            self._say("ledger.failed", "", str(error))
            raise
        self.memory.ledger_problem = None
        return row

    def _restrict(self, action: actions.Restrict, now: datetime) -> None:
        problem = ""
        try:
            self.store.restrict(action.file, action.mode, action.uid, action.gid)
        except (HostError, OSError) as error:
            problem = str(error)
        self.memory.repairs.append(Repair(action.file, now, not problem, problem))
        self._say("mode.repair-failed" if problem else "mode.repaired", action.file, problem or f"{action.reason}, now {action.mode:04o}")

    def _install(self, action: actions.Install, now: datetime) -> None:
        row = self._recorded(Attempt("install", action.stem, now, digest=action.fingerprint))
        uid, gid = (action.uid, action.gid) if os.geteuid() == 0 else (None, None)
        try:
            self.store.install(action.stem, action.digests, action.key_mode, uid, gid)
        except (HostError, OSError) as error:
            self.ledger.finish(row, "failed", str(error), action.fingerprint)
            raise
        self.ledger.finish(row, "ok", action.reason, action.fingerprint)
        self._say("pair.installed", action.stem, action.reason)

    def _rollback(self, action: actions.Rollback, now: datetime) -> None:
        row = self._recorded(Attempt("rollback", action.stem, now, reason=action.reason, digest=action.fingerprint))
        if action.bad:
            self.ledger.quarantine(self.policy.path, action.bad, now)
        uid, gid = (action.uid, action.gid) if os.geteuid() == 0 else (None, None)
        self.store.rollback(action.stem, action.generation, action.key_mode, uid, gid)
        self.ledger.finish(row, "ok", action.reason, action.fingerprint)
        self._say("pair.rolled-back", action.stem, action.reason)


def authority_roots(authority: LocalAuthority, now: datetime) -> tuple[tuple[Leaf, ...], str | None]:
    """The roots of an embedded CA where it exists already; asking never makes it."""
    if not authority.exists():
        return (), None
    try:
        return x509.parse_certificates(authority.roots(now)), None
    except (AuthorityError, x509.X509Error, OSError) as error:
        return (), str(error)


def fulfilled(request: Request, attempts: tuple[Attempt, ...]) -> bool:
    """Whether the attempts show that a request was carried out, or refused."""
    after = [a for a in attempts if a.at >= request.at]
    if request.kind == "reload":
        return any(a.kind == "reload" and a.outcome in {"ok", "unproven", "failed"} for a in after)
    kinds = {"install"} if request.kind == "renew" else {"rollback"}
    return any(a.kind in kinds and a.subject == request.subject and a.outcome != "asked" for a in after)


def act_subject(action: actions.Action) -> str:
    """The file or process an action is about."""
    return str(getattr(action, "stem", "") or getattr(action, "file", "") or getattr(action, "subject", ""))


