"""What processes have loaded, verified by the bundles that they loaded with it, and by the current ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

from certagent.certs_dir.reading import read_file
from certagent.certs_dir.scanner import examined
from certagent.certs_dir.staged import pair_fact
from certagent.certs_dir.system_roots import Roots
from certagent.certs_dir.verify import TrustStore, refusals, store_of, trust
from certagent.core import names
from certagent.core.facts import Loaded, Pair
from certagent.core.facts.pairs import material_of
from certagent.core.names import Name
from certagent.posix.closing import close
from certagent.posix.directory import open_directory
from certagent.posix.errors import HostError


def loaded_files(path: str, wanted: str) -> dict[str, bytes] | None:
    """Given a certs-dir, return the certificate files that a server loads; None where `wanted` is not their digest."""
    try:
        fd = open_directory(path)
    except OSError:
        return None
    try:
        there, _ = examined(fd, frozenset())
        parsed = [names.parse(name.removesuffix(".crt")) for name, _ in there if name.endswith(".crt")]
        files = {n.stem: _bytes(fd, n.stem) for n in parsed if isinstance(n, Name) and n.kind.loaded}
    finally:
        close(fd)
    digests = {stem: sha256(data).hexdigest() if data is not None else "" for stem, data in files.items()}
    return {stem: data or b"" for stem, data in files.items()} if material_of(digests) == wanted else None


def _bytes(fd: int, stem: str) -> bytes | None:
    """None where it is not read: a link out of the directory, a FIFO, another user's."""
    try:
        return read_file(fd, f"{stem}.crt")
    except (HostError, OSError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The files that a process loaded together, and what of them no later file changes: what verified by what."""

    digest: str
    files: Mapping[str, bytes]
    pairs: tuple[Pair, ...]
    store: TrustStore


def established(digest: str, files: Mapping[str, bytes], roots: Callable[[], Roots | None], now: datetime) -> Material:
    """Given what was loaded, return it with the verdicts by its own bundles."""
    made = tuple(p for stem, data in files.items() if (p := pair_fact(stem, data, None, 0.0)) is not None)
    store = store_of(made, lambda file: files[names.stem_of(file)], roots=roots, split=False)
    pairs = tuple(_judged(p, files[p.name.stem], store, now) for p in made)
    return Material(digest=digest, files=files, pairs=pairs, store=store)


def judge_loaded(
    had: Material, live: tuple[Pair, ...], after: TrustStore, *, now: datetime, read: Callable[[str], bytes]
) -> Loaded:
    """Given what was loaded, the live pairs and what these verify by, say what a reload would no longer verify.

    `read`: the bytes of a live file. A certificate that is out of its validity verifies nothing, before or after.
    """
    failing = [p for p in live if _valid(p, now) and p.trust is not None and p.trust.problem]
    breaks = [p.name.stem for p in failing if _verifies(p, read(f"{p.name.stem}.crt"), had.store, now)]
    digests = {p.name.stem: p.cert.digest for p in live if p.cert}
    replaced = [p for p in had.pairs if p.cert and digests.get(p.name.stem) != p.cert.digest and _valid(p, now)]
    good = [p for p in replaced if p.trust is not None and not p.trust.problem and not p.trust.unread]
    outdated = [p.name.stem for p in good if not _verifies(p, had.files[p.name.stem], after, now)]
    return Loaded(had.digest, had.pairs, tuple(sorted(breaks)), tuple(sorted(outdated)))


def _judged(pair: Pair, cert: bytes, store: TrustStore, now: datetime) -> Pair:
    verdict = trust(pair.name, pair.leaf, cert, store, now) if pair.leaf and not pair.name.is_bundle else None
    return replace(pair, trust=verdict)


def _valid(pair: Pair, now: datetime) -> bool:
    return not pair.name.is_bundle and pair.leaf is not None and pair.leaf.not_before <= now < pair.leaf.not_after


def _verifies(pair: Pair, cert: bytes, store: TrustStore, now: datetime) -> bool:
    return pair.leaf is not None and not refusals(pair.name, pair.leaf, cert, store, now)
