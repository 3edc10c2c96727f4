"""What is wrong with each wanted pair, and whether to ask a CA for another one.

A live pair that somebody else made (`cockroach cert`, openssl, an operator's hand) is adopted: what differs
from the configuration is a finding, and it is renewed when due. Only a pair that is unusable, that we issued,
or whose configuration changed since is re-issued at once.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from certagent.core.actions import Adopt, Issue, RejectCommand
from certagent.core.catalogue import CERT_KEY, CERT_SAN
from certagent.core.decide import failover, layouts, outlook
from certagent.core.decide.part import Part, holding, total
from certagent.core.decide.revocation import revoked_again_at
from certagent.core.facts import Adopted, Leaf, Pair, Snapshot
from certagent.core.findings import Finding, Severity
from certagent.core.names import NODE
from certagent.core.policy import Want
from certagent.core.principals import NODE_USER
from certagent.core.reasons import Cause, Reason
from certagent.core.rules import other_key, pair_findings, stamp
from certagent.core.timing import emergency_at, settled_at
from certagent.core.view import View

EMERGENCY = ", and less than 5 % of the lifetime is left"
CONDEMNED = (
    "the pairs that replaced it were revoked within the hour too, so the next request waits; `certagent"
    " renew` does not wait"
)


def part(view: View) -> Part:
    """Findings of every pair, and the issuances and adoptions that are due."""
    wanted = {w.name.stem for w in view.policy.wants}
    others = (p for p in view.snapshot.pairs if p.name.stem not in wanted)
    unmanaged_files = [Part(findings=tuple(f.unmanaged() for f in pair_findings(None, p, view.now))) for p in others]
    return total([_want(view, want) for want in view.policy.wants] + unmanaged_files)


def _want(view: View, want: Want) -> Part:
    stem = want.name.stem
    pair = view.pair(stem) or Pair(want.name)
    findings = live_findings(view, want, pair)
    nobody = not want.issued_in(view.snapshot.directory)
    shown = findings + _nameless(want, pair) + _kept_key(want, pair)
    known = Part(
        findings=(tuple(f.by_others() for f in shown) if nobody else shown) + failover.findings(view.snapshot, want)
    )
    known += _adoption(view.snapshot, want, pair)
    reason = due(view, want, pair, findings)
    if reason is None:
        return known + _not_due(view, want, pair, findings)
    return known if nobody else known + _asking(view, want, pair, reason.sentence)


def live_findings(view: View, want: Want, pair: Pair) -> tuple[Finding, ...]:
    """What is wrong with a live pair. A name that its CA added is no name that the configuration gave up."""
    judged = replace(want, drop_names=False) if want.drop_names and _asked_by(view.snapshot, want, pair.leaf) else want
    return tuple(pair_findings(judged, pair, view.now))


def _asked_by(snapshot: Snapshot, want: Want, leaf: Leaf | None) -> bool:
    """Whether we asked for it by this very want: whatever other names it has are the CA's own doing."""
    if leaf is None or leaf.fingerprint not in snapshot.issued:
        return False
    return Adopted(want.name.stem, leaf.fingerprint, want.digest) in snapshot.adopted


def _nameless(want: Want, pair: Pair) -> tuple[Finding, ...]:
    """A server's certificate without any name: Go reads none from the common name.

    A finding alone: no reason to ask a CA, which would leave the names out again, nor to refuse what is as good as the
    live one. Where names are configured, their absence is one.
    """
    leaf, file = pair.leaf, f"{want.name.stem}.crt"
    if not want.server or leaf is None or want.names or leaf.dns or leaf.ips:
        return ()
    message = (
        "has no DNS name and no IP address; Go ignores the common name, so every verification of the host name fails"
    )
    remedy = f"configure its names, then certagent renew {want.name.stem}"
    severity: Severity = "critical" if want.name == NODE else "warning"
    return (CERT_SAN.found(file, message, severity, remedy, renews=True),)


def _kept_key(want: Want, pair: Pair) -> tuple[Finding, ...]:
    """A key of another type than the configured one, which `reuse_key` keeps: a finding alone, as nothing will change.

    Rejected: to replace it, for who reuses a key has pinned it somewhere.
    """
    leaf = pair.leaf
    if leaf is None or want.name.is_bundle or not want.reuse_key or not other_key(want, leaf):
        return ()
    message = f"the key is {leaf.key}, but {want.key} is configured; reuse_key keeps the old key"
    return (CERT_KEY.found(f"{want.name.stem}.crt", message, remedy="set reuse_key = false until the pair is renewed"),)


