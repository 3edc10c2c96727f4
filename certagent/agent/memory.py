"""What is known of one certs-dir and is not on its disk: cached facts with an age, requests, repairs.

It is filled by what jobs and commands put into the inbox, and read into each snapshot. Nothing here touches the host,
and only the deciding thread uses it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from certagent.agent.jobs.work import JobFailed, ProcessScan
from certagent.core.addresses import parted
from certagent.core.facts import (
    Clock,
    InFlight,
    Listener,
    Look,
    PassedOver,
    Process,
    Repair,
    Request,
    Revocation,
    Served,
    Snapshot,
)
from certagent.core.findings import Finding
from certagent.core.looks import newest, of_interest
from certagent.core.policy import Policy
from certagent.core.requests import fulfilled
from certagent.core.serving import with_release
from certagent.revocation.checker import RevocationResult

REMEMBERED = timedelta(days=1)
RESTING = timedelta(seconds=30)  # a failed job leaves no fact: without this pause it would start again immediately
MOST_REPAIRS = 60_000  # six of each of ten thousand keys: that each is undone again and again is noticed
LOGGED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Cleared:
    """A person says that nobody can have read a key: its repairs so far count no more."""

    file: str


Message = Served | Look | ProcessScan | RevocationResult | Request | Cleared | JobFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """An event of a certs-dir, to be logged."""

    event: str
    file: str
    reason: str


@dataclass(slots=True)
class Memory:
    """Of one certs-dir. `degraded` and `clock` are the service's to set."""

    processes: tuple[Process, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    processes_at: datetime | None = None
    served: dict[tuple[str, str, str], Served] = field(default_factory=dict)
    looks: tuple[Look, ...] = ()  # the newest at each member with each pair
    revocations: dict[str, Revocation] = field(default_factory=dict)  # by the leaf's fingerprint
    answered: set[str] = field(default_factory=set)  # processes that answered a handshake once: past their start
    repairs: list[Repair] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    resting: dict[JobFailed, datetime] = field(default_factory=dict)  # until when
    _logged: dict[tuple[str, bool], tuple[datetime, int]] = field(
        default_factory=dict
    )  # of repairs: when, and how many since
    degraded: tuple[Finding, ...] = ()
    clock: Clock = field(default_factory=Clock)

    def take(self, message: Message, policy: Policy, now: datetime) -> tuple[LogLine, ...]:
        """Take note of what a job brought home, or a command asks for; what is an event of it."""
        match message:
            case Served():
                self.served[(message.process, message.address, message.client)] = message
                if message.outcome != "unreachable":
                    self.answered.add(message.process)
            case Look():
                self.looks = newest(self.looks, message)
            case RevocationResult():
                self.revocations |= {r.fingerprint: r for r in message.revocations}
            case ProcessScan():
                return self._seen(message, policy)
            case Request():
                self.requests.append(message)
            case Cleared():
                self.repairs = [r for r in self.repairs if r.file != message.file]
            case JobFailed():
                self.resting[message] = now + RESTING
        return ()

    def _seen(self, seen: ProcessScan, policy: Policy) -> tuple[LogLine, ...]:
        """A scan: what a listener served that is gone, or for a file that is not wanted any more, is forgotten."""
        said = changes(self.processes, seen.processes)
        self.processes, self.passed_over, self.processes_at = seen.processes, seen.passed_over, seen.at
        self.answered &= {p.identity for p in seen.processes}
        set_by_hand = tuple(Listener(host, port, kind) for host, port, kind in policy.process.probe)
        ports = {(p.identity, port.address) for p in seen.processes for port in p.listeners or set_by_hand}
        kept = {key: s for key, s in self.served.items() if (s.process, s.address) in ports}
        self.served = {key: s for key, s in kept.items() if not s.client or policy.want(s.client)}
        return said

    def repaired(self, repair: Repair) -> str | None:
        """Count a repair of a mode, or one that failed; what to add to its line of the log, None: no line."""
        self.repairs.append(repair)
        about = (repair.file, repair.ok)
        at, count = self._logged.get(about, (None, 0))
        if at is not None and timedelta(0) <= repair.at - at < LOGGED_EVERY:
            self._logged[about] = (at, count + 1)
            return None
        self._logged[about] = (repair.at, 0)
        return f"; {count + 1} times since the last line" if count else ""

    def rests(self, now: datetime) -> tuple[InFlight, ...]:
        """The jobs that broke a moment ago, as if they still ran."""
        self.resting = {k: end for k, end in self.resting.items() if now < end <= now + RESTING}
        return tuple(InFlight(b.kind, b.subject, end - RESTING) for b, end in self.resting.items())

    def forget(self, known: Snapshot, now: datetime) -> None:
        """Drop old repairs, requests that were carried out or taken back, and what was said of leaves that are gone."""
        if self.revocations:
            pairs = (*known.pairs, *(s.pair for s in known.staged))
            here = {p.leaf.fingerprint for p in pairs if p.leaf}
            self.revocations = {k: r for k, r in self.revocations.items() if k in here}
        self.looks = of_interest(self.looks, known)
        self.repairs = [r for r in self.repairs[-MOST_REPAIRS:] if abs(now - r.at) < REMEMBERED]
        requests = (replace(r, at=min(r.at, now)) for r in self.requests)  # where the clock was set back since
        self.requests = [r for r in requests if not fulfilled(r, known.attempts) and not self._moot(r)]

    def shift(self, jump: timedelta) -> None:
        """The wall clock was set: how long a command has waited is not changed by that."""
        self.requests = [replace(r, at=r.at + jump) for r in self.requests]

    def _moot(self, request: Request) -> bool:
        """A reload without a process is refused: a process that starts later loads what is on disk."""
        seen = self.processes_at is not None and self.processes_at >= request.at
        return request.kind == "reload" and seen and not self.processes

    def _past_its_start(self, process: Process) -> Process:
        """A process whose listeners cannot be seen counts as serving from its first answer on."""
        serves = process.by_probe and process.state == "starting" and process.identity in self.answered
        return replace(process, state="serving") if serves else process

    def console(self) -> int:
        """The port at which an own process showed its metrics last; 0: none did."""
        own = {p.identity for p in self.processes if not p.strange}
        shown = [s for s in self.served.values() if s.kind == "http" and s.outcome == "served" and s.process in own]
        return parted(max(shown, key=lambda s: s.at).address)[1] if shown else 0

    def add(self, known: Snapshot, policy: Policy) -> Snapshot:
        """Given a snapshot of what is on the disk, return it with what is remembered."""
        return replace(
            known,
            processes=tuple(with_release(self._past_its_start(p), self.served.values()) for p in self.processes),
            passed_over=self.passed_over,
            processes_at=self.processes_at,
            served=tuple(self.served.values()),
            members=replace(known.members, looks=self.looks),
            revocations=tuple(self.revocations.values()) if policy.ocsp.mode != "off" else (),
            repairs=tuple(self.repairs),
            requests=tuple(self.requests),
            degraded=self.degraded,
            clock=self.clock,
        )


def changes(before: Iterable[Process], after: Iterable[Process]) -> tuple[LogLine, ...]:
    """Given the processes of two scans, return what appeared and what is gone."""
    old, new = ({p.identity: p for p in group} for group in (before, after))
    appeared = [new[i] for i in new.keys() - old.keys()]
    gone = [old[i] for i in old.keys() - new.keys()]
    return (
        *(_of("process.appeared", p, f"{p.state}, user {p.user}") for p in appeared),
        *(_of("process.gone", p, "it ended, or it uses another directory now") for p in gone),
    )


def _of(event: str, process: Process, reason: str) -> LogLine:
    return LogLine(event=event, file=f"pid {process.pid}", reason=reason)
