"""The jobs themselves: issue, reload, probe, look, scan, window, revocation. Each runs off the deciding thread.

The result of an issuance (issue.py) or a signal goes to the ledger and the staging area; what a probe or a scan found
is returned.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from certagent import keys, x509
from certagent import process as procs
from certagent.agent.jobs.issue import Issuing
from certagent.agent.jobs.looking import Looking
from certagent.authority.client import CertificateAuthority
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Renewal
from certagent.certs_dir import read_live, read_live_key
from certagent.certs_dir.swap import Store
from certagent.core import actions as act
from certagent.core.facts import Attempt, Look, PassedOver, Process, Served, Window
from certagent.core.policy import Policy
from certagent.events import Log
from certagent.posix.clock import clock
from certagent.posix.directory import opened
from certagent.posix.errors import HostError
from certagent.posix.responding import required
from certagent.probe import asking
from certagent.process import signals
from certagent.revocation.checker import RevocationResult, Revoking
from certagent.state.ledger import Ledger
from certagent.state.rows import written

NAMES_AGE = 1.0  # seconds: directories that are due in the same moment share a listing


@dataclass(frozen=True, slots=True)
class ProcessScan:
    """What a scan found, and when it began."""

    processes: tuple[Process, ...]
    at: datetime
    passed_over: tuple[PassedOver, ...] = ()  # where there is none
    urgent: bool = False

    def repeats(self, before: "ProcessScan | None") -> bool:
        """Whether nobody needs to be told: the same was found before, it is final, and nobody waits for it."""
        if before is None or self.urgent or any(p.state == "starting" for p in self.processes):
            return False
        return (self.processes, self.passed_over) == (before.processes, before.passed_over)


@dataclass(frozen=True, slots=True)
class JobFailed:
    """A job that ended with an internal error."""

    kind: Literal["issue", "reload", "probe", "scan", "window", "revocation", "look"]
    subject: str


@dataclass(frozen=True, slots=True)
class Work:
    """What one certs-dir asks of others."""

    policy: Policy
    authorities: Mapping[str, CertificateAuthority]
    ledger: Ledger
    store: Store
    log: Log
    revoking: Revoking

    def issue(self, action: act.Issue) -> None:
        """Ask an authority; see issue.py."""
        Issuing(self.policy, self.authorities, self.ledger, self.store, self.log).issue(action)

    def window(self, action: act.AskWindow) -> None:
        """Ask when the CA wants a live leaf renewed; the answer is an attempt. Never raises for a failure."""
        stem, path = action.stem, self.policy.path
        row = self.ledger.attempt(path, Attempt("window", stem, clock(), fingerprint=action.fingerprint))
        try:
            found = self._window(action)
        except (AuthorityError, HostError, OSError, x509.X509Error) as error:
            outcome = "refused" if getattr(error, "refused", False) else "failed"
            self.ledger.finish(row, outcome, str(error), retry_at=getattr(error, "retry_at", None))
            self._say("window.unknown", stem, str(error))
            return
        start, end, again = (datetime.fromtimestamp(at, UTC) for at in (found.start, found.end, found.again_at))
        reason = written(Window(start, end, found.explanation))
        self.ledger.finish(row, "ok", reason, retry_at=again)
        self._say("window.known", stem, f"authority {action.authority}: {reason}")

    def _window(self, action: act.AskWindow) -> Renewal:
        authority = self.authorities.get(action.authority)
        if authority is None:
            raise AuthorityError(f"cannot ask authority {action.authority!r}: it is not configured", kind="refused")
        live = read_live(self.policy.path, f"{action.stem}.crt")
        if x509.parse_certificates(live)[0].fingerprint != action.fingerprint:
            raise AuthorityError(f"cannot ask about {action.stem}: it was replaced in the meantime")
        return authority.renewal(self.policy.path, action.stem, live, clock())

    def _say(self, event: str, file: str, reason: str) -> None:
        self.log.emit(event, certs_dir=self.policy.path, file=file, reason=reason)

    def reload(self, action: act.Reload) -> None:
        """Record, then signal; the best outcome here is `unproven`, because the reload is verified later."""
        file = f"pid {action.pid}"
        attempt = Attempt("reload", action.subject, clock(), reason=action.reason, material=action.material)
        row = self.ledger.attempt(self.policy.path, attempt)
        if action.tried:
            self._say("reload.unproven", file, f"{action.tried} SIGHUPs had no effect: {action.reason}")
        problem = signals.send_hup(action.pid, action.start, action.uid, action.gid)
        self.ledger.finish(row, "failed" if problem else "unproven", problem or action.reason)
        self._say("reload.failed" if problem else "reload.sent", file, problem or action.reason)

    def probe(self, action: act.Probe) -> Served | ProcessScan:
        """One handshake; where the process has ended meanwhile, which processes there are now.

        What then answered or did not says nothing of that process, and a restart is no failure.
        """
        found = self._handshake(action)
        return self.scan(urgent=True) if procs.has_ended(action.process) else found

    def _handshake(self, action: act.Probe) -> Served:
        """With a client pair where the action names one."""
        if not action.client:
            return asking.probe(action.host, action.port, action.kind, action.process, clock())
        pem = read_live(self.policy.path, f"{action.client}.crt")
        fingerprint = x509.parse_certificates(pem)[0].fingerprint
        pair = keys.pair_file(pem, read_live_key(self.policy.path, f"{action.client}.key"))
        offer = asking.Offer(stem=action.client, fingerprint=fingerprint, path=f"/proc/self/fd/{pair.fileno()}")
        return asking.probe(action.host, action.port, action.kind, action.process, clock(), offer)

    def look(self, action: act.LookAt, console: int) -> Look | None:
        """One handshake with a member of the cluster; see looking.py."""
        return Looking(self.policy.path, self.store).look(action, console)

    def revocation(self, action: act.AskRevocation) -> RevocationResult:
        """Ask the responders; every leaf that is still there gets a fact, whatever happens."""
        return RevocationResult(self.revoking.ask(self.policy.ocsp, action.leaves, clock()))

    def scan(self, *, urgent: bool) -> ProcessScan:
        """Look for the owning processes; by names that others read a moment ago, unless it is urgent."""
        at, age = clock(), timedelta()
        oldest = time.monotonic() - (0.0 if urgent else NAMES_AGE)
        try:
            required(self.policy.path)
            device, inode = opened(self.policy.path)
        except OSError:
            return ProcessScan((), at)
        if not self.policy.process.pid_file:
            oldest, age = procs.listed(oldest)
        found = procs.find(device, inode, self.policy.process, self.policy.owner, oldest)
        others = () if found else procs.passed_over(self.policy.process, self.policy.owner, oldest)
        return ProcessScan(found, at - age, others, urgent)
