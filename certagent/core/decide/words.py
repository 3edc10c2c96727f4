"""What people said about a rotation ends with it.

It is over once nothing of the bundle is former any more and the processes have loaded the node's pairs that are on
disk, or the new root has left it. Where a file that says which roots there are cannot be read, nothing is known, and
the words stay.
"""

from certagent.core.bundles import certificates
from certagent.core.decide.part import NOTHING, Part
from certagent.core.facts import Process, Word
from certagent.core.rotating import EndWords
from certagent.core.rotation.roots import OF_NODES
from certagent.core.rotation.target import change
from certagent.core.serving import loaded_by
from certagent.core.view import View


def part(view: View) -> Part:
    """The words of rotations that are over."""
    if not view.snapshot.words:
        return NOTHING
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
    gone = word.root not in {ca.spki for ca in certificates(bundle)}
    return gone or (found is None and not any(_outdated(view, process) for process in view.snapshot.own_processes))


def _outdated(view: View, process: Process) -> bool:
    """Whether a process was last seen to have loaded another pair of the node than is on disk: its reload waits."""
    loaded = loaded_by(view.snapshot, process)
    pairs = [(view.pair(name.stem), loaded.pair(name.stem)) for name in OF_NODES] if loaded else []
    return any(live and was and was.leaf and live.leaf != was.leaf for live, was in pairs)
