"""One issuance: key and CSR, the request, the staged answer. It runs off the deciding thread.

The attempt is recorded before the CA is asked. A request that the CA answers later keeps its key and CSR in the
staging area, and is asked about again with the same ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256

from certagent import keys, x509
from certagent.authority.client import CertificateAuthority, Order
from certagent.authority.client.local import Embedded
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Pending
from certagent.certs_dir import read_live, read_live_key
from certagent.certs_dir.swap import Store, pending
from certagent.certs_dir.swap.stored import Draft
from certagent.core import actions as act
from certagent.core.facts import Adopted, Attempt
from certagent.core.policy import Policy, Want
from certagent.events import Log
from certagent.posix.clock import clock
from certagent.posix.errors import HostError
from certagent.posix.room import told
from certagent.state.ledger import Ledger


@dataclass(frozen=True, slots=True)
class _Style:
    """What an authority wants in every request."""

    common_name: bool
    challenge: str


@dataclass(frozen=True, slots=True)
class Issuing:
    """What one certs-dir asks of its authorities."""

    policy: Policy
    authorities: Mapping[str, CertificateAuthority]
    ledger: Ledger
    store: Store
    log: Log

    def issue(self, action: act.Issue) -> None:
        """Ask the authority, leave the answer staged; a bundle is the authority's roots. Never raises for a failure."""
        stem = action.subject
        attempt = Attempt("issue", stem, clock(), reason=action.reason, authority=action.authority)
        row = self.ledger.attempt(self.policy.path, attempt)
        self._say("issue.started", stem, action.reason)
        try:
            later = self._ask(action)
        except AuthorityError as error:
            outcome = "refused" if error.refused else "failed"
            ended = "interrupted" if error.kind == "interrupted" else outcome
            self.ledger.finish(row, ended, str(error), retry_at=error.retry_at)
            self._say(f"issue.{outcome}", stem, str(error))
        except (HostError, OSError, x509.X509Error, ValueError) as error:
            why = told(error, self.policy.path)
            self.ledger.finish(row, "failed", why)
            self._say("issue.failed", stem, why)
        else:
            self._ended(row, action, later)

    def _ended(self, row: int, action: act.Issue, later: Pending | None) -> None:
        if later is not None:
            self.ledger.finish(row, "retry", later.reason, retry_at=datetime.fromtimestamp(later.again_at, UTC))
            event = "issue.reminder" if later.reminder else "issue.waiting"
            self._say(event, action.subject, f"authority {action.authority}: {later.reason}")
            return
        self.ledger.finish(row, "ok", action.reason)
        self._say("issue.succeeded", action.subject, f"authority {action.authority} issued a certificate")

    def _say(self, event: str, file: str, reason: str) -> None:
        self.log.emit(event, certs_dir=self.policy.path, file=file, reason=reason)

    def _ask(self, action: act.Issue) -> Pending | None:
        authority = self.authorities.get(action.authority)
        if authority is None:
            raise AuthorityError(f"cannot ask authority {action.authority!r}: it is not configured", kind="refused")
        if action.want.name.is_bundle:
            self._bundle(authority, action)
            return None
        return self._leaf(authority, action)

    def _bundle(self, authority: CertificateAuthority, action: act.Issue) -> None:
        """Every pinned root of the whole fallback order: other hosts may have certificates of any of them.

        Where a bundle is there already, it lacks a pinned root of this authority, and only that is asked for.
        """
        stem, path = action.subject, self.policy.path
        carried_over = (read_live(path, f"{action.carried_over_bundle}.crt"),) if action.carried_over_bundle else ()
        known = b"".join(carried_over) if action.carried_over_bundle == stem else b""
        order = () if known else (a for a in action.want.authorities if a != action.authority)
        later = (self.authorities[a] for a in order if a in self.authorities)
        asked = (authority, *(a for a in later if a.pinned))
        roots = [one.bundle(path, stem, clock(), first=action.first, known=known) for one in asked]
        self._created(authority, action)
        added = [_lacking(each, known, clock()) for each in roots] if known else roots
        self._stage(action.want, x509.merged(*added, *carried_over), None)

    def _created(self, authority: CertificateAuthority, action: act.Issue) -> None:
        """Say so once, whichever of the jobs that ran at that moment created it."""
        if isinstance(authority, Embedded) and authority.take_created():
            self._say("ca.created", action.subject, f"the embedded CA of authority {action.authority} was created")

    def _leaf(self, authority: CertificateAuthority, action: act.Issue) -> Pending | None:
        draft = (
            self._drafted(action, _Style(authority.common_name, authority.challenge()))
            if authority.may_defer
            else _made(action, self._live_key(action), _Style(authority.common_name, ""))
        )
        order = Order.of(self.policy.path, action.want, action.names, draft.csr, self._live(action.subject))
        order = replace(order, forced=action.forced)
        answer = self._answered(authority, order)
        self._created(authority, action)
        if isinstance(answer, Pending):
            return answer
        self._stage(action.want, answer, draft.key)
        if authority.may_defer:
            authority.delivered(self.policy.path, action.subject)
            pending.forget(self.policy.path, action.subject)
        return None

    def _answered(self, authority: CertificateAuthority, order: Order) -> bytes | Pending:
        try:
            return authority.issue(order, clock())
        except AuthorityError as error:
            if error.refused and authority.may_defer:
                pending.forget(order.certs_dir, order.stem)
            raise

    def _live(self, stem: str) -> bytes:
        try:
            data = read_live(self.policy.path, f"{stem}.crt")
            return b"".join(pem for _, pem in x509.split_certificates(data))
        except (OSError, x509.X509Error):
            return b""

    def _live_key(self, action: act.Issue) -> keys.Key | None:
        return read_live_key(self.policy.path, f"{action.subject}.key") if action.reuse_key else None

    def _drafted(self, action: act.Issue, style: "_Style") -> Draft:
        """The request that waits for this very want, or new ones, kept before anybody is asked."""
        path, stem = self.policy.path, action.subject
        live = self._live_key(action)
        spki = keys.examined(live).spki or "" if live else ""
        mark = mark_of(action, spki, style.challenge)
        found = pending.kept(path, stem, mark)
        if found is not None and not self._used(found, stem):
            return found
        draft = _made(action, live, style)
        pending.keep(path, stem, mark, draft)
        return draft

    def _used(self, draft: Draft, stem: str) -> bool:
        """Whether its certificate is live: the agent ended after it was staged, before the request was removed."""
        if draft.key is None:
            return False
        live = self._live(stem)
        return bool(live) and x509.parse_certificates(live)[0].spki == keys.examined(draft.key).spki

    def _stage(self, want: Want, chain: bytes, key: keys.Key | None) -> None:
        """Record a pair as issued by this agent before it is staged, so that it is known after a crash in between."""
        stem, leaf, now = want.name.stem, x509.parse_certificates(chain)[0], clock()
        self.ledger.own(self.policy.path, Adopted(stem, leaf.fingerprint, want.digest), now)
        self.store.stage(stem, chain, key)