def _not_due(view: View, want: Want, pair: Pair, findings: tuple[Finding, ...]) -> Part:
    """What is not due: when it will be, and what of the configuration waits until then."""
    if pair.leaf is None or not want.authorities or want.name.is_bundle:
        return Part()
    at = view.renew_at(want, pair.leaf)
    differs = [f for f in findings if f.rule.different]
    if dropped := _vanishing(view.snapshot, want, pair.leaf):
        return outlook.refused(want.name.stem, f"the renewal at {stamp(at)} will be blocked: {dropped}", "warning", at)
    if not differs:
        return Part(wakes=(at,))
    until = f"certagent did not issue this pair and keeps it until {stamp(at)}"
    reason = f"{differs[0].message}; {until}; `certagent renew {want.name.stem}` replaces it now"
    return holding("issue", want.name.stem, reason, at)


def _adoption(snapshot: Snapshot, want: Want, pair: Pair) -> Part:
    leaf = pair.leaf
    if leaf is None or want.name.is_bundle or not pair.matched or leaf.fingerprint in snapshot.issued:
        return Part()
    if any(a.stem == want.name.stem and a.fingerprint == leaf.fingerprint for a in snapshot.adopted):
        return Part()
    return Part(
        (Adopt(want.name.stem, leaf.fingerprint, want.digest, "certagent did not issue this pair and adopts it"),)
    )


def due(view: View, want: Want, pair: Pair, findings: tuple[Finding, ...]) -> Reason | None:
    """Given a want and its live pair, return why it should be issued now, or None."""
    return next(_reasons(view, want, pair, findings), None)


def _reasons(view: View, want: Want, pair: Pair, findings: tuple[Finding, ...]) -> Iterator[Reason]:
    """Every reason to issue it, the most pressing first.

    A request that a CA has is asked about to its end, even after whoever wanted it is forgotten.
    """
    stem, leaf = want.name.stem, pair.leaf
    if want.name.is_bundle:
        if pair.cert is None:
            yield Reason(Cause.MISSING, f"{stem}.crt is missing")
        return
    yield from (Reason(Cause.UNUSABLE, f.message) for f in findings if f.rule.unusable)
    if revoked := view.snapshot.revoked(leaf):
        yield Reason(Cause.REVOKED, revoked)
    if asked := view.snapshot.renewal(stem):
        yield Reason(Cause.REQUESTED, f"requested by an operator at {stamp(asked.at)}")
    if leaf is not None and _ours_to_change(view.snapshot, want, leaf):
        yield from (Reason(Cause.CHANGED, f.message) for f in findings if f.rule.different)
    if leaf is not None and view.now >= (at := view.renew_at(want, leaf)):
        late = view.now >= emergency_at(leaf)
        yield Reason(Cause.DUE, f"renewal has been due since {stamp(at)}" + (EMERGENCY if late else ""))
    later = view.history.waiting(stem)
    if later and later.authority in want.authorities:
        yield Reason(Cause.PENDING, f"renewal is due; authority {later.authority} accepted the request")


def _ours_to_change(snapshot: Snapshot, want: Want, leaf: Leaf) -> bool:
    """We issued it, or the configuration has changed since it was adopted."""
    if leaf.fingerprint in snapshot.issued:
        return True
    adopted = [a for a in snapshot.adopted if a.stem == want.name.stem and a.fingerprint == leaf.fingerprint]
    return bool(adopted) and adopted[-1].want != want.digest


