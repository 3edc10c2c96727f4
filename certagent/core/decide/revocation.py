"""Revocation: what to ask, when to ask again, what the answers mean under the cluster's `security.ocsp.mode`.

cockroach asks the responders of every certificate of a chain except the root, at every handshake. Every certificate in
the trust bundle is a root, so only certificates of the leaf's own file are asked about. `revoked` fails in every mode,
anything else but `good` fails in strict. The agent asks separately, off the deciding thread. Its answers are facts with
an age: valid until nextUpdate, within the configured bounds. A revoked pair is issued again immediately with a new key
(renewal), and is never installed or rolled back to again (quarantine). Rejected: asking before each decision, because a
slow responder would delay the reaction to a file event.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from certagent.core.actions import AskRevocation, Quarantine
from certagent.core.catalogue import OCSP_NO_URL, OCSP_REVOKED, OCSP_UNKNOWN, OCSP_UNREACHABLE
from certagent.core.decide.part import NOTHING, Part, blocked
from certagent.core.facts import CertFile, Checked, Leaf, Pair, Revocation, Snapshot, Staged
from certagent.core.findings import Finding
from certagent.core.policy import OcspRule
from certagent.core.timing import emergency_at, unit
from certagent.core.view import View

MOST = 50  # leaves of one job: a directory of ten thousand pairs is asked about piece by piece
SOON = timedelta(seconds=15)  # a new certificate that its responder does not know yet; then ever slower
WINDOW = timedelta(hours=1)
BURST = 3  # revoked pairs installed within the window: a responder that revokes everything must not cause a storm


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A certificate file that may be asked about, live or staged."""

    stem: str
    cert: CertFile
    leaf: Leaf
    known: Revocation | None  # the newest answer
    staged_at: datetime | None = None  # None: it is live

    def ask_at(self, rule: OcspRule, seed: str) -> datetime | None:
        """When to ask again: at nextUpdate, within the bounds; None: never asked yet."""
        known, since = self.known, self.staged_at
        if known is None:
            return None
        least = rule.min_interval * (1 + 0.1 * unit(seed, self.stem, "ocsp"))
        if known.status == "revoked":
            return known.at + rule.max_interval
        if known.status != "good" or known.by_ocsp in {"unknown", "unreachable"}:
            return known.at + (min(least, max(SOON, (known.at - since) / 2)) if since else least)
        ends = [c.decisive.next_update for c in known.chain if c.decisive and c.decisive.next_update]
        return min(max(min(ends, default=known.at), known.at + least), known.at + max(rule.max_interval, least))


def part(view: View) -> Part:
    """Findings of what is known, and the question that is due."""
    rule = view.policy.ocsp
    if rule.mode == "off":
        return NOTHING
    subjects = [*_staged(view), *_live(view)]
    live = [s for s in subjects if s.staged_at is None]
    findings = tuple(f for s in live for f in findings_of(rule, s.stem, s.leaf, s.known))
    revoked = {s.stem: bad for s in subjects if (bad := _quarantine(view.snapshot, s.stem, s.leaf))}
    return Part(tuple(revoked.values()), findings=findings) + _asking(view, subjects)


def _live(view: View) -> Iterator[Subject]:
    pairs = (view.pair(w.name.stem) for w in view.policy.wants if not w.name.is_bundle)
    return (s for pair in pairs if pair and (s := _subject(view, pair)))


def _staged(view: View) -> Iterator[Subject]:
    wanted = (s for s in view.snapshot.staged if not s.pair.name.is_bundle and view.want(s.pair.name.stem))
    return (s for staged in wanted if (s := _subject(view, staged.pair, staged.at)))


def _subject(view: View, pair: Pair, staged_at: datetime | None = None) -> Subject | None:
    if pair.cert is None or pair.leaf is None:
        return None
    known = view.snapshot.revocation.get(pair.leaf.fingerprint)
    return Subject(stem=pair.name.stem, cert=pair.cert, leaf=pair.leaf, known=known, staged_at=staged_at)


def _asking(view: View, subjects: list[Subject]) -> Part:
    if view.running("revocation"):
        return NOTHING
    rule, seed = view.policy.ocsp, view.policy.seed
    times = [(s, s.ask_at(rule, seed)) for s in subjects if names_responder(rule, s.cert)]
    due = dict.fromkeys((s.stem, s.leaf.fingerprint) for s, at in times if at is None or at <= view.now)
    later = tuple(at for _, at in times if at is not None and at > view.now)
    if not due:
        return Part(wakes=later)
    return Part((AskRevocation(tuple(due)[:MOST], "check whether it is revoked"),), wakes=later)


def names_responder(rule: OcspRule, cert: CertFile) -> bool:
    """Whether a certificate, or an issuer in its file, names something that can be asked."""
    return any(c.ocsp or (rule.crl and c.crl) for c in cert.certificates)


