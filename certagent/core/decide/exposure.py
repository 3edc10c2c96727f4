"""Keys that others could read again and again, because another program keeps undoing the repair of their mode.

Such a key may be known to others. That is said until a person clears it or the key is replaced, across restarts: the
repair alone does not take back what was read.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from certagent.core.actions import Expose
from certagent.core.catalogue import KEY_EXPOSED
from certagent.core.decide.modes import key_files, repairs_of
from certagent.core.decide.part import NOTHING, Part, total
from certagent.core.facts import Exposure, File, Repair
from certagent.core.findings import Finding
from certagent.core.names import stem_of
from certagent.core.spans import span, stamp
from certagent.core.view import View

UNDONE = 5  # repairs that are undone before it counts
WINDOW = timedelta(days=1)
COUNTED_EVERY = timedelta(minutes=1)
NONE = timedelta(0)


def part(view: View) -> Part:
    """What is known of each key, and what is new."""
    return total([_key(view, file, (key.spki if key else "") or "") for file, key in key_files(view.snapshot)])


def _key(view: View, file: File, key: str) -> Part:
    known, made = view.snapshot.exposed(file.name, key), repairs_of(view, file)
    begin = _begin(view, file, known) if made else view.now
    repairs = [r for r in made if r.ok and r.at > begin]
    if known is None:
        return _new(file, key, repairs)
    found = Part(findings=(_finding(view, known),))
    if not repairs:
        return found
    again = known.until + COUNTED_EVERY
    if view.now < again:
        return found + Part(wakes=(again,))
    return found + _expose(_grown(known, repairs))


def _begin(view: View, file: File, known: Exposure | None) -> datetime:
    """Repairs until then do not count: they are counted already, long ago, or were made on the key before."""
    if known is not None:
        return known.until
    installed = view.history.last_install(stem_of(file.name))
    return max(view.now - WINDOW, installed.at) if installed else view.now - WINDOW


def _new(file: File, key: str, repairs: list[Repair]) -> Part:
    if len(repairs) <= UNDONE:  # the first repair undoes what was there before
        return NOTHING
    first = repairs[0].since or repairs[0].at
    begun = Exposure(file=file.name, key=key, since=first, until=first, undone=-1, readable=NONE)
    return _expose(_grown(begun, repairs))


def _grown(known: Exposure, repairs: list[Repair]) -> Exposure:
    readable = sum((max(r.at - r.since, NONE) for r in repairs if r.since), NONE)
    undone = known.undone + len(repairs)
    return replace(known, until=repairs[-1].at, undone=undone, readable=known.readable + readable)


def _expose(exposure: Exposure) -> Part:
    return Part((Expose(exposure, _sentence(exposure)),))


def _sentence(e: Exposure) -> str:
    since = f"others could read the key since {stamp(e.since)}, for {span(e.readable)} in all"
    return f"{since}; {e.undone} repairs were undone"


def _finding(view: View, exposure: Exposure) -> Finding:
    want, stem = view.want(stem_of(exposure.file)), stem_of(exposure.file)
    if want is not None and want.issued_in(view.snapshot.directory) and not want.name.is_bundle:
        return KEY_EXPOSED.found(exposure.file, _sentence(exposure))
    remedy = f"replace the key; or, if nobody can have read it, certagent clear {stem}"
    return KEY_EXPOSED.found(exposure.file, _sentence(exposure), remedy=remedy)
