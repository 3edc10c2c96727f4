"""Which earlier generation a pair may go back to: never an expired, mismatched, revoked or quarantined one."""

from datetime import datetime

from certagent.core.actions import Rollback
from certagent.core.facts import Snapshot
from certagent.core.policy import Policy


def going_back(policy: Policy, snapshot: Snapshot, stem: str, reason: str, now: datetime) -> Rollback | None:
    """Given a pair's stem and why, return the rollback to its newest usable generation, or None where there is none."""
    pair, want = snapshot.pair(stem), policy.want(stem)
    if want is None or pair is None or snapshot.directory.foreign:
        return None
    bad = pair.leaf.fingerprint if pair.leaf else ""
    never = snapshot.quarantined | {bad} | {r.fingerprint for r in snapshot.revocations if r.revoked}
    kept = [g for g in snapshot.generations if g.pair.name.stem == stem and g.pair.matched and not g.quarantined]
    usable = [
        (g.number, g.pair.leaf.fingerprint)
        for g in kept
        if g.pair.leaf and g.pair.leaf.fingerprint not in never and g.pair.leaf.not_after > now
    ]
    if not usable:
        return None
    number, fingerprint = max(usable)
    owner = want.key_owner or policy.owner
    return Rollback(stem, number, fingerprint, bad, want.key_mode, owner.uid, owner.gid, reason)
