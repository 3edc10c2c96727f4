"""Bytes read back from the staging area and from the generations -> facts about them.

What the gate needs to know is established here, on what was read back from disk: whether the chain builds to the bundle in use and
whether an in-memory handshake completes. What it means is decided elsewhere.
"""

from datetime import UTC, datetime
from hashlib import sha256

from certagent.core import names
from certagent.core.facts import CertFile, File, Generation, KeyFile, Pair, Staged, Trust
from certagent.core.policy import Want, bundle_of
from certagent.host import tls, x509


def _file(name: str, size: int, at: float) -> File:
    when = int(at * 1e9)
    return File(name, "file", 0o600, 0, 0, size, 0, 0, when, when)


def cert_fact(name: str, data: bytes, at: float) -> CertFile:
    """Given the bytes of a certificate file, return the fact; a problem is part of it."""
    file, digest = _file(name, len(data), at), sha256(data).hexdigest()
    try:
        first, *rest = x509.parse_certificates(data)
    except x509.X509Error as error:
        return CertFile(file, digest, None, (), str(error), "empty" if error.kind == "empty" else "unparsable")
    return CertFile(file, digest, first, tuple(rest))


def key_fact(name: str, data: bytes, at: float) -> KeyFile:
    """Given the bytes of a key file, return the fact: the digest of its public half, never a byte of it."""
    file, digest = _file(name, len(data), at), sha256(data).hexdigest()
    try:
        spki, kind = x509.parse_key(data)
    except x509.X509Error as error:
        return KeyFile(file, digest, None, "", str(error), "unparsable")
    return KeyFile(file, digest, spki, kind)


def pair_fact(stem: str, cert: bytes, key: bytes | None, at: float) -> Pair | None:
    """Given what stands under one stem, return the pair; None where the stem is no name of cockroach's."""
    name = names.parse(stem)
    if isinstance(name, names.Unknown):
        return None
    return Pair(name, cert_fact(f"{stem}.crt", cert, at), None if key is None else key_fact(f"{stem}.key", key, at))


def generation(stem: str, number: int, cert: bytes, key: bytes | None, at: float, quarantined: frozenset[str]) -> Generation | None:
    """An earlier pair as a fact."""
    pair = pair_fact(stem, cert, key, at)
    if pair is None:
        return None
    bad = pair.leaf is not None and pair.leaf.fingerprint in quarantined
    return Generation(number, pair, datetime.fromtimestamp(at, UTC), bad)


def judge(pair: Pair, want: Want | None, cert: bytes, key: bytes | None, bundles: dict[str, bytes], asked: bool, at: float, now: datetime) -> Staged:
    """Given a staged pair and the bundles in use, establish chain and handshake."""
    when = datetime.fromtimestamp(at, UTC)
    if want is None or pair.leaf is None or not pair.matched:
        return Staged(pair, when, asked)
    stem = bundle_of(pair.name, frozenset(bundles))
    if stem not in bundles:
        return Staged(_trusting(pair, stem, f"there is no {stem}.crt to verify it by"), when, asked)
    usages = (["server"] if want.server else []) + (["client"] if want.client else [])
    problems = [x509.verify_chain(cert, bundles[stem], usage, now) for usage in usages or ["any"]]
    problem = next((p for p in problems if p), None)
    shake = None if problem or key is None else tls.handshake(cert, key, bundles[stem], server=want.server, client=want.client)
    return Staged(_trusting(pair, stem, problem), when, asked, shake)


def _trusting(pair: Pair, bundle: str, problem: str | None) -> Pair:
    return Pair(pair.name, pair.cert, pair.key, Trust(bundle, problem))


def judge_bundle(pair: Pair, cert: bytes, leaves: dict[str, tuple[bytes, str]], asked: bool, at: float, now: datetime) -> Staged:
    """Given a staged bundle and the live leaves it would verify (stem -> bytes, usage), say which would stop verifying by it."""
    breaks = tuple(sorted(stem for stem, (data, usage) in leaves.items() if x509.verify_chain(data, cert, usage, now)))
    return Staged(pair, datetime.fromtimestamp(at, UTC), asked, None, breaks)
