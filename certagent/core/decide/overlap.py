"""A root that the configuration pins and a trust bundle lacks: it is added in front of the CAs that are there.

To trust one CA more breaks no connection, so nothing has to be shown first. It is done only for a root that a person
pinned, by its fingerprint or in a file (`issuing_fingerprints`, `issuing_roots`): whatever else a CA presents is added
by `certagent bundle add`. The root of an embedded CA is added by hand too, because nobody can know that it was meant.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from certagent.core.bundles import certificates
from certagent.core.facts import Authority, Pair, Snapshot
from certagent.core.facts.members import STOPS
from certagent.core.policy import Want
from certagent.core.reasons import Cause, Reason
from certagent.core.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """An authority, and what of its pinned roots the bundle lacks, for a sentence."""

    authority: str
    named: str


def reasons_of_bundle(view: View, want: Want, pair: Pair) -> Iterator[Reason]:
    """Why a bundle should be asked for: it is missing, or it lacks a pinned root."""
    file = f"{want.name.stem}.crt"
    if pair.cert is None:
        yield Reason(Cause.MISSING, f"{file} is missing")
    elif found := lacking(view, want):
        yield Reason(Cause.OVERLAP, f"{file} lacks a pinned root of authority {found.authority!r}: {found.named}")


def lacking(view: View, want: Want) -> Lacking | None:
    """Given the want of a bundle, return the first authority of which the live bundle lacks a pinned root."""
    snapshot, now = view.snapshot, view.now
    pair = snapshot.pair(want.name.stem)
    if not want.name.is_bundle or pair is None or pair.leaf is None or _stopped(snapshot, want):
        return None
    here = {ca.fingerprint for ca in certificates(pair)}
    facts = {a.name: a for a in snapshot.authorities}
    rows = ((name, _pinned(facts[name], now)) for name in want.authorities if name in facts)
    found = ((name, {mark: said for mark, said in pinned.items() if mark not in here}) for name, pinned in rows)
    return next((Lacking(authority=name, named=", ".join(new.values())) for name, new in found if new), None)


def _pinned(known: Authority, now: datetime) -> dict[str, str]:
    """The pinned roots by their fingerprints; of one whose certificate is not known here only that is."""
    if known.kind == "local" or known.unreadable:
        return {}
    roots = {r.fingerprint: r.subject for r in known.roots if r.is_ca and r.not_after > now}
    ended = {r.fingerprint for r in known.roots if r.not_after <= now}
    return {mark: f"SHA-256 {mark[:12]}" for mark in known.pins if mark not in ended} | roots


def _stopped(snapshot: Snapshot, want: Want) -> bool:
    return any(w.kind in STOPS and w.bundle == want.name.stem for w in snapshot.words)
