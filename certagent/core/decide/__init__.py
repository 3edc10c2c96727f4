"""decide(policy, snapshot, now) -> Plan: the whole state, every time; an event only says that it should be checked.

Each module here answers one question about a View and returns a Part; this one only puts the parts together and drops
what another part has made unnecessary. No step passes data to the next: a valid staged pair causes the install, a
process that serves a certificate other than the file causes the SIGHUP. So a crash at any point resumes by itself.

The life of a pair; a guard that does not hold is shown as blocked, with its reason:

wanted -> asked: `renewal.due` gives the reason (missing, unusable, revoked, changed, due, or a command), and none of
    the guards of `renewal.POLICY` objects.
asked -> staged: the authority answered with a certificate for the key of the request (agent/jobs/issue.py).
staged -> checked: everything that the checks need was read, its validity has begun, and its OCSP responder was asked
    (`revocation.waits`); a node waits a minute for `client.node.crt` (`layouts.waits`). Then it is neither revoked nor
    quarantined, and what was read back from disk passes the pre-install checks (`rules.refusal`); else it is set aside.
checked -> installed: no interrupted swap has to be recovered first, every file can be replaced (`obstacles.obstacle`),
    and the backoff after a failed swap is over.
installed -> signalled: a process serves something else (`serving.differs`) or did not load the files since
    (`proof.unloaded`), is past its start, and nothing that it would load is worse than what it has loaded (`gate.bar`);
    the signal before had its time.
signalled -> verified: every address of every owning process answered since then (`proof.proofs`); what counts for each
    kind of file is its row in core/roles.py.
installed -> the one before: every handshake fails since the signal, and an earlier generation passes what an
    installation has to pass (`generations.going_back`).
"""

from datetime import datetime

from certagent.core.actions import Action, Install, Plan, Probe, Recover, Reload, Rollback
from certagent.core.decide import (
    ca_keys,
    causes,
    commands,
    exposure,
    install,
    layouts,
    modes,
    obstacles,
    peers,
    prevented,
    probing,
    pruned,
    reloading,
    renewal,
    returning,
    revocation,
    rotation,
    surroundings,
    tenants,
    windows,
    words,
)
from certagent.core.decide.part import total
from certagent.core.facts import Snapshot
from certagent.core.findings import SEVERITIES, worst_of
from certagent.core.policy import Policy, on_terms_of
from certagent.core.view import View

QUESTIONS = (
    modes, exposure, ca_keys, tenants, renewal, layouts, install, obstacles, reloading, probing, peers, windows,
    revocation, rotation, pruned, returning, words,
)  # fmt: skip


def decide(policy: Policy, snapshot: Snapshot, now: datetime) -> Plan:
    """Given what should be and what is, return what to do now, what waits and why, what is wrong.

    And when to look again.
    """
    view = View(policy=on_terms_of(policy, snapshot.processes), snapshot=snapshot, now=now)
    part = surroundings.part(view) + (taken_back := commands.part(view))
    view = commands.without(view, taken_back)
    if snapshot.directory.exists and not snapshot.directory.problem and not snapshot.directory.left_alone:
        part += total([each.part(view) for each in QUESTIONS])
    followed = prevented.below_cause(view, causes.last(tuple(dict.fromkeys(part.findings))))
    findings = sorted(followed, key=lambda f: (-SEVERITIES.index(f.severity), f.file, f.code))
    future = [at for at in part.wakes if at > now]
    return Plan(_one_at_a_time(part.actions), part.blocked, tuple(findings), min(future, default=None))


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
