"""Which rotation a bundle is in, and to which root that leads: one judge, by what is known, the surest first.

What a CA issues, by a staged pair; the root about which a person has spoken; the configuration, where no authority
issues under the live root any more; the root that was brought. Its dates alone decide where nothing else does.
"""

from dataclasses import dataclass

from certagent.core.facts import Leaf, Snapshot
from certagent.core.facts.members import STOPS, Kind
from certagent.core.roles import BUNDLES
from certagent.core.rotation.roots import (
    BY_MEMBERS,
    anchors,
    awaiting,
    brought,
    cas,
    concerns,
    departed,
    leading,
    left,
)
from certagent.core.view import View

GOING: frozenset[Kind] = frozenset({"clients-trust", "force"})  # words by which a person says where it goes


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The rotation that one bundle is in: to which root, and which CAs of the bundle nothing here needs after it."""

    bundle: str
    new: Leaf
    former: tuple[Leaf, ...]  # of the bundle on disk, or of the one that a process has loaded


def change(view: View, stem: str) -> Change | None:
    """The rotation that a bundle is in; None where it is in none."""
    live = leading(view.snapshot, stem)
    if not live:
        return None
    now = served(view, stem)
    mine = cas(view.snapshot, stem) + departed(view.snapshot, stem)
    new = (
        _staged(view, stem, mine, now)
        or _spoken(view, stem, GOING)
        or _configured(view, stem, now)
        or _newer(view, stem, mine, now)
        or _spoken(view, stem, STOPS)
    )
    if new is None:
        return None
    known = frozenset(_known(view, stem))
    kept = {new.spki} | (frozenset() if _used(view, stem).isdisjoint(known) else known)
    former = tuple(c for c in mine if c.spki not in kept)
    return Change(bundle=stem, new=new, former=former) if former or new.spki not in now else None


def served(view: View, stem: str) -> frozenset[str]:
    """The roots to which every live pair leads that changes with the root of a bundle."""
    live = leading(view.snapshot, stem)
    return frozenset.intersection(*(anchors(p) for p in live)) if live else frozenset()


def _used(view: View, stem: str) -> frozenset[str]:
    """The roots to which some of them lead."""
    return frozenset(root for pair in leading(view.snapshot, stem) for root in anchors(pair))


def open_to(view: View, stem: str) -> tuple[Leaf, ...]:
    """The roots of a bundle that the next pairs may lead to: those of other authorities, for a failure, are none."""
    now, used = served(view, stem), _used(view, stem)
    pinned = [frozenset(r.spki for r in roots) for roots in _roots(view, stem)]
    spare = frozenset[str]().union(*(p for p in pinned if used.isdisjoint(p)))
    mine = frozenset[str]().union(*(p for p in pinned if not used.isdisjoint(p)))
    found = (c for c in cas(view.snapshot, stem) if c.spki not in now and c.not_after > view.now)
    return tuple(c for c in found if c.spki not in spare - mine) if used else ()


def to_come(view: View, stem: str, named: str) -> tuple[Change, ...]:
    """The rotations that may come, before any can be seen; `named`: the subject, or how the SHA-256 begins."""
    found = [c for c in open_to(view, stem) if _is(c, named)]
    return tuple(Change(bundle=stem, new=root, former=()) for root in found)


def _is(ca: Leaf, named: str) -> bool:
    mark = named.replace(":", "").lower() or "-"
    return not named or named == ca.subject or f"CN={named}" in ca.subject.split(",") or ca.fingerprint.startswith(mark)


def visible(snapshot: Snapshot) -> bool:
    """Whether a rotation can be seen: in bundles of one CA that are loaded, with nothing staged, is nothing to see."""
    several = any(len(cas(snapshot, stem)) > 1 for stem in BY_MEMBERS)
    return bool(snapshot.staged) or several or any(departed(snapshot, stem) for stem in BY_MEMBERS)


def changes(view: View) -> tuple[Change, ...]:
    """The rotations that the directory is in."""
    return tuple(found for stem in BUNDLES if stem in BY_MEMBERS and (found := change(view, stem)))


def _staged(view: View, stem: str, mine: tuple[Leaf, ...], now: frozenset[str]) -> Leaf | None:
    """The root of a staged pair: what its CA issues under now."""
    waiting = awaiting(view.snapshot, stem)
    return next((c for c in mine if c.spki in anchors(waiting[0]) - now), None) if waiting else None


def _spoken(view: View, stem: str, kinds: frozenset[Kind]) -> Leaf | None:
    """The root that a person spoke about last, and that no pair leads to yet."""
    words = [w for w in reversed(view.snapshot.words) if w.bundle == stem and w.kind in kinds]
    known = {c.spki: c for c in open_to(view, stem)} if words else {}
    return next((known[w.root] for w in words if w.root in known), None)


def _roots(view: View, stem: str) -> list[tuple[Leaf, ...]]:
    """The known roots of each authority of what the bundle verifies, the first authority first."""
    present = view.snapshot.listed_bundles
    wants = [w for w in view.policy.wants if concerns(w.name) and w.name.kind.bundle_in(present) == stem]
    order = dict.fromkeys(a for w in wants for a in w.authorities)
    roots = {a.name: a.roots for a in view.snapshot.authorities}
    return [roots.get(name, ()) for name in order]


def _known(view: View, stem: str) -> dict[str, Leaf]:
    """All of them."""
    return {root.spki: root for roots in _roots(view, stem) for root in roots}


def _configured(view: View, stem: str, now: frozenset[str]) -> Leaf | None:
    """The root of the first authority, where none of them issues under the live one any more."""
    known = _known(view, stem)
    return next(iter(known.values()), None) if now.isdisjoint(known) else None


def _newer(view: View, stem: str, mine: tuple[Leaf, ...], now: frozenset[str]) -> Leaf | None:
    """The CA that a person put there, or the live root, where the others are former ones.

    `bundle add` puts it in front, and one that this host has left before is none. Of several the newest counts. The
    root of a fallback authority stands there for good: no rotation leads to it.
    """
    known, before = _known(view, stem), left(view.snapshot)
    live = [c for c in mine if c.spki in now]
    others = [c for c in mine if c.spki not in now and c.spki not in known]
    fresh = [c for c in others if c.spki not in before]
    first = brought(view.snapshot, stem)
    newest = first if first in fresh else max((*live, *fresh), key=lambda c: c.not_before, default=None)
    return newest if others else None
