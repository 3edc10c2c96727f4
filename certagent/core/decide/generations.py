"""Which earlier generation a pair may go back to: never an expired, mismatched, revoked or quarantined one."""

from certagent.core.actions import Rollback
from certagent.core.view import View


def going_back(view: View, stem: str, reason: str) -> Rollback | None:
    """Given a pair's stem and why, return the rollback to its newest usable generation, or None if there is none."""
    pair, want = view.pair(stem), view.want(stem)
    if want is None or pair is None or not view.snapshot.directory.managed:
        return None
    bad = pair.leaf.fingerprint if pair.leaf else ""
    never = view.snapshot.quarantined | {bad} | {r.fingerprint for r in view.snapshot.revocations if r.revoked}
    kept = [g for g in view.snapshot.generations if g.pair.name.stem == stem and g.pair.matched and not g.quarantined]
    usable = [
        (g.number, g.pair.leaf.fingerprint)
        for g in kept
        if g.pair.leaf and g.pair.leaf.fingerprint not in never and g.pair.leaf.not_after > view.now
    ]
    if not usable:
        return None
    number, fingerprint = max(usable)
    owner = want.key_owner or view.policy.owner
    return Rollback(stem, number, fingerprint, bad, want.key_mode, owner.uid, owner.gid, reason)
