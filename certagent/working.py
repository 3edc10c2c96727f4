"""The jobs themselves: issue, signal, probe, scan. Each runs off the deciding thread and records how it ended."""

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from certagent.authority.errors import AuthorityError
from certagent.core import actions as act
from certagent.core.facts import Attempt
from certagent.core.names import BUNDLES
from certagent.host import probe, procs, signals, x509
from certagent.host.certs import read_live
from certagent.host.errors import HostError
from certagent.host.tls import memory_file

if TYPE_CHECKING:
    from certagent.world import World


def clock() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


class Work:
    """What one certs-dir asks of others."""

    def __init__(self, world: "World") -> None:
        """The world owns the stores; the work only uses them."""
        self._world = world

    def _attempt(self, attempt: Attempt) -> int:
        return self._world.ledger.attempt(self._world.policy.path, attempt)

    def issue(self, action: act.Issue) -> None:
        """Make a key and a CSR, ask the authority, leave the answer staged; a bundle is the authority's roots."""
        world, stem = self._world, action.subject
        row = self._attempt(Attempt("issue", stem, clock(), reason="", digest=action.authority))
        world.log.emit("issue.started", certs_dir=world.policy.path, file=stem, reason=action.reason)
        try:
            self._ask(action)
        except AuthorityError as error:
            outcome = "refused" if error.refused else "failed"
            world.ledger.finish(row, outcome, str(error), retry_at=error.retry_at)
            world.log.emit(f"issue.{outcome}", certs_dir=world.policy.path, file=stem, reason=str(error))
        except (HostError, OSError, x509.X509Error, ValueError) as error:
            world.ledger.finish(row, "failed", str(error))
            world.log.emit("issue.failed", certs_dir=world.policy.path, file=stem, reason=str(error))
        else:
            world.ledger.finish(row, "ok", "")
            world.log.emit("issue.succeeded", certs_dir=world.policy.path, file=stem, reason=f"authority {action.authority} answered")

    def _ask(self, action: act.Issue) -> None:
        world, stem, want = self._world, action.subject, action.want
        authority = world.authorities.get(action.authority)
        if authority is None:
            raise AuthorityError(f"cannot ask authority {action.authority!r}: it is not configured", retryable=False, refused=True)
        authority.ensure(clock())
        if want.name.role in BUNDLES:
            self._stage(stem, authority.roots(clock()), None)
            return
        key = read_live(world.policy.path, f"{stem}.key") if action.reuse_key else x509.generate_key(want.key)
        common_name = want.principal or (action.names[0] if action.names else None)
        csr = x509.make_csr(key, common_name, action.names)
        chain = authority.issue(csr, clock(), server=want.server, client=want.client, lifetime=want.lifetime)
        self._stage(stem, chain, None if action.reuse_key else key)

    def _stage(self, stem: str, chain: bytes, key: bytes | None) -> None:
        """Remember as ours what is staged, before it is staged: a crash between leaves a pair that is known."""
        leaf = x509.parse_certificates(chain)[0]
        self._world.ledger.add_issued(self._world.policy.path, stem, leaf.fingerprint, clock())
        self._world.store.stage(stem, chain, key)

    def reload(self, action: act.Reload) -> None:
        """Record, then signal; sent is not reloaded, so the best outcome here is `unproven`."""
        world = self._world
        row = self._attempt(Attempt("reload", action.subject, clock(), reason=action.reason, digest=action.material))
        problem = signals.send_hup(action.pid, action.start, action.uid, action.gid)
        outcome = "failed" if problem else "unproven"
        world.ledger.finish(row, outcome, problem or action.reason, action.material)
        event = "reload.failed" if problem else "reload.sent"
        world.log.emit(event, certs_dir=world.policy.path, file=f"pid {action.pid}", reason=problem or action.reason)

    def probe(self, action: act.Probe) -> None:
        """One handshake; the answer replaces the last one of the same address and client."""
        world = self._world
        if not action.client:
            served = probe.probe(action.host, action.port, action.kind, action.process, clock())
        else:
            cert_pem = read_live(world.policy.path, f"{action.client}.crt")
            pair = x509.parse_certificates(cert_pem)[0]
            with memory_file(cert_pem) as cert, memory_file(read_live(world.policy.path, f"{action.client}.key")) as key:
                served = probe.probe(
                    action.host,
                    action.port,
                    action.kind,
                    action.process,
                    clock(),
                    client=action.client,
                    client_cert=cert,
                    client_key=key,
                    client_fingerprint=pair.fingerprint,
                )
        world.memory.served[(served.process, served.address, served.client)] = served

    def scan(self) -> None:
        """Look for the owning processes; what is gone or new is an event."""
        world, path = self._world, self._world.policy.path
        at = clock()
        try:
            info = os.stat(path)
        except OSError:
            world.memory.processes, world.memory.processes_at = (), at
            return
        found = procs.find(path, info.st_dev, info.st_ino, world.policy.process, os.geteuid())
        before = {p.identity for p in world.memory.processes}
        after = {p.identity for p in found}
        for process in (p for p in found if p.identity not in before):
            world.log.emit("process.appeared", certs_dir=path, file=f"pid {process.pid}", reason=f"{process.state}, user {process.user}")
        for process in (p for p in world.memory.processes if p.identity not in after):
            world.log.emit("process.gone", certs_dir=path, file=f"pid {process.pid}", reason="it ended")
        world.memory.processes, world.memory.processes_at = found, at
