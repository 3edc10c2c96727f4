"""Does a certificate verify, and by which bundle: one answer for scans, pre-install checks, `check`, `authority test`.

Which bundles have to verify it is decided in core/trust.py; here their bytes are verified.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from certagent import x509
from certagent.certs_dir.system_roots import Roots
from certagent.core.facts import Leaf, Pair, Trust
from certagent.core.names import CLIENT_NODE, NODE, Name
from certagent.core.roles import SYSTEM
from certagent.core.trust import Verification, is_split, verifications

Bundles = Mapping[str, bytes | None]
Steps = tuple[Verification, ...]
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustStore:
    """What the certificates of one directory verify by.

    `bundles`: every bundle that is there, by stem; None: it cannot be read. `gone`: those of them that could be read a
    moment ago, so that nothing is known. `roots`: the system's, called only where they are needed; None: not read yet.
    `split`: `client.node` is the node's client certificate, now or soon.
    """

    bundles: Bundles
    gone: frozenset[str] = frozenset()
    roots: Callable[[], Roots | None]
    split: bool

    def verifications(self, name: Name, leaf: Leaf) -> tuple[Verification, ...]:
        """Every verification that the certificate must pass."""
        return verifications(name, leaf, bundles=frozenset(self.bundles), split=self.split)


def store_of(
    pairs: Iterable[Pair], read: Callable[[str], bytes], *, roots: Callable[[], Roots | None], split: bool
) -> TrustStore:
    """Given what is in a directory, how a file of it is read, and whether `client.node` is wanted, return the store."""
    pairs = tuple(pairs)
    listed = {p.name.stem: p.cert for p in pairs if p.name.is_bundle and p.cert and p.listed}
    bundles = {stem: _unless_gone(read, f"{stem}.crt") if c.digest else None for stem, c in listed.items()}
    gone = frozenset(stem for stem, data in bundles.items() if data is None and listed[stem].digest)
    return TrustStore(bundles=bundles, gone=gone, roots=roots, split=is_split(pairs, wanted=split))


def _unless_gone(read: Callable[[str], bytes], file: str) -> bytes | None:
    """A file that could be read a moment ago; None where it cannot be read any more."""
    try:
        return read(file)
    except OSError:
        return None


def trust(name: Name, leaf: Leaf, cert: bytes, store: TrustStore, at: datetime) -> Trust | None:
    """Given a certificate (`cert`: its file) and what it verifies by, return the verdict; None where nothing does.

    It verifies when it passes every verification; the verdict is that of the first one, or of the first that fails.
    The moment is moved into the validity of the leaf, which is a finding of its own.
    """
    steps = store.verifications(name, leaf)
    if not steps:
        return None
    found = _verdicts(steps, leaf, cert, store, at)
    refused = _refused(found)
    verdict = refused[0] if refused else found[0]
    if end := _end(steps, leaf, cert, store, at, found):
        verdict = replace(verdict, ends=end.at, ends_by=end.subject)
    if refused or not (name in {NODE, CLIENT_NODE} or name.kind.offered):
        return verdict
    roots = store.bundles[steps[0].bundle] or b""
    return replace(verdict, anchors=x509.anchors(cert, roots, steps[0].usage, _within(leaf, at)))


def _end(
    steps: Steps, leaf: Leaf, cert: bytes, store: TrustStore, at: datetime, verdicts: list[Trust]
) -> x509.End | None:
    """The CA whose end is the chain's, where it comes before that of the leaf.

    Of a certificate that verifies the first CA without which it does not; of another one the last CA with which it did.
    A CA that nothing needs, such as the old root next to the new one, ends without effect.
    """
    used = [*(store.bundles.get(step.bundle) for step in steps), _system(store, verdicts)]
    ends = sorted(e for e in x509.ca_ends(cert, [b for b in used if b]) if leaf.not_before < e.at < leaf.not_after)
    moment = _within(leaf, at)
    if _refused(verdicts):
        past = (e for e in reversed(ends) if e.at < moment)
        return next((e for e in past if not _refused(_verdicts(steps, leaf, cert, store, e.at))), None)
    coming = (e for e in ends if e.at >= moment)
    return next((e for e in coming if _refused(_verdicts(steps, leaf, cert, store, e.at + SECOND))), None)


def _system(store: TrustStore, verdicts: list[Trust]) -> bytes | None:
    """The system's roots, where the certificate verifies by them."""
    roots = store.roots() if any(t.bundle == SYSTEM and not t.unread for t in verdicts) else None
    return roots.pem if roots else None


def refusals(name: Name, leaf: Leaf, cert: bytes, store: TrustStore, at: datetime) -> list[Trust]:
    """As `trust`: the verdict of every verification that the certificate does not pass."""
    return _refused(_verdicts(store.verifications(name, leaf), leaf, cert, store, at))


def _refused(verdicts: list[Trust]) -> list[Trust]:
    return [t for t in verdicts if t.problem or t.unread]


def _verdicts(steps: Steps, leaf: Leaf, cert: bytes, store: TrustStore, at: datetime) -> list[Trust]:
    return [_by(step, cert, store, _within(leaf, at)) for step in steps]


def _within(leaf: Leaf, at: datetime) -> datetime:
    return min(max(at, leaf.not_before), leaf.not_after)


def _by(step: Verification, cert: bytes, store: TrustStore, at: datetime) -> Trust:
    if step.bundle in store.gone:
        return Trust(step.bundle, unread=True)
    problem = _problem(step, cert, store.bundles, at)
    if problem and x509.undecided(store.bundles.get(step.bundle) or b""):
        return Trust(step.bundle, unread=True)
    if problem is None or not step.system:
        return Trust(step.bundle, problem, unread=store.bundles.get(step.bundle, b"") is None)
    system = store.roots()
    if system is None:
        return Trust(SYSTEM, unread=True)
    other = x509.verify_chain(cert, system.pem, step.usage, at)
    return Trust(SYSTEM) if other is None else Trust(step.bundle, _neither(problem, other, system.problem))


def _neither(problem: str, other: str, unused: str) -> str:
    """Why neither a bundle verifies a certificate, nor the system's roots, which may be `unused` for a reason."""
    if unused:
        return f"{problem}; the configured roots are not used: {unused}"
    too = "the system's roots do not verify it either"
    return f"{problem}; {too}" if other == problem else f"{problem}; {too}: {other}"


def _problem(step: Verification, cert: bytes, bundles: Bundles, at: datetime) -> str | None:
    if step.bundle not in bundles:
        return f"{step.bundle}.crt does not exist"
    bundle = bundles[step.bundle]
    if bundle is None:
        return f"{step.bundle}.crt cannot be read"
    return x509.verify_chain(cert, bundle, step.usage, at)
