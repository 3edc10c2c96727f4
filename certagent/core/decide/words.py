"""What people said about a rotation ends with it.

It is over once nothing of the bundle is former any more, or the new root has left it. Where a file that says which
roots there are cannot be read, nothing is known, and the words stay.
"""

from certagent.core.bundles import certificates
from certagent.core.decide.part import Part
from certagent.core.facts import Word
from certagent.core.rotating import EndWords
from certagent.core.rotation.roots import change
from certagent.core.view import View


def part(view: View) -> Part:
    """The words of rotations that are over."""
    over = dict.fromkeys((w.bundle, w.root) for w in view.snapshot.words if _over(view, w))
    reason = "the rotation is over; what was said about it counts no more"
    return Part(tuple(EndWords(bundle=bundle, root=root, reason=reason) for bundle, root in over))


def _over(view: View, word: Word) -> bool:
    bundle = view.pair(word.bundle)
    if bundle is None or bundle.leaf is None or any(a.unreadable for a in view.snapshot.authorities):
        return False
    found = change(view, word.bundle)
    if found is not None and found.new.spki == word.root:
        return False
    return found is None or word.root not in {ca.spki for ca in certificates(bundle)}
