"""The former CAs leave a bundle by themselves, once a person has said that nobody outside presents a chain to them.

Only a word does that, never a setting: a CA that stands in a bundle for another reason stays. What `bundle prune` asks
for is asked here too (needs.py), and the staged bundle waits for a fresh look at every member (rotation/shrink.py).
"""

from certagent.core.actions import Prune
from certagent.core.decide.part import NOTHING, Part, blocked, total
from certagent.core.needs import by_itself, pruning
from certagent.core.rotation import shrink
from certagent.core.rotation.accepting import longest
from certagent.core.rotation.roots import BY_MEMBERS
from certagent.core.rotation.target import change
from certagent.core.view import View

WHY = "a person has said that no client presents a certificate of a former CA, and nobody else needs it"


def part(view: View) -> Part:
    """Every bundle by which members verify each other."""
    return total([_bundle(view, stem) for stem in BY_MEMBERS]) if view.snapshot.words else NOTHING


def ready(view: View, stem: str) -> bool:
    """Whether nothing but a fresh look at the members is missing."""
    found, want = change(view, stem), view.want(stem)
    if found is None or want is None or not by_itself(view, stem, found.new.spki):
        return False
    made = pruning(view, stem)
    return bool(made.removed) and not made.waits and not any(s.pair.name == want.name for s in view.snapshot.staged)


def _bundle(view: View, stem: str) -> Part:
    want = view.want(stem)
    if want is None or not ready(view, stem):
        return NOTHING
    if left := shrink.stale(view):
        return blocked("prune", stem, f"a CA leaves the bundle once every member was seen again: {left[0]}")
    pause = longest(len(view.snapshot.members.listed))
    tried = [a.at + pause for a in view.history if a.subject == stem and a.outcome in {"failed", "refused"}]
    at = max([*tried, *filter(None, (shrink.calm_at(view),))], default=view.now)
    if view.now < at:
        return blocked("prune", stem, "a CA leaves the bundle once no member has changed for a while", at)
    return Part((Prune(want=want, removed=pruning(view, stem).removed, reason=WHY),))
