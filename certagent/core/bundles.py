"""What may be added to a trust bundle, and what a staged bundle may replace.

A bundle only grows, except for CAs that nobody needs (needs.py). Added CAs stand first: a metric of cockroach shows
when the first one ends, by which other nodes see that a bundle was loaded.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from certagent.core.facts import Authority, Leaf, Pair, Staged
from certagent.core.spans import stamp

State = Literal["unchanged", "dry-run", "installed", "refused", "pending"]  # of a command, when its waiting is over
MOST_ADDED = 64
NEVER = "a renewal never replaces an existing trust bundle"
PRIVATE_KEY = "PRIVATE KEY-----"
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A certificate of a file that is to be added. `rooted`: it is self-signed, or leads to one that is known."""

    ca: Leaf
    rooted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """What a file would add to a bundle, what of it is there already, and why none of it is added."""

    new: tuple[Leaf, ...]
    there: tuple[Leaf, ...]
    problems: tuple[str, ...]


def certificates_in(text: str) -> str:
    """Given a PEM file, return its certificates alone: comments, and what `openssl x509 -text` prints, stay behind."""
    parts = (part.partition(END) for part in text.split(BEGIN)[1:])
    return "".join(f"{BEGIN}{body}{end}\n" for body, end, _ in parts if end)


def addition(live: Iterable[Leaf], candidates: Iterable[Candidate], now: datetime) -> Addition:
    """Given the certificates of a bundle and those that are to be added, return what comes of it."""
    known = {ca.fingerprint for ca in live}
    one_each = {c.ca.fingerprint: c for c in candidates}
    problems = [why for c in one_each.values() if (why := _unfit(c, now))]
    if len(one_each) > MOST_ADDED:
        problems = [f"there are {len(one_each)} certificates; a bundle takes {MOST_ADDED} at a time"]
    new = tuple(c.ca for mark, c in one_each.items() if mark not in known)
    there = tuple(c.ca for mark, c in one_each.items() if mark in known)
    return Addition(new=new, there=there, problems=tuple(problems))


def _unfit(candidate: Candidate, now: datetime) -> str | None:
    ca = candidate.ca
    if not ca.is_ca:
        return f"{ca.subject} is not a CA certificate"
    if now >= ca.not_after:
        return f"{ca.subject} expired at {stamp(ca.not_after)}"
    if ca.caveat:
        return f"{ca.subject}: {ca.caveat}"
    if not candidate.rooted:
        return f"{ca.subject} is not self-signed, and its root is neither in the file nor in the bundle"
    return None


def replacing(staged: Staged, live: Pair | None) -> str | None:
    """Why a staged bundle must not replace the live one, as far as the two say so; None where it may.

    Of one that lacks a CA of the live bundle needs.py says the rest.
    """
    if live is None or live.cert is None:
        return None
    if not staged.asked or live.leaf is None:
        return NEVER
    before, after = marks(live), marks(staged.pair)
    file = f"{live.name.stem}.crt"
    if before == after:
        return f"{NEVER}; {file} contains all of these CAs already"
    if before < after or after < before:
        return None
    lost = [ca.subject for ca in certificates(live) if ca.fingerprint not in after]
    return f"{file} has changed since: it contains {', '.join(lost)}, which the staged bundle lacks"


def certificates(pair: Pair | None) -> tuple[Leaf, ...]:
    """Every certificate of a bundle, first one first; () without one."""
    return pair.cert.certificates if pair and pair.cert else ()


def marks(pair: Pair | None) -> set[str]:
    """The fingerprints of the same."""
    return {ca.fingerprint for ca in certificates(pair)}


def widened(before: tuple[Leaf, ...], authority: Authority | None, made: Leaf) -> tuple[Leaf, ...]:
    """Given a bundle and an authority, return the bundle as its roots would make it; `made` stands for unknown ones."""
    roots = authority.roots if authority else ()
    marks = {root.fingerprint for root in (*roots, *before)}
    pins = [replace(made, fingerprint=pin) for pin in (authority.pins if authority else ()) if pin not in marks]
    here = {ca.fingerprint for ca in before}
    added = [ca for ca in (*roots, *pins) if ca.fingerprint not in here]
    return (*(added or ([] if before else [made])), *before)
