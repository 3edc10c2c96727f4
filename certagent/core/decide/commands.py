"""Operators' commands that cannot be carried out, or were tried in vain: they are answered, and taken back.

A command that stayed would be carried out when nobody expects it any more. What lifts by itself (a pause after a
failure, a bundle that comes first) is waited for, an hour at most; what only a person lifts is not.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from certagent.core.actions import RejectCommand
from certagent.core.decide.part import Part, total
from certagent.core.facts import Request, Snapshot
from certagent.core.policy import Policy
from certagent.core.requests import after
from certagent.core.timing import waiting

LONGEST = timedelta(hours=1)


def part(policy: Policy, snapshot: Snapshot, now: datetime) -> Part:
    """The commands to take back, and when those that wait have waited long enough."""
    return total([_one(policy, snapshot, request, now) for request in snapshot.requests])


def without(snapshot: Snapshot, taken_back: Part) -> Snapshot:
    """The same where nobody asked for what is taken back: nothing comes of it in this look either."""
    gone = {(a.command, a.stem) for a in taken_back.actions if isinstance(a, RejectCommand)}
    return replace(snapshot, requests=tuple(r for r in snapshot.requests if (r.kind, r.subject) not in gone))


def _one(policy: Policy, snapshot: Snapshot, request: Request, now: datetime) -> Part:
    why = _in_vain(policy, snapshot, request) if request.kind == "renew" else None
    if why is None and now - request.at < LONGEST:
        return Part(wakes=(request.at + LONGEST,))
    if why is None and request.kind == "renew" and waiting(snapshot.attempts, request.subject):
        return Part()  # the CA has it
    reason = why or "it could not be carried out within an hour, and is not waited for any longer"
    return Part((RejectCommand(request.kind, request.subject, reason),))


def _in_vain(policy: Policy, snapshot: Snapshot, request: Request) -> str | None:
    """Why a renewal cannot come, or that everybody who could be asked was."""
    want = policy.want(request.subject)
    if want is None or not want.authorities:
        return f"no authority is configured for {request.subject}: whoever else makes it renews it"
    if snapshot.directory.foreign:
        return f"something else owns the files: {snapshot.directory.foreign}"
    tried = [a for a in snapshot.tried(request.subject) if a.kind == "issue" and after(a, request)]
    failed = [a for a in tried if a.failed]
    return failed[-1].reason if len(failed) >= len(want.authorities) else None
