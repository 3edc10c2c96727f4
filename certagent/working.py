"""The jobs themselves: issue, reload, probe, scan. Each runs off the deciding thread.

How an issuance or a signal ended goes to the ledger and the staging area; what a probe or a scan found is returned.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from certagent.authority.errors import AuthorityError
from certagent.authority.local import LocalAuthority
from certagent.core import actions as act
from certagent.core.facts import Attempt, Process, Served
from certagent.core.policy import Policy
from certagent.events import Log
from certagent.host import probe, procs, signals, x509
from certagent.host.certs import read_live
from certagent.host.errors import HostError
from certagent.host.files import Store
from certagent.host.ledger import Ledger


def clock() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a scan found, and when it began."""

    processes: tuple[Process, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class Work:
    """What one certs-dir asks of others."""

    policy: Policy
    authorities: Mapping[str, LocalAuthority]
    ledger: Ledger
    store: Store
    log: Log

    def issue(self, action: act.Issue) -> None:
        """Make a key and a CSR, ask the authority, leave the answer staged; a bundle is the authority's roots."""
        stem = action.subject
        row = self.ledger.attempt(self.policy.path, Attempt("issue", stem, clock(), digest=action.authority))
        self._say("issue.started", stem, action.reason)
        try:
            self._ask(action)
        except AuthorityError as error:
            outcome = "refused" if error.refused else "failed"
            self.ledger.finish(row, outcome, str(error), retry_at=error.retry_at)
            self._say(f"issue.{outcome}", stem, str(error))
        except (HostError, OSError, x509.X509Error, ValueError) as error:
            self.ledger.finish(row, "failed", str(error))
            self._say("issue.failed", stem, str(error))
        else:
            self.ledger.finish(row, "ok", "")
            self._say("issue.succeeded", stem, f"authority {action.authority} answered")

    def _say(self, event: str, file: str, reason: str) -> None:
        self.log.emit(event, certs_dir=self.policy.path, file=file, reason=reason)

    def _ask(self, action: act.Issue) -> None:
        stem, want = action.subject, action.want
        authority = self.authorities.get(action.authority)
        if authority is None:
            raise AuthorityError(f"cannot ask authority {action.authority!r}: it is not configured", kind="refused")
        authority.ensure(clock())
        if want.name.is_bundle:
            self._stage(stem, authority.roots(), None)
            return
        key = read_live(self.policy.path, f"{stem}.key") if action.reuse_key else x509.generate_key(want.key)
        common_name = want.principal or (action.names[0] if action.names else None)
        csr = x509.make_csr(key, common_name, action.names)
        chain = authority.issue(csr, clock(), server=want.server, client=want.client, lifetime=want.lifetime)
        self._stage(stem, chain, None if action.reuse_key else key)

    def _stage(self, stem: str, chain: bytes, key: bytes | None) -> None:
        """Remember as ours what is staged, before it is staged: a crash between leaves a pair that is known."""
        leaf = x509.parse_certificates(chain)[0]
        self.ledger.add_issued(self.policy.path, stem, leaf.fingerprint, clock())
        self.store.stage(stem, chain, key)

    def reload(self, action: act.Reload) -> None:
        """Record, then signal; sent is not reloaded, so the best outcome here is `unproven`."""
        file = f"pid {action.pid}"
        attempt = Attempt("reload", action.subject, clock(), reason=action.reason, digest=action.material)
        row = self.ledger.attempt(self.policy.path, attempt)
        if action.tried:
            self._say("reload.unproven", file, f"{action.tried} signals did not change it: {action.reason}")
        problem = signals.send_hup(action.pid, action.start, action.uid, action.gid)
        self.ledger.finish(row, "failed" if problem else "unproven", problem or action.reason)
        self._say("reload.failed" if problem else "reload.sent", file, problem or action.reason)

    def probe(self, action: act.Probe) -> Served:
        """One handshake, with a client pair where the action names one."""
        if not action.client:
            return probe.probe(action.host, action.port, action.kind, action.process, clock())
        pem = read_live(self.policy.path, f"{action.client}.crt")
        fingerprint = x509.parse_certificates(pem)[0].fingerprint
        with x509.memory_file(pem, read_live(self.policy.path, f"{action.client}.key")) as path:
            client = probe.Client(action.client, fingerprint, path)
            return probe.probe(action.host, action.port, action.kind, action.process, clock(), client)

    def scan(self) -> Seen:
        """Look for the owning processes."""
        at = clock()
        try:
            info = os.stat(self.policy.path)
        except OSError:
            return Seen((), at)
        return Seen(procs.find(info.st_dev, info.st_ino, self.policy.process), at)
