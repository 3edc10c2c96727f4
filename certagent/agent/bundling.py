"""`bundle add` and `bundle prune` in one certs-dir: the changed bundle is staged, and the loop does the rest.

What is staged goes through the same pre-install checks, the same swap and the same reload as anything else. The thread
of the directory does it between two passes, so nothing else is staged or installed in that moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from certagent import x509
from certagent.certs_dir import read_live
from certagent.certs_dir.swap import Store
from certagent.core.bundles import PRIVATE_KEY, Addition, Candidate, addition
from certagent.core.facts import Adopted, Attempt, Leaf
from certagent.core.needs import pruning
from certagent.core.policy import Want
from certagent.core.view import Planned
from certagent.posix.errors import HostError
from certagent.state.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundling:
    """The trust bundles of one certs-dir. Every method may raise HostError."""

    path: str
    ledger: Ledger
    store: Store
    by: str  # who asked: uid and pid

    def added(self, want: Want, pem: str, now: datetime) -> Addition:
        """What these certificates would add; HostError with every reason why none of them is added."""
        stem = want.name.stem
        live = self._live(stem)
        found = addition([leaf for leaf, _ in self._parsed(live, f"{stem}.crt")], self._candidates(pem, live), now)
        if found.problems:
            raise HostError(f"cannot add to {stem}.crt: {'; '.join(found.problems)}; nothing was changed")
        return found

    def add(self, want: Want, pem: str, now: datetime) -> Addition:
        """Stage the bundle with these certificates in front, unless all of them are there already."""
        found = self.added(want, pem, now)
        if found.new:
            stem = want.name.stem
            waiting = [row.cert for row in self.store.staged() if row.stem == stem]  # nobody's earlier command is lost
            whole = x509.merged(pem.encode(), *waiting, self._live(stem))
            self._stage(want, whole, "bundle add", named(found.new), now)
        return found

    def prune(self, want: Want, last: Planned, now: datetime) -> tuple[Leaf, ...]:
        """Stage the bundle without the CAs that nobody needs; HostError where it is not known that nobody does."""
        stem, view = want.name.stem, last.at(now)
        found = pruning(view, stem)
        if found.waits:
            subjects = joined([ca.subject for ca in found.removed if ca.not_after > now])
            raise HostError(f"cannot prune {stem}.crt: {subjects} may be needed by {joined(found.waits)}")
        if found.removed:
            self.leave(want, found.removed, now)
        return found.removed

    def leave(self, want: Want, removed: tuple[Leaf, ...], now: datetime) -> None:
        """Stage the bundle without these CAs."""
        stem, gone = want.name.stem, {ca.fingerprint for ca in removed}
        left = [pem for leaf, pem in self._parsed(self._live(stem), f"{stem}.crt") if leaf.fingerprint not in gone]
        if not left:
            raise HostError(f"cannot prune {stem}.crt: no CA would be left")
        self._stage(want, b"".join(left), "bundle prune", named(removed), now)

    def _live(self, stem: str) -> bytes:
        try:
            return read_live(self.path, f"{stem}.crt")
        except OSError as error:
            raise HostError(f"cannot read {self.path}/{stem}.crt: {error.strerror}; restore it first") from error

    def _candidates(self, pem: str, live: bytes) -> list[Candidate]:
        if PRIVATE_KEY in pem:
            raise HostError("cannot add a private key to a trust bundle; name a file with CA certificates alone")
        parsed = self._parsed(pem.encode("utf-8", "replace"), "the file")
        known = x509.rooted(pem.encode(), live)
        return [Candidate(ca=leaf, rooted=leaf.fingerprint in known) for leaf, _ in parsed]

    def _parsed(self, pem: bytes, what: str) -> tuple[tuple[Leaf, bytes], ...]:
        try:
            return x509.split_certificates(pem)
        except x509.X509Error as error:
            raise HostError(f"cannot use {what}: {error}") from error

    def _stage(self, want: Want, whole: bytes, command: str, what: str, now: datetime) -> None:
        """Recorded first, as one that this agent made: the pre-install checks ask for that, also after a crash."""
        stem, first = want.name.stem, x509.parse_certificates(whole)[0]
        asked = Attempt("command", stem, now, reason=f"{what}: asked by {self.by}", command=command)
        row = self.ledger.attempt(self.path, asked)
        try:
            self.ledger.own(self.path, Adopted(stem, first.fingerprint, want.digest), now)
            self.store.stage(stem, whole, None)
        except (HostError, OSError) as error:
            self.ledger.finish(row, "failed", str(error))
            raise HostError(f"cannot stage {stem}.crt: {error}") from error
        self.ledger.finish(row, "ok", asked.reason)


def joined(parts: Sequence[str]) -> str:
    """Several things in a sentence."""
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


def named(cas: tuple[Leaf, ...]) -> str:
    """CAs in a sentence: the subject of each, and the beginning of its fingerprint."""
    return ", ".join(f"{ca.subject} ({ca.fingerprint[:12]})" for ca in cas)
