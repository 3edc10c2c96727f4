"""snapshot x plan -> the JSON document that `certagent status --json` prints."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from certagent.core.actions import Action, Blocked, Plan, subject_of, word_of
from certagent.core.decide import decide, severity
from certagent.core.facts import Attempt, Authority, Leaf, Look, Members, Pair, Process, Served, Snapshot
from certagent.core.findings import Finding, worst_of
from certagent.core.policy import Policy, Want
from certagent.core.predict import forecast
from certagent.core.proof import Proof, answers, proofs, unverified
from certagent.core.renewals import last_renewal, taken_back
from certagent.core.rotation import shown
from certagent.core.served import anchors, chain_ends, key_of
from certagent.core.serving import expected
from certagent.core.spelling import printable, spelled
from certagent.core.view import Planned, View


def rfc3339(at: datetime | None) -> str | None:
    """RFC 3339 in UTC with milliseconds, None for None."""
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def document(parts: Iterable[Planned], now: datetime, daemon: dict[str, Any] | None) -> dict[str, Any]:
    """Given every certs-dir's policy, snapshot and plan, return the whole status."""
    parts = list(parts)
    several = len(parts) > 1
    dirs = [
        {
            **certs_dir(p.policy, p.snapshot, _true(p.plan, daemon), now, several=several),
            "checked_at": rfc3339(p.checked),
        }
        for p in parts
    ]
    worst = worst_of(d["severity"] for d in dirs)
    host = next((p.policy.host for p in parts), "")
    about = {"version": 1, "host": printable(host), "severity": worst, "now": rfc3339(now), "daemon": daemon}
    return {**about, "certs_dirs": spelled(dirs)}


def _true(plan: Plan, daemon: dict[str, Any] | None) -> Plan:
    """With remedies that need an agent said to be so, where none answered."""
    return plan if daemon else replace(plan, findings=tuple(f.without_agent() for f in plan.findings))


def certs_dir(
    policy: Policy, snapshot: Snapshot, plan: Plan, now: datetime, *, several: bool = False
) -> dict[str, Any]:
    """One certs-dir; `several`: it is not the only one, so that a command has to name it."""
    view = View(policy=policy, snapshot=snapshot, now=now)
    return {
        "path": policy.path,
        "severity": severity(plan),
        "layout": policy.layout,
        "findings": [finding(f) for f in plan.findings],
        "files": _files(view),
        "processes": _processes(snapshot, now),
        "processes_at": rfc3339(snapshot.processes_at),
        "members": _members(snapshot.members),
        "authorities": [_authority(snapshot, a) for a in snapshot.authorities],
        "clock": {"sound": snapshot.clock.sound, "synchronised": snapshot.clock.synchronised},
        "rotations": [shown.rotation(policy, each, several=several) for each in shown.under_way(view)],
        "next": _next(view, plan),
    }


def finding(f: Finding) -> dict[str, str]:
    """A finding, field by field."""
    return {"code": f.code, "severity": f.severity, "file": f.file, "message": f.message, "remedy": f.remedy}


def _authority(snapshot: Snapshot, a: Authority) -> dict[str, Any]:
    failed = snapshot.history.failed_since_success(a.name)
    told = {"note": a.note or _note(a.kind), "problem": a.problem, "failed_attempts": failed}
    return {"name": a.name, "type": a.kind, **told}


def _note(kind: str) -> str:
    return "an embedded CA, for one host or a lab; its key is on this host" if kind == "local" else ""


def _files(view: View) -> list[dict[str, Any]]:
    wants = view.policy.wants
    pairs = [view.pair(want.name.stem) or Pair(want.name) for want in wants]
    rows = zip(wants, pairs, proofs(view.snapshot, pairs, view.now), strict=True)
    return [_file(view, want, pair, verified) for want, pair, verified in rows]


