"""Record for which users and tenants each pair is valid, so that no later one is valid for more by accident."""

from certagent.core.actions import RecordScope
from certagent.core.decide.part import NOTHING, Part, total
from certagent.core.facts import Pair
from certagent.core.policy import Want
from certagent.core.scopes import added, limit
from certagent.core.view import View


def part(view: View) -> Part:
    """What is new of each pair; a certificate that is valid for more than the pair may be is not recorded."""
    return total([_record(view, want, pair) for want in view.policy.wants if (pair := view.pair(want.name.stem))])


def _record(view: View, want: Want, pair: Pair) -> Part:
    if want.name.is_bundle or pair.leaf is None or not pair.matched:
        return NOTHING
    if pair.leaf.scopes == view.snapshot.scopes.get(want.name.stem, ()):
        return NOTHING
    if added(limit(view.snapshot, want, pair).uris, pair.leaf):
        return NOTHING
    why = f"valid for {', '.join(pair.leaf.scopes) or 'every tenant'}"
    return Part((RecordScope(want.name.stem, pair.leaf.scopes, why),))