def _quarantine(snapshot: Snapshot, stem: str, leaf: Leaf | None) -> Quarantine | None:
    why = snapshot.revoked(leaf)
    if leaf is None or why is None or leaf.fingerprint in snapshot.quarantined or snapshot.ledger_problem:
        return None
    return Quarantine(stem, leaf.fingerprint, why)


def findings_of(rule: OcspRule, stem: str, leaf: Leaf, known: Revocation | None) -> Iterator[Finding]:
    """Given what is known of one leaf, yield what is wrong under the cluster's mode."""
    file = f"{stem}.crt"
    if known is not None and known.revoked:
        message = f"{known.revoked}; every handshake with it fails if OCSP is on"
        yield OCSP_REVOKED.found(file, message)
        return
    if silent := _silent(leaf, known):
        message = f"{silent} no OCSP responder; cockroach cannot notice a revocation there, not even in strict mode"
        yield OCSP_NO_URL.found(file, message)
    for checked in known.chain if known else ():
        yield from _unusable(rule, file, leaf, checked)


def _silent(leaf: Leaf, known: Revocation | None) -> str:
    """Which certificates of the chain name no responder."""
    issuers = [c.subject for c in known.chain[1:] if not c.ocsp] if known else []
    own = [] if leaf.ocsp else ["the certificate"]
    who = [*own, *(f"the issuer {subject}" for subject in issuers)]
    return f"{' and '.join(who)} name{'s' if len(who) == 1 else ''}" if who else ""


def _unusable(rule: OcspRule, file: str, leaf: Leaf, checked: Checked) -> Iterator[Finding]:
    answers = [a for a in checked.answers if a.source == "ocsp"]
    verdict = checked.by_ocsp
    if verdict not in {"unknown", "unreachable"}:
        return
    severity: Literal["warning", "critical"] = "critical" if rule.mode == "strict" else "warning"
    whose = "" if checked.fingerprint == leaf.fingerprint else f"for the issuer {checked.subject}: "
    what = "; ".join(f"{a.url}: {a.reason or a.status}" for a in answers)
    effect = (
        "in strict mode cockroach refuses every connection"
        if severity == "critical"
        else "passes in lax, fails in strict"
    )
    listed = "; its revocation list says good, but cockroach reads no lists" if checked.status == "good" else ""
    broken = OCSP_UNKNOWN if verdict == "unknown" else OCSP_UNREACHABLE
    yield broken.found(file, f"{whose}{what}{listed}; {effect}", severity)


def waits(view: View, staged: Staged, live: Pair | None) -> Part | None:
    """Why a staged pair is not judged yet: its responder was not asked (a job that always ends), or does not know it.

    In strict an unknown certificate would lock the node out, so a live pair that is good stays, until its emergency.
    """
    cert, stem = staged.pair.cert, staged.pair.name.stem
    if view.policy.ocsp.mode == "off" or cert is None or cert.leaf is None or staged.pair.name.is_bundle:
        return None
    if not names_responder(view.policy.ocsp, cert):
        return None
    known = view.snapshot.revocation.get(cert.leaf.fingerprint)
    if known is None:
        return blocked("install", stem, "waiting for an OCSP answer about the new certificate")
    if view.policy.ocsp.mode != "strict" or known.by_ocsp != "unknown" or not _dependable(view, live):
        return None
    why = "the responder does not know the new certificate; in strict mode every handshake with it would fail"
    remedy = "certagent advise ocsp; register new certificates with the CA's responder"
    found = OCSP_UNKNOWN.found(
        f"{stem}.crt", f"{why}; the old one stays until 5 % of its lifetime is left", remedy=remedy
    )
    return Part(findings=(found,)) + blocked("install", stem, why)


def _dependable(view: View, live: Pair | None) -> bool:
    """The live pair works, its responder says so, and there is time."""
    if live is None or live.leaf is None or not live.matched or view.now >= emergency_at(live.effective or live.leaf):
        return False
    known = view.snapshot.revocation.get(live.leaf.fingerprint)
    return known is not None and known.by_ocsp == "good"


def same_key(snapshot: Snapshot, staged: Staged, live: Pair | None) -> bool:
    """Whether a staged pair has the key of the live one, which is revoked: the key may be why."""
    if live is None or live.leaf is None or staged.pair.leaf is None:
        return False
    return snapshot.revoked(live.leaf) is not None and staged.pair.leaf.spki == live.leaf.spki


def revoked_again_at(view: View, pair: Pair) -> datetime | None:
    """When a pair that is revoked repeatedly may be issued again; None: immediately.

    Other renewals do not count: those of an operator, or of certificates that live for minutes.
    """
    if pair.leaf is None or not view.snapshot.revoked(pair.leaf):
        return None
    condemned = view.snapshot.quarantined | {pair.leaf.fingerprint}
    done = view.history.installs(pair.name.stem)
    recent = [a.at for a in done if a.fingerprint in condemned and view.now - a.at < WINDOW]
    again = recent[-BURST] + WINDOW if len(recent) >= BURST else view.now
    return again if again > view.now else None