def _asking(view: View, want: Want, pair: Pair, reason: str) -> Part:
    """Issue, unless something holds it."""
    stem = want.name.stem
    failed = view.history.failures(stem)
    later = failover.inbox_changed(view, view.history.waiting(stem))
    findings = outlook.failing(want, pair, failed, view.now, view.snapshot.bundles)
    findings += outlook.answers_later(want, later)
    if view.running("issue", stem) or any(s.pair.name.stem == stem for s in view.snapshot.staged):
        return findings
    asked = view.snapshot.renewal(stem)
    if waits := failover.unread(view.snapshot, want, later) or _waits(view, want):
        return findings + holding("issue", stem, f"{reason}; {waits}")
    want = layouts.keep_dual_purpose(view, want)
    order = failover.usable(view.snapshot, want)
    if held := _unsuitable(view.snapshot, want, pair) or (
        None if order else failover.untrusted(view.snapshot, want, want.authorities[0])
    ):
        why = f"{reason}; {held}"
        told = outlook.overdue(want, pair, view.now) + outlook.refused(stem, held)
        told += holding("issue", stem, why, refused=True)
        return told + (Part((RejectCommand("renew", stem, why),)) if asked else Part())
    choice = failover.choose(view, want, pair.leaf, order, later)
    if choice.at is not None:
        why = f"the CA issues later: {later.reason}" if later else f"attempt {len(failed) + 1} waits for the backoff"
        return findings + holding("issue", stem, f"{reason}; {why}", choice.at)
    pause, waits = (None, None) if asked else _pause(view, pair)
    if waits := waits or layouts.unaccepted(view, want, choice.authority):
        return findings + holding("issue", stem, f"{reason}; {waits}", pause)
    reuse, carried_over = _reuse(view.snapshot, want, pair), layouts.carried_over_bundle(view.snapshot, want)
    return findings + Part((Issue(want, choice.authority, _names(want, pair.leaf), reuse, reason, carried_over),))


def _pause(view: View, pair: Pair) -> tuple[datetime | None, str | None]:
    """Until when, and why, a first attempt waits that no operator asked for."""
    if at := revoked_again_at(view, pair):
        return at, CONDEMNED
    at = settled_at(pair, view.now)
    return at, "the files have just changed and may be incomplete" if at else None


def _waits(view: View, want: Want) -> str | None:
    """What comes first: the bundle that verifies it, a person's word, a sound clock and ledger."""
    for bundle in () if want.name.is_bundle else layouts.needed(view, want.name):
        if bundle not in view.snapshot.bundles:
            return f"{bundle}.crt is needed first"
    unsound = _unsound(view.snapshot)
    return layouts.another_ca(view, want) or unsound


def _unsound(snapshot: Snapshot) -> str | None:
    if not snapshot.clock.sound:
        return snapshot.clock.reason
    return f"the ledger cannot be written: {snapshot.ledger_problem}" if snapshot.ledger_problem else None


def _unsuitable(snapshot: Snapshot, want: Want, pair: Pair) -> str | None:
    """What can be known of an answer before any CA is asked: no names, or names that would vanish."""
    if want.server and not _names(want, pair.leaf):
        return (
            f"no names are configured for {want.name.stem}, and there is no live certificate to take them from:"
            " set `names`"
        )
    return _vanishing(snapshot, want, pair.leaf)


def _vanishing(snapshot: Snapshot, want: Want, live: Leaf | None) -> str | None:
    missing = _dropped(want, live)
    if not missing or _asked_by(snapshot, want, live):
        return None
    has = f"the live certificate has names that are not configured ({', '.join(missing)})"
    return f"{has}: add them to `names`, or set drop_names = true"


def _dropped(want: Want, live: Leaf | None) -> list[str]:
    if want.names is None or want.drop_names or live is None or not want.server:
        return []
    return (
        sorted(set(live.dns) | set(live.ips))
        if not want.names
        else [n for n in (*live.dns, *live.ips) if n not in {*want.names, want.principal, _principal_san(want)}]
    )


def _names(want: Want, live: Leaf | None) -> tuple[str, ...]:
    """`names` are authoritative; without any the live certificate's are kept."""
    if want.names is not None:
        return want.names
    kept = [n for n in live.dns if want.principal or n != _principal_san(want)] if live else []
    return (*kept, *live.ips) if live else ()


def _principal_san(want: Want) -> str | None:
    """`cockroach cert` writes the principal of a node among the DNS SANs, too: no name of a host."""
    return NODE_USER if want.name == NODE else None


def _reuse(snapshot: Snapshot, want: Want, pair: Pair) -> bool:
    """Never the key of a revoked certificate: it may be why."""
    return want.reuse_key and not snapshot.revoked(pair.leaf) and pair.key is not None and pair.key.spki is not None
