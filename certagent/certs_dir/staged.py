"""Facts about the bytes read back from the staging area and from the generations.

The pre-install checks use these facts: whether the chain of a staged certificate verifies, and whether a handshake
with it completes in memory. What they mean is decided in core/rules.py.
"""

from dataclasses import replace
from datetime import UTC, datetime

from certagent import keys, x509
from certagent.certs_dir.swap.generations import file_of
from certagent.certs_dir.swap.stored import Kept, Stored
from certagent.certs_dir.verify import TrustStore, refusals, trust
from certagent.core import names
from certagent.core.facts import Generation, KeyFile, Leaf, LoaderFlags, Pair, Staged, Trust
from certagent.core.names import Name
from certagent.core.policy import Want
from certagent.core.principals import NODE_USER, users
from certagent.core.roles import SYSTEM

PUT_OFF = Trust(names.CA.stem, "its names and name constraints take more comparisons than one check makes", unread=True)


def pair_fact(stem: str, cert: bytes, key: keys.Key | None, at: float) -> Pair | None:
    """Given the files of one stem, return the pair; None where cockroach does not use such a name."""
    return _pair(stem, cert, None if key is None else keys.key_file(file_of(f"{stem}.key", len(key), at), key), at)


def _pair(stem: str, cert: bytes, key: KeyFile | None, at: float) -> Pair | None:
    name = names.parse(stem)
    if isinstance(name, names.Unknown):
        return None
    return Pair(name, x509.cert_file(file_of(f"{stem}.crt", len(cert), at), cert), key)


def generation(
    kept: Kept, quarantined: frozenset[str], live: list[tuple[Pair, bytes]], store: TrustStore, now: datetime
) -> Generation | None:
    """An earlier pair as a fact, verified by the current bundles, or what an earlier bundle would break."""
    pair = _pair(kept.stem, kept.cert, kept.key, kept.at)
    if pair is None:
        return None
    bad = pair.leaf is not None and pair.leaf.fingerprint in quarantined
    at = datetime.fromtimestamp(kept.at, UTC)
    if pair.name.is_bundle:
        judged = judge_bundle(pair, kept.cert, live, store, asked=True, at=kept.at, now=now)
        return Generation(kept.number, pair, at, bad, judged.breaks)
    verdict = trust(pair.name, pair.leaf, kept.cert, store, now) if pair.leaf else None
    return Generation(kept.number, replace(pair, trust=verdict), at, bad)


def unverified_generation(kept: Kept, quarantined: frozenset[str]) -> Generation | None:
    """An earlier pair of whose chain nothing is known: it takes more comparisons than are left in this check."""
    pair = _pair(kept.stem, kept.cert, kept.key, kept.at)
    if pair is None:
        return None
    bad = pair.leaf is not None and pair.leaf.fingerprint in quarantined
    return Generation(kept.number, replace(pair, trust=PUT_OFF), datetime.fromtimestamp(kept.at, UTC), bad)


def unverified(row: Stored, issued: frozenset[str]) -> Staged | None:
    """The same of a staged pair: a later check verifies it."""
    pair = pair_fact(row.stem, row.cert, row.key, row.at)
    if pair is None:
        return None
    asked = pair.leaf is not None and pair.leaf.fingerprint in issued
    return Staged(replace(pair, trust=PUT_OFF), datetime.fromtimestamp(row.at, UTC), asked)


def judge(
    pair: Pair,
    want: Want | None,
    cert: bytes,
    key: keys.Key | None,
    store: TrustStore,
    *,
    asked: bool,
    at: float,
    now: datetime,
) -> Staged:
    """Given a staged pair and what it verifies by, establish its chain and that a handshake with it completes."""
    when = datetime.fromtimestamp(at, UTC)
    if want is None or pair.leaf is None or not pair.matched:
        return Staged(pair, when, asked)
    found = trust(pair.name, pair.leaf, cert, store, now)
    shake = None
    if key is not None and found is not None and not found.problem and not found.unread:
        shake = _shake(pair.name, pair.leaf, (cert, key), store, found)
    return Staged(replace(pair, trust=found), when, asked, shake)


def _shake(name: Name, leaf: Leaf, pair: tuple[bytes, keys.Key], store: TrustStore, found: Trust) -> str | None:
    """What fails when the certificate is shown as what it is used as, and verified by what verified it."""
    system = store.roots() if found.bundle == SYSTEM else None
    roots = {v.usage: system.pem if system else store.bundles[v.bundle] for v in store.verifications(name, leaf)}
    return keys.handshake(*pair, server_roots=roots.get("server"), client_roots=roots.get("client"))


def judge_bundle(
    pair: Pair,
    cert: bytes,
    live: list[tuple[Pair, bytes]],
    store: TrustStore,
    *,
    asked: bool,
    at: float,
    now: datetime,
) -> Staged:
    """Given a staged bundle, the live pairs with their files and what they verify by, say which it would break."""
    stem = pair.name.stem
    after = replace(store, bundles={**store.bundles, stem: cert}, gone=store.gone - {stem})
    breaks = tuple(sorted(p.name.stem for p, data in live if _breaks(stem, p, data, after, now)))
    return Staged(pair, datetime.fromtimestamp(at, UTC), asked, None, breaks)


def _breaks(bundle: str, live: Pair, cert: bytes, after: TrustStore, now: datetime) -> bool:
    """Whether a live pair no longer verifies by the bundle. A node that does not name `node` is a server alone."""
    if live.leaf is None:
        return False
    store = replace(after, split=after.split or NODE_USER not in users(live.leaf, LoaderFlags()))
    return any(t.bundle == bundle for t in refusals(live.name, live.leaf, cert, store, now))
