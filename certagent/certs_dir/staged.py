"""Bytes read back from the staging area and from the generations -> facts about them.

What the gate needs to know is established here, on what was read back from disk: whether the chain builds to
the bundle in use and whether an in-memory handshake completes. What it means is decided elsewhere.
"""

from datetime import UTC, datetime

from certagent import x509
from certagent.certs_dir import system_roots as roots
from certagent.core import names
from certagent.core.facts import File, Generation, Pair, Staged, Trust
from certagent.core.names import CLIENT_NODE, NODE
from certagent.core.policy import Want
from certagent.core.roles import SYSTEM


def _file(name: str, size: int, at: float) -> File:
    when = int(at * 1e9)
    return File(name, "file", 0o600, 0, 0, size, 0, 0, when, when)


def pair_fact(stem: str, cert: bytes, key: bytes | None, at: float) -> Pair | None:
    """Given what stands under one stem, return the pair; None where the stem is no name of cockroach's."""
    name = names.parse(stem)
    if isinstance(name, names.Unknown):
        return None
    keyed = None if key is None else x509.key_file(_file(f"{stem}.key", len(key), at), key)
    return Pair(name, x509.cert_file(_file(f"{stem}.crt", len(cert), at), cert), keyed)


def generation(
    stem: str, number: int, cert: bytes, key: bytes | None, at: float, quarantined: frozenset[str]
) -> Generation | None:
    """An earlier pair as a fact."""
    pair = pair_fact(stem, cert, key, at)
    if pair is None:
        return None
    bad = pair.leaf is not None and pair.leaf.fingerprint in quarantined
    return Generation(number, pair, datetime.fromtimestamp(at, UTC), bad)


def judge(
    pair: Pair,
    want: Want | None,
    cert: bytes,
    key: bytes | None,
    verifiers: tuple[dict[str, bytes], roots.Roots | None],
    asked: bool,
    at: float,
    now: datetime,
) -> Staged:
    """Given a staged pair, the bundles in use and the system's roots, establish chain and handshake.

    Roots that are None were not read yet.
    """
    bundles, system = verifiers
    when = datetime.fromtimestamp(at, UTC)
    if want is None or pair.leaf is None or not pair.matched:
        return Staged(pair, when, asked)
    stems = pair.name.kind.bundles_in(frozenset(bundles))
    if not stems:
        return Staged(pair, when, asked)
    if stems[0] not in bundles:
        return Staged(_trusting(pair, Trust(stems[0], f"there is no {stems[0]}.crt to verify it by")), when, asked)
    known = [(s, bundles[s] if s != SYSTEM else system.pem if system else b"") for s in stems]
    trust, bundle = _verified(pair, want, cert, known, now)
    if trust.problem and SYSTEM in stems and system is None:
        return Staged(_trusting(pair, Trust(SYSTEM, unread=True)), when, asked)
    shake = (
        None
        if trust.problem or key is None
        else x509.handshake(cert, key, bundle, server=want.server, client=want.client)
    )
    return Staged(_trusting(pair, trust), when, asked, shake)


def _verified(
    pair: Pair, want: Want, cert: bytes, bundles: list[tuple[str, bytes]], now: datetime
) -> tuple[Trust, bytes]:
    """By the first bundle that its chain builds to in every usage; else what the first one says."""
    usages: list[x509.Usage] = ["server"] * want.server
    usages += ["client"] * want.client
    problems = []
    for stem, bundle in bundles:
        found = [p for usage in usages or ["any"] if (p := x509.verify_chain(cert, bundle, usage, now))]
        if not found:
            own = pair.name in {NODE, CLIENT_NODE}
            return Trust(stem, None, x509.anchors(cert, bundle, usages[0], now) if own and usages else ()), bundle
        problems.append(found[0])
    return Trust(bundles[0][0], "; nor by the roots of the system: ".join(problems)), bundles[0][1]


def _trusting(pair: Pair, trust: Trust) -> Pair:
    return Pair(pair.name, pair.cert, pair.key, trust)


def judge_bundle(
    pair: Pair, cert: bytes, leaves: dict[str, tuple[bytes, x509.Usage]], asked: bool, at: float, now: datetime
) -> Staged:
    """Given a staged bundle and the live leaves it would verify (stem -> bytes, usage).

    Say which would stop verifying by it.
    """
    breaks = tuple(sorted(stem for stem, (data, usage) in leaves.items() if x509.verify_chain(data, cert, usage, now)))
    return Staged(pair, datetime.fromtimestamp(at, UTC), asked, None, breaks)
