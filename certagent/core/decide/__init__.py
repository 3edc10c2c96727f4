"""decide(policy, snapshot, now) -> Plan: the whole state, every time; triggers only say "look again".

Each module here answers one question about the snapshot and returns a Part; this one only puts the parts
together and drops what another part has already made pointless. No step hands data to the next: seeing a sound
staged pair causes the install, seeing a process serve something else than the file causes the SIGHUP, so a
crash anywhere resumes by itself.
"""

from collections.abc import Iterable
from datetime import datetime

from certagent.core.actions import Action, Install, Plan, Probe, Recover, Reload, Rollback
from certagent.core.decide import (
    commands,
    install,
    layouts,
    modes,
    probing,
    reloading,
    renewal,
    revocation,
    surroundings,
    windows,
)
from certagent.core.facts import Snapshot
from certagent.core.policy import Policy, on_terms_of

SEVERITIES = ("ok", "info", "warning", "critical")


def decide(policy: Policy, snapshot: Snapshot, now: datetime) -> Plan:
    """Given what should be and what is, return what to do now, what waits and why, what is wrong.

    And when to look again.
    """
    directory = snapshot.directory
    policy = on_terms_of(policy, snapshot.processes)
    part = surroundings.part(policy, snapshot)
    taken_back = commands.part(policy, snapshot, now)
    part += taken_back
    snapshot = commands.without(snapshot, taken_back)
    if directory.exists and not directory.problem:
        part += modes.part(policy, snapshot, now)
        part += renewal.part(policy, snapshot, now)
        part += layouts.part(policy, snapshot, now)
        part += install.part(policy, snapshot, now)
        part += reloading.part(policy, snapshot, now)
        part += probing.part(policy, snapshot, now)
        part += windows.part(policy, snapshot, now)
        part += revocation.part(policy, snapshot, now)
    findings = sorted(dict.fromkeys(part.findings), key=lambda f: (-SEVERITIES.index(f.severity), f.file, f.code))
    future = [at for at in part.wakes if at > now]
    return Plan(_one_at_a_time(part.actions), part.held, tuple(findings), min(future, default=None))


def _one_at_a_time(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """A swap changes what every later step was judged on.

    After it comes a fresh look, not a signal planned before it. Nor is a process asked that is signalled now: what it
    would say is known, and the answer after the signal is the one that counts.
    """
    if any(isinstance(a, Recover) for a in actions):
        return tuple(a for a in actions if isinstance(a, Recover))
    if any(isinstance(a, Install | Rollback) for a in actions):
        return tuple(a for a in actions if not isinstance(a, Reload))
    signalled = {a.subject for a in actions if isinstance(a, Reload)}
    return tuple(a for a in actions if not (isinstance(a, Probe) and a.process in signalled))


def severity(plan: Plan) -> str:
    """The worst severity among the findings, "ok" without any."""
    return worst_of(f.severity for f in plan.findings)


def worst_of(severities: Iterable[str]) -> str:
    """The worst of several severities, "ok" of none."""
    return max(severities, key=SEVERITIES.index, default="ok")