def _file(view: View, want: Want, pair: Pair, verified: Proof) -> dict[str, Any]:
    snapshot = view.snapshot
    history = snapshot.history
    leaf, effective = pair.leaf, pair.effective
    due = leaf and want.authorities and not want.name.is_bundle
    answers = [s for s in snapshot.served if _about(snapshot, pair, s)]
    return {
        "name": want.name.stem,
        "fingerprint": leaf.fingerprint if leaf else None,
        "not_before": rfc3339(leaf.not_before) if leaf else None,
        "not_after": rfc3339(leaf.not_after) if leaf else None,
        "chain_ends": rfc3339(effective.not_after) if effective else None,
        "chain_ends_by": pair.ends_by or None,
        "serial": f"{leaf.serial:x}" if leaf else None,
        "subject": leaf.subject if leaf else None,
        "issuer": leaf.issuer if leaf else None,
        "sans": list(leaf.sans) if leaf else [],
        "authority": want.authorities[0] if want.authorities else None,
        "authorities": list(want.authorities),
        "renew_at": rfc3339(view.renew_at(want, effective)) if due and effective else None,
        "window": _window(snapshot, want.name.stem, leaf),
        "attempts": _attempts(view, want.name.stem),
        "last_attempt": _attempt(history.last(want.name.stem)),
        "last_renewal": _renewal(view, want.name.stem),
        "rolled_back": _taken_back(view, want.name.stem),
        "proof": verified.kind,
        "owed": list(verified.owed),
        "revocation": _revocation(snapshot, leaf),
        "served": [_served(snapshot, pair, s) for s in answers],
        "verified_by": pair.trust.bundle if pair.trust else None,
        "anchors": list(anchors(snapshot, pair, answers)),
        "cas": [_ca(c) for c in pair.cert.certificates] if pair.cert and want.name.is_bundle else [],
    }


def _renewal(view: View, stem: str) -> dict[str, Any] | None:
    found = last_renewal(view.history, stem)
    return {**asdict(found), "at": rfc3339(found.at)} if found else None


def _taken_back(view: View, stem: str) -> dict[str, Any] | None:
    found = taken_back(view.snapshot, stem)
    return {**asdict(found), "at": rfc3339(found.at)} if found else None


def _ca(ca: Leaf) -> dict[str, Any]:
    """One certificate of a bundle; `key` names the CA, whichever of its certificates this is."""
    about = {"subject": ca.subject, "fingerprint": ca.fingerprint}
    return {"key": key_of(ca.spki), **about, "not_after": rfc3339(ca.not_after)}


def _attempts(view: View, stem: str) -> int:
    """How many issuances ended since the last success: the one that runs now has not failed yet."""
    tried = view.history.failures(stem)
    return len(tried) - bool(tried and tried[-1].outcome == "asked" and view.running("issue", stem))


def _window(snapshot: Snapshot, stem: str, leaf: Leaf | None) -> dict[str, Any] | None:
    """When the CA wants it renewed, where it says so (RFC 9773)."""
    found = snapshot.history.window(stem, leaf.fingerprint) if leaf else None
    if found is None:
        return None
    return {"start": rfc3339(found.start), "end": rfc3339(found.end), "explanation": found.explanation}


def _revocation(snapshot: Snapshot, leaf: Leaf | None) -> dict[str, Any] | None:
    """What is known of the chain; null where OCSP is off, or nothing was asked yet."""
    found = snapshot.revocation.get(leaf.fingerprint) if leaf else None
    if found is None:
        return None
    worst = found.worst
    answer = (worst.decisive or next(iter(worst.answers), None)) if worst else None
    return {
        "status": found.status,
        "responder": answer.url if answer else None,
        "at": rfc3339(found.at),
        "next_update": rfc3339(answer.next_update) if answer else None,
        "reason": found.revoked or found.problem or (answer.reason if answer else ""),
    }


def _attempt(attempt: Attempt | None) -> dict[str, Any] | None:
    return (
        None if attempt is None else {"at": rfc3339(attempt.at), "outcome": attempt.outcome, "reason": attempt.reason}
    )


def _about(snapshot: Snapshot, pair: Pair, served: Served) -> bool:
    if served.client or "server" not in pair.name.kind.asked_as:
        return served.client == pair.name.stem
    return expected(snapshot, served.kind) == pair


def _served(snapshot: Snapshot, pair: Pair, served: Served) -> dict[str, Any]:
    pid = next((p.pid for p in snapshot.processes if p.identity == served.process), None)
    shown = served.client_fingerprint if served.client else served.fingerprint
    return {
        "address": served.address,
        "pid": pid,
        "fingerprint": shown or None,
        "chain_ends": rfc3339(chain_ends(snapshot, pair, served)),
        "at": rfc3339(served.at),
        "outcome": served.outcome,
        "reason": served.reason,
    }


