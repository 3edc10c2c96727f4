"""Which earlier generation a pair may go back to: one that passes what an installation has to pass, as of now.

Never one that is expired, mismatched, revoked or quarantined, nor one that the bundles of today do not verify: after
a rotation of the CA the generations before it are certificates that nobody trusts any more.
"""

from certagent.core.actions import Rollback
from certagent.core.decide.gate import faults
from certagent.core.decide.part import Part, blocked
from certagent.core.facts import Generation, Pair
from certagent.core.rotation.roots import anchors, before, useless
from certagent.core.rotation.serve import Held, held
from certagent.core.scopes import limit, widening
from certagent.core.spans import stamp
from certagent.core.timing import swap_retry_at
from certagent.core.view import View

NOTHING_EARLIER = "there is no earlier pair that is still valid and was neither revoked nor rolled back"


def going_back(view: View, stem: str, reason: str, *, worst: bool = False, without: str = "") -> Rollback | None:
    """Given a pair's stem and why, return the rollback to its newest usable generation, or None where there is none.

    `worst`: what is live fails everywhere, so that no other pair is worse. `without`: a root that it must not lead to.
    """
    pair, want, kept = view.pair(stem), view.want(stem), newest(view, stem, without)
    if want is None or pair is None or kept is None or kept.pair.leaf is None:
        return None
    if not worst and held_back(view, kept):
        return None
    bad = pair.leaf.fingerprint if pair.leaf else ""
    owner = want.key_owner or view.policy.owner
    mark = kept.pair.leaf.fingerprint
    return Rollback(stem, kept.number, mark, bad, want.key_mode, owner.uid, owner.gid, reason)


def newest(view: View, stem: str, without: str = "") -> Generation | None:
    """The newest usable generation, whoever else accepts it."""
    if not view.snapshot.directory.managed:
        return None
    usable = [g for g in _kept(view, stem) if refused(view, g) is None]
    return next((g for g in reversed(usable) if without not in anchors(g.pair)), None)


def held_back(view: View, kept: Generation) -> Held | None:
    """What a generation of another root waits for: that all members are shown, now, to accept it."""
    live = before(view.snapshot, kept.pair.name)
    return None if live is None or useless(view, live) else held(view, kept.pair, live, back=True)


def paced(view: View, back: Rollback) -> Part:
    """The rollback, once the backoff after those that failed is over."""
    again = swap_retry_at(view.history.failed_swaps(back.stem, back.fingerprint))
    return Part((back,)) if again is None or view.now >= again else blocked("rollback", back.stem, back.reason, again)


def nothing_to_go_back_to(view: View, stem: str) -> str:
    """Why there is no generation to go back to: what is wrong with the newest one."""
    usable = newest(view, stem)
    if usable and (waits := held_back(view, usable)):
        return f"generation {usable.number}: {waits.why}"
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
