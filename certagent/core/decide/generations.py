"""Which earlier generation a pair may go back to: one that passes what an installation has to pass, as of now.

Never one that is expired, mismatched, revoked or quarantined, nor one that the bundles of today do not verify: after
a rotation of the CA the generations before it are certificates that nobody trusts any more.
"""

from certagent.core.actions import Rollback
from certagent.core.decide.gate import faults
from certagent.core.decide.part import Part, blocked
from certagent.core.facts import Generation, Pair
from certagent.core.scopes import limit, widening
from certagent.core.spans import stamp
from certagent.core.timing import swap_retry_at
from certagent.core.view import View

NOTHING_EARLIER = "there is no earlier pair that is still valid and was neither revoked nor rolled back"


def going_back(view: View, stem: str, reason: str) -> Rollback | None:
    """Given a pair's stem and why, return the rollback to its newest usable generation, or None where there is none."""
    pair, want = view.pair(stem), view.want(stem)
    if want is None or pair is None or not view.snapshot.directory.managed:
        return None
    usable = [g for g in _kept(view, stem) if refused(view, g) is None]
    if not usable or usable[-1].pair.leaf is None:
        return None
    number, fingerprint = usable[-1].number, usable[-1].pair.leaf.fingerprint
    bad = pair.leaf.fingerprint if pair.leaf else ""
    owner = want.key_owner or view.policy.owner
    return Rollback(stem, number, fingerprint, bad, want.key_mode, owner.uid, owner.gid, reason)


def paced(view: View, back: Rollback) -> Part:
    """The rollback, once the backoff after those that failed is over."""
    again = swap_retry_at(view.history.failed_swaps(back.stem, back.fingerprint))
    return Part((back,)) if again is None or view.now >= again else blocked("rollback", back.stem, back.reason, again)


def nothing_to_go_back_to(view: View, stem: str) -> str:
    """Why there is no generation to go back to: what is wrong with the newest one."""
    kept = _kept(view, stem)
    why = refused(view, kept[-1]) if kept else None
    return f"generation {kept[-1].number}: {why}" if why else NOTHING_EARLIER


def refused(view: View, kept: Generation) -> str | None:
    """Why a generation must not go live; None where it may."""
    pair, leaf = kept.pair, kept.pair.leaf
    if leaf is None or (not pair.matched and not pair.name.is_bundle):
        return "its certificate and key cannot be used"
    if leaf.not_after <= view.now:
        return f"it expired at {stamp(leaf.not_after)}"
    if revoked := view.snapshot.revoked(leaf):
        return revoked
    limits = limit(view.snapshot, view.want(pair.name.stem), view.pair(pair.name.stem) or Pair(pair.name)).uris
    broken = f"live certificates would no longer verify: {', '.join(kept.breaks)}" if kept.breaks else None
    if worse := broken or widening(limits, leaf):
        return worse
    if pair.trust is not None and pair.trust.unread:
        return "the roots that verify it have not been read yet"
    others = tuple(p for p in view.snapshot.pairs if p.name != pair.name)
    wrong = () if pair.name.is_bundle else faults(view, pair, (*others, pair))
    return wrong[0].message if wrong else None


def _kept(view: View, stem: str) -> list[Generation]:
    """The generations of a pair that were not revoked or rolled back, the newest last; not the live one."""
    pair = view.pair(stem)
    bad = {pair.leaf.fingerprint} if pair and pair.leaf else set()
    never = view.snapshot.quarantined | bad
    mine = [g for g in view.snapshot.generations if g.pair.name.stem == stem and not g.quarantined]
    return sorted((g for g in mine if g.pair.leaf and g.pair.leaf.fingerprint not in never), key=lambda g: g.number)