def _processes(snapshot: Snapshot, now: datetime) -> list[dict[str, Any]]:
    told = answers(snapshot, now)
    return [_process(snapshot, p) | {"owed": list(unverified(snapshot, p, told))} for p in snapshot.processes]


def _process(snapshot: Snapshot, process: Process) -> dict[str, Any]:
    sent = [a for a in snapshot.history.signals(process) if a.outcome != "presumed"]
    ports = [x.address for x in process.listeners]
    return {
        "pid": process.pid,
        "user": process.user,
        "command": process.command,
        "state": process.state,
        "listeners": ports,
        "last_signal": _attempt(sent[-1] if sent else None),
    }


def _members(members: Members) -> dict[str, Any]:
    """Who belongs to the cluster besides this host, and the newest look at each for each pair."""
    return {
        "source": members.source or None,
        "listed": list(members.listed),
        "own": members.own or None,
        "problem": members.problem,
        "live": members.live,
        "live_at": rfc3339(members.live_at),
        "looks": [_look(k) for k in sorted(members.looks, key=lambda k: (k.address, k.at))],
    }


def _look(look: Look) -> dict[str, Any]:
    return {
        "address": look.address,
        "at": rfc3339(look.at),
        "offered": look.stem,
        "fingerprint": look.offered,
        "outcome": look.outcome,
        "reason": look.reason,
        "served": look.served or None,
        "served_since": rfc3339(look.served_since or look.at) if look.served else None,
        "anchors": [key_of(spki) for spki in look.anchors],
        "ca_ends": rfc3339(datetime.fromtimestamp(look.ca_ends, UTC)) if look.ca_ends else None,
    }


def _next(view: View, plan: Plan) -> dict[str, Any] | None:
    """The next thing that will change something: a running or due issuance, or a blocked action with a known end."""
    if running := view.running("issue") or view.running("reload"):
        since = rfc3339(running.since)
        return {"action": running.kind, "file": running.subject, "at": since, "reason": "running now"}
    waiting = [(h.until, h.action, h.subject, h.reason) for h in plan.blocked if h.until]
    held = {h.subject for h in plan.blocked}
    for want in view.policy.renewed if view.snapshot.directory.managed else ():
        stem, pair = want.name.stem, view.pair(want.name.stem)
        if pair is not None and pair.effective is not None and stem not in held:
            waiting.append((view.renew_at(want, pair.effective), "issue", stem, "its renewal is due"))
    if not waiting:
        return None
    at, action, file, reason = min(waiting)
    return {"action": action, "file": file, "at": rfc3339(at), "reason": reason}


def _blocked(found: Blocked) -> dict[str, Any]:
    return {
        "action": found.action,
        "file": found.subject,
        "at": rfc3339(found.until),
        "reason": found.reason,
        "refused": found.refused,
    }


def plan_document(
    policy: Policy, snapshot: Snapshot, now: datetime, last: Plan | None = None, *, several: bool = False
) -> dict[str, Any]:
    """What would be done now, what follows if it succeeds, what is blocked and why, and when the next step is due.

    `last`: the plan of a directory that could not be checked since; nothing follows from it. `several`: it is not the
    only directory, so that a command has to name it.
    """
    plan, view = last or decide(policy, snapshot, now), View(policy=policy, snapshot=snapshot, now=now)
    planned = {
        "actions": [_action(a) for a in plan.actions],
        "steps": [] if last else [_action(a) for a in forecast(policy, snapshot, now)],
        "held": [_blocked(h) for h in plan.blocked],
        "rotations": [shown.rotation(policy, each, several=several) for each in shown.under_way(view)],
        "findings": [finding(f) for f in plan.findings],
        "wake_at": rfc3339(plan.wake_at),
        "next": _next(view, plan),
    }
    return {key: spelled(value) for key, value in planned.items()}


def _action(action: Action) -> dict[str, str]:
    return {"action": word_of(action), "subject": subject_of(action), "reason": action.reason}