def _lacking(roots: bytes, known: bytes, now: datetime) -> bytes:
    """The valid ones of some roots that a bundle lacks: they stand in front of what is there."""
    here = {leaf.fingerprint for leaf, _ in x509.split_certificates(known)}
    found = x509.split_certificates(roots)
    return b"".join(pem for leaf, pem in found if leaf.fingerprint not in here and leaf.is_ca and now < leaf.not_after)


def mark_of(action: act.Issue, spki: str, challenge: str) -> str:
    """What tells one request that waits from another: whom it is for, what it asks for, and by which live key."""
    parts = (action.want.digest, action.authority, sorted(action.names), spki, *filter(None, [challenge]))
    return sha256(repr(parts).encode()).hexdigest()


def _made(action: act.Issue, live: keys.Key | None, style: "_Style") -> Draft:
    """A request by a new key or the live one."""
    want = action.want
    subject = want.principal or (action.names[0] if action.names else None)
    common_name = subject if style.common_name else None
    wanted = keys.Subject(
        common_name=common_name, names=action.names, unit=want.name.kind.unit, challenge=style.challenge
    )
    if live is not None:
        return Draft(csr=keys.requested(live, wanted), key=None)
    csr, key = keys.drafted(want.key, wanted)
    return Draft(csr=csr, key=key)
