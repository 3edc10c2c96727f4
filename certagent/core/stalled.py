"""What is said of a certs directory that does not respond, or whose last check is too long ago."""

from dataclasses import replace
from datetime import datetime, timedelta

from certagent.core.actions import Plan
from certagent.core.catalogue import AGENT_STALLED, PATH_HUNG
from certagent.core.facts import Directory, Snapshot
from certagent.core.findings import Finding
from certagent.core.policy import Policy
from certagent.core.spans import span
from certagent.core.view import Planned

RESCANS = 3
AT_LEAST = timedelta(seconds=5)  # a rescan may be shorter than a check of a large directory on a busy host


def limit(rescan: timedelta) -> timedelta:
    """How old the last check of a directory may be."""
    return max(RESCANS * rescan, AT_LEAST)


def unresponsive(policy: Policy, last: Planned | None, since: datetime) -> Planned:
    """Given a policy, what was seen last and since when the directory does not respond, return what is known now.

    Nothing is planned: whatever is done there would wait as well.
    """
    message = f"{policy.path} has not responded since {since:%Y-%m-%d %H:%M:%S} UTC"
    remedy = "repair the mount; nothing is checked or changed in this directory until it responds"
    hung = PATH_HUNG.found(policy.path, message, "critical", remedy=remedy)
    snapshot = last.snapshot if last else Snapshot(Directory(policy.path, exists=True, problem="it does not respond"))
    known = tuple(f for f in last.plan.findings if f.code != PATH_HUNG.code) if last else ()
    return Planned(policy=policy, snapshot=snapshot, plan=Plan((), (), (hung, *known), None), current=False)


def stalled(policy: Policy, age: timedelta, rescan: timedelta) -> Finding | None:
    """Given how long ago the last check of a directory ended, return the finding; None where that is recent enough."""
    if age <= limit(rescan):
        return None
    seconds = timedelta(seconds=int(age.total_seconds()))
    message = f"{policy.path} was last checked {span(seconds)} ago; what is shown of it is as old"
    return AGENT_STALLED.found(policy.path, message)


def with_stalled(known: Planned, found: Finding | None) -> Planned:
    """With that finding, and without any action: it would be planned for a state that nobody has checked."""
    if found is None:
        return known
    findings = (found, *known.plan.findings)
    plan = replace(known.plan, actions=(), blocked=(), findings=findings, wake_at=None)
    return replace(known, plan=plan, current=False)
