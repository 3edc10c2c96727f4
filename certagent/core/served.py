"""The certificates that processes serve, as the agent knows them: when their chains end, and which CAs verify them."""

from datetime import datetime

from certagent.core.facts import Pair, Served, Snapshot

SHOWN = 16  # hex digits of the SHA-256 of a public key that name a CA: 64 bits


def key_of(spki: str) -> str:
    """Given the SHA-256 of a CA's SubjectPublicKeyInfo, return the short form by which documents name the CA."""
    return spki[:SHOWN]


def certificate(snapshot: Snapshot, pair: Pair, fingerprint: str) -> Pair | None:
    """What a process serves, by its fingerprint: what is on disk, was loaded or was installed before; None: unknown."""
    loaded = [p for files in reversed(snapshot.loaded) for p in files.pairs]
    earlier = [g.pair for g in snapshot.generations]
    known = (p for p in (pair, *loaded, *earlier) if p.leaf and p.leaf.fingerprint == fingerprint)
    return next(known, None)


def chain_ends(snapshot: Snapshot, pair: Pair, served: Served) -> datetime | None:
    """The earliest end in the chain that an address returned; None where it returned none, or one that is unknown."""
    found = certificate(snapshot, pair, served.fingerprint) if _returned(served) else None
    return found.effective.not_after if found and found.effective else None


def anchors(snapshot: Snapshot, pair: Pair, answers: list[Served]) -> tuple[str, ...]:
    """The CAs of the bundle each of which verifies what is served, or what is on disk where nothing is served."""
    shown = dict.fromkeys(s.fingerprint for s in answers if _returned(s))
    found = [c for f in shown if (c := certificate(snapshot, pair, f))] if shown else [pair]
    return tuple(dict.fromkeys(key_of(a) for c in found if c.trust for a in c.trust.anchors))


def _returned(served: Served) -> bool:
    return served.outcome == "served" and not served.client
