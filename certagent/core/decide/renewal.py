"""What is wrong with each configured pair, and whether to request a new one from a CA.

A live pair that the agent did not issue (`cockroach cert`, openssl, copied by hand) is adopted: each difference from
the configuration is a finding, and the pair is renewed when due. Only a pair that is unusable, that the agent issued,
or whose configuration changed since is re-issued before that (changed settings: spread.py).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import Enum, auto

from certagent.core.actions import Adopt, Issue, RejectCommand
from certagent.core.asked import other_key
from certagent.core.catalogue import CERT_KEY, CERT_SAN, KEY_MISMATCH, RENEWAL_REFUSED
from certagent.core.decide import failover, guards, layouts, outlook, sans
from certagent.core.decide.causes import by_cause
from certagent.core.decide.generations import going_back, paced
from certagent.core.decide.guards import Asking, Block
from certagent.core.decide.overlap import reasons_of_bundle
from certagent.core.decide.part import NOTHING, Part, blocked, saying, total
from certagent.core.facts import Leaf, Pair, Snapshot
from certagent.core.findings import Finding, Severity
from certagent.core.names import NODE
from certagent.core.policy import Want
from certagent.core.reasons import Cause, Reason
from certagent.core.rotation import returning
from certagent.core.rules import pair_findings
from certagent.core.scopes import limit
from certagent.core.spans import stamp
from certagent.core.timing import emergency_at, of_the_future
from certagent.core.view import View


class Outcome(Enum):
    """What becomes of a pair that should be issued, where a guard objects."""

    QUIET = auto()  # nothing more is said
    BLOCKED = auto()  # it waits, and the plan says for what
    REFUSED = auto()  # only a person lifts it: a finding, and an operator's command is taken back


# The order is the policy: the first guard that objects decides, and the outcome says what becomes of the pair. An
# authority is asked where none does.
POLICY: tuple[tuple[Callable[[Asking], Block | None], Outcome], ...] = (
    (guards.under_way, Outcome.QUIET),
    (guards.unread_files, Outcome.BLOCKED),
    (guards.missing_bundle, Outcome.BLOCKED),
    (guards.unsound_clock, Outcome.BLOCKED),
    (guards.unwritable_ledger, Outcome.BLOCKED),
    (guards.no_names, Outcome.REFUSED),
    (guards.vanishing_names, Outcome.REFUSED),
    (guards.widened_scopes, Outcome.REFUSED),
    (guards.misdirected_scopes, Outcome.REFUSED),
    (guards.disallowed_user, Outcome.REFUSED),
    (guards.untrusted_authorities, Outcome.REFUSED),
    (guards.ending_cas, Outcome.REFUSED),
    (guards.uncreated_ca, Outcome.BLOCKED),
    (guards.pausing, Outcome.BLOCKED),
    (guards.revoked_again, Outcome.BLOCKED),
    (guards.exposed_again, Outcome.BLOCKED),
    (guards.unsettled, Outcome.BLOCKED),
    (guards.spread_out, Outcome.BLOCKED),
    (guards.unaccepted, Outcome.BLOCKED),
)
NOT_DUE = Reason(Cause.DUE, "")
EMERGENCY = ", and less than 5 % of the lifetime is left"


def part(view: View) -> Part:
    """Findings of every pair, and the issuances and adoptions that are due."""
    wants, now = view.policy.wants, view.now
    others = (p for p in view.snapshot.pairs if view.want(p.name.stem) is None)
    unmanaged_files = [saying(f.unmanaged() for f in pair_findings(None, p, now)) for p in others]
    made = [_want(view, want) for want in wants]
    refused = {name for want, part in zip(wants, made, strict=True) for name in _refused(view, want, part)}
    about = [saying(failover.findings(view, want, refused | _tried(view, want, "failed"))) for want in wants]
    found = total([*made, *unmanaged_files, *about])
    return replace(found, findings=by_cause(view, failover.once(found.findings))) if found.findings else found


def _refused(view: View, want: Want, part: Part) -> set[str]:
    """The authorities that a refused renewal names: their own findings would say the same twice."""
    if not any(f.rule is RENEWAL_REFUSED for f in part.findings):
        return set()
    useless = {a for a in want.authorities if failover.untrusted(view.snapshot, want, a) or failover.expired(view, a)}
    return _tried(view, want, "refused") or useless


def _tried(view: View, want: Want, outcome: str) -> set[str]:
    """The authorities whose attempts ended so since the last installation."""
    failed = view.history.failures(want.name.stem)
    return {a.authority for a in failed if a.outcome == outcome} if failed else set()


def _want(view: View, want: Want) -> Part:
    stem = want.name.stem
    pair = view.pair(stem) or Pair(want.name)
    findings = live_findings(view, want, pair)
    nobody = not want.issued_in(view.snapshot.directory)
    shown = findings + _nameless(want, pair) + _kept_key(want, pair)
    known = saying([f.by_others() for f in shown] if nobody else _curable(view, want, pair, shown))
    known += _adoption(view.snapshot, want, pair)
    reason = due(view, want, pair, findings)
    if reason is None:
        return known + _not_due(view, want, pair, findings)
    if nobody:
        return known
    if _due_by_jump_alone(view, want, pair):
        return known + blocked("issue", stem, f"{reason.sentence}; {view.jumped}")
    if reason.kind is Cause.FUTURE and (back := _back(view, stem, reason)):
        return known + back
    asking = Asking(view=view, want=layouts.keep_dual_purpose(view, want), pair=pair, reason=reason)
    return known + _asking(asking)


def _due_by_jump_alone(view: View, want: Want, pair: Pair) -> bool:
    before = view.before_jump
    return before is not None and due(before, want, pair, live_findings(before, want, pair)) is None


def _back(view: View, stem: str, reason: Reason) -> Part | None:
    """The earlier pair that is valid now, at once; None where there is none, or another one is on its way."""
    if view.running("issue", stem) or any(s.pair.name.stem == stem for s in view.snapshot.staged):
        return None
    back = going_back(view, stem, reason.sentence)
    return paced(view, back) if back else None


def _curable(view: View, want: Want, pair: Pair, shown: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """No remedy names a renewal that would be refused: what a person must do first takes its place."""
    if not any(_by_renewal(f) for f in shown):
        return shown
    asking = Asking(view=view, want=want, pair=pair, reason=Reason(Cause.REQUESTED, ""))
    refusing = (guard for guard, outcome in POLICY if outcome is Outcome.REFUSED)
    bars = [guards.missing_bundle, _unusable_authorities, *refusing]
    refused = [block for guard in bars if (block := guard(asking))]
    if not refused:
        return shown
    return tuple(replace(f, remedy=refused[0].remedy or f.remedy, cure="") if _by_renewal(f) else f for f in shown)


def _unusable_authorities(asking: Asking) -> Block | None:
    """None of them can be asked."""
    advice = [failover.advice(asking.view.snapshot, asking.want, name) for name in asking.want.authorities]
    return Block("no authority can be asked", remedy=advice[0]) if advice and all(advice) else None


def _by_renewal(found: Finding) -> bool:
    """Its remedy is a renewal; of a mismatched pair `certagent recover` may be the better one."""
    return found.cure == "renew" and found.rule is not KEY_MISMATCH


def live_findings(view: View, want: Want, pair: Pair) -> tuple[Finding, ...]:
    """What is wrong with a live pair. Names that its CA added do not count as names removed from the configuration."""
    judged = (
        replace(want, drop_names=False) if want.drop_names and sans.asked_by(view.snapshot, want, pair.leaf) else want
    )
    return tuple(pair_findings(judged, pair, view.now))


def _nameless(want: Want, pair: Pair) -> tuple[Finding, ...]:
    """A server's certificate without any name: Go reads none from the common name.

    A finding alone: no reason to ask a CA, which would leave the names out again, nor to refuse what is as good as the
    live one. Where names are configured, their absence is one.
    """
    leaf, file = pair.leaf, f"{want.name.stem}.crt"
    if not want.server or leaf is None or want.names or leaf.dns or leaf.ips:
        return ()
    message = (
        "the certificate has no DNS name and no IP address; Go ignores the common name, so every verification"
        " of the host name fails"
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
        return NOTHING
    at = view.renew_at(want, pair.effective or pair.leaf)
    differs = [f for f in findings if f.rule.different]
    asking = Asking(view=view, want=want, pair=pair, reason=NOT_DUE)
    if block := guards.vanishing_names(asking) or guards.widened_scopes(asking):
        why = f"the renewal at {stamp(at)} will be blocked: {block.why}"
        return outlook.refused(want.name.stem, why, "warning", at, remedy=block.remedy)
    if not differs or guards.disallowed_user(asking):
        return outlook.remembered(view, want, pair) + Part(wakes=(at,))
    until = f"certagent did not issue this pair and keeps it until {stamp(at)}"
    reason = f"{differs[0].message}; {until}; `certagent renew {want.name.stem}` replaces it now"
    return blocked("issue", want.name.stem, reason, at)


def _adoption(snapshot: Snapshot, want: Want, pair: Pair) -> Part:
    leaf = pair.leaf
    if leaf is None or want.name.is_bundle or not pair.matched or leaf.fingerprint in snapshot.issued:
        return NOTHING
    if any(a.stem == want.name.stem and a.fingerprint == leaf.fingerprint for a in snapshot.adopted):
        return NOTHING
    if limit(snapshot, want, pair).contradicted:
        return NOTHING
    return Part(
        (Adopt(want.name.stem, leaf.fingerprint, want.digest, "certagent did not issue this pair and adopts it"),)
    )


def due(view: View, want: Want, pair: Pair, findings: tuple[Finding, ...]) -> Reason | None:
    """Given a want and its live pair, return why it should be issued now, or None."""
    return next(_reasons(view, want, pair, findings), None)


def _reasons(view: View, want: Want, pair: Pair, findings: tuple[Finding, ...]) -> Iterator[Reason]:
    """Every reason to issue it, the most pressing first.

    A request that a CA accepted is followed until it ends, even if the reason for it no longer exists.
    """
    stem, leaf, effective = want.name.stem, pair.leaf, pair.effective
    if want.name.is_bundle:
        yield from reasons_of_bundle(view, want, pair)
        return
    yield from (Reason(Cause.UNUSABLE, f.message) for f in findings if f.rule.unusable)
    if leaf is not None and view.snapshot.clock.sound and of_the_future(leaf, view.now):
        why = f"the certificate is not valid before {stamp(leaf.not_before)}: a clock was ahead when it was issued"
        yield Reason(Cause.FUTURE, why)
    if revoked := view.snapshot.revoked(leaf):
        yield Reason(Cause.REVOKED, revoked)
    if view.policy.on_exposed == "renew" and view.snapshot.exposed_key(pair):
        yield Reason(Cause.EXPOSED, f"others could read {stem}.key, because repairs of its mode were undone")
    if elsewhere := returning.renewal(view, pair):
        yield Reason(Cause.UNUSABLE, elsewhere)
    if asked := view.snapshot.renewal(stem):
        yield Reason(Cause.REQUESTED, f"requested by an operator at {stamp(asked.at)}")
    if leaf is not None and _ours_to_change(view.snapshot, want, leaf):
        yield from (Reason(Cause.CHANGED, f.message) for f in findings if f.rule.different)
    if effective is not None and view.now >= (at := view.renew_at(want, effective)):
        late = view.now >= emergency_at(effective)
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


def _asking(a: Asking) -> Part:
    """What the policy says of a pair that should be issued."""
    told = outlook.overdue(a.want, a.pair, a.view.now) + outlook.failing(a.view, a.want, a.failed)
    told += outlook.answers_later(a.want, a.later)
    for guard, outcome in POLICY:
        if block := guard(a):
            return _outcome(a, block, outcome, told)
    return told + Part((_issue(a),))


def _outcome(a: Asking, block: Block, outcome: Outcome, told: Part) -> Part:
    """Given the findings about the attempts so far, return what a block means for the pair."""
    match outcome:
        case Outcome.QUIET:
            return told
        case Outcome.BLOCKED:
            return told + blocked("issue", a.stem, f"{a.reason.sentence}; {block.why}", block.until)
        case Outcome.REFUSED:
            why = f"{a.reason.sentence}; {block.why}"
            told = outlook.overdue(a.want, a.pair, a.view.now)
            if not block.told:
                told += outlook.refused(a.stem, block.why, block.severity, remedy=block.remedy)
            told += blocked("issue", a.stem, why, refused=True)
            return told + (Part((RejectCommand("renew", a.stem, why),)) if a.requested else Part())


def _issue(a: Asking) -> Issue:
    """A key is reused, but never that of a revoked certificate, which may be why, nor one that others could read."""
    snapshot, want, pair = a.view.snapshot, a.want, a.pair
    bad = snapshot.revoked(pair.leaf) or snapshot.exposed_key(pair)
    reuse = want.reuse_key and not bad and pair.key is not None and pair.key.spki is not None
    names = (*sans.names(want, pair.leaf), *sans.uris(snapshot, want, pair))
    overlap = a.reason.kind is Cause.OVERLAP
    carried_over = a.stem if overlap else layouts.carried_over_bundle(snapshot, want)
    first = want.name.is_bundle and not overlap and layouts.first_of(a.view, want, a.choice.authority)
    return Issue(want, a.choice.authority, names, reuse, a.reason.sentence, carried_over, first, a.forced)
