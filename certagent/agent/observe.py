"""Ledger, staging area and generations -> facts.

Results are cached: a pass that finds nothing new reads and verifies nothing again.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from hashlib import sha256

from certagent.certs_dir import read_live, read_live_key
from certagent.certs_dir import staged as facts
from certagent.certs_dir import system_roots as roots
from certagent.certs_dir.budget import LIMITS, Comparisons
from certagent.certs_dir.loaded import Material, established, judge_loaded
from certagent.certs_dir.swap import Store
from certagent.certs_dir.swap.files import digest
from certagent.certs_dir.swap.stored import Kept, Stored
from certagent.certs_dir.verify import TrustStore, store_of
from certagent.core.facts import Generation, History, Loaded, Pair, Snapshot, Staged
from certagent.core.policy import Policy
from certagent.core.roles import BUNDLES
from certagent.core.trust import is_split
from certagent.posix.errors import HostError
from certagent.state.exposures import Exposures
from certagent.state.ledger import Ledger
from certagent.state.loaded import Files
from certagent.state.scopes import Scopes
from certagent.state.words import Words


class Records:
    """What the ledger knows of one certs-dir, read again after the ledger changed."""

    def __init__(self, ledger: Ledger, path: str, exposures: Exposures, scopes: Scopes, words: Words) -> None:
        """Nothing is read before `add`."""
        self._ledger, self._path, self._exposures = ledger, path, exposures
        self._scopes, self._words = scopes, words
        self._known: tuple[int, Snapshot] | None = None

    def add(self, snapshot: Snapshot) -> Snapshot:
        """Given a snapshot, return it with what the ledger knows of the directory."""
        problem = snapshot.ledger_problem
        try:
            known = self._read(snapshot)
        except HostError as error:
            known, problem = self._before(snapshot), str(error)
        return replace(
            snapshot,
            ledger_problem=problem,
            attempts=known.attempts,
            adopted=known.adopted,
            issued=known.issued,
            quarantined=known.quarantined,
            exposures=known.exposures,
            scopes=known.scopes,
            words=known.words,
        )

    def _before(self, snapshot: Snapshot) -> Snapshot:
        """What was read last, with the attempts since: where it cannot be read, what was done is not done again."""
        known = self._known[1] if self._known else snapshot
        recorded = tuple(a for a in known.attempts if a.row)
        return replace(known, attempts=self._ledger.with_owed(self._path, recorded))

    def _read(self, snapshot: Snapshot) -> Snapshot:
        changes, ledger, path = self._ledger.changes, self._ledger, self._path
        if self._known is None or self._known[0] != changes:
            found = replace(
                snapshot,
                attempts=History(ledger.attempts(path)),
                adopted=ledger.adopted(path),
                issued=ledger.issued(path),
                quarantined=ledger.quarantined(path),
                exposures=self._exposures.all(),
                scopes=self._scopes.all(),
                words=self._words.all(),
            )
            self._known = (changes, found)
        return self._known[1]


class Staging:
    """Reads one store; keeps what it established until the bytes or the bundles change."""

    def __init__(self, store: Store, path: str, comparisons: int = LIMITS.comparisons) -> None:
        """Nothing is read before `add`. `comparisons`: of names with name constraints in one check."""
        self._store, self._most = store, comparisons
        self._comparisons = Comparisons(comparisons)
        self._path = path
        self._system: roots.Roots | None = None
        self._judged: dict[tuple[object, ...], Staged] = {}
        self._before = self._judged
        self._generations: tuple[tuple[object, ...], tuple[Generation, ...]] = ((), ())
        self._loaded: tuple[tuple[object, ...], tuple[Loaded, ...]] = ((), ())
        self._materials: dict[tuple[object, ...], Material] = {}
        self._live_files: tuple[tuple[Pair, ...], tuple[tuple[str, str], ...], bool] = (
            (),
            (),
            False,
        )  # see _verified_by

    def add(self, snapshot: Snapshot, policy: Policy, system: roots.Roots | None, now: datetime) -> Snapshot:
        """Given a snapshot of the live files, return it with the staged pairs and the generations.

        `system`: the roots that may verify `ui` in addition to `ca.crt`; None: not read yet.
        """
        self._system, self._comparisons = system, Comparisons(self._most)
        staging = {job.subject for job in snapshot.in_flight if job.kind == "issue"}  # what the ledger says came before
        rows = tuple(row for row in self._store.staged() if row.stem not in staging)
        self._before, self._judged = self._judged, {}  # an entry is checked every minute for weeks, and kept only once
        staged = tuple(s for row in rows if (s := self._staged(snapshot, policy, row, now)) is not None)
        directory = replace(snapshot.directory, odd=self._store.odd())
        return replace(snapshot, directory=directory, staged=staged, generations=self._kept(snapshot, policy, now))

    def add_loaded(
        self, snapshot: Snapshot, policy: Policy, known: Mapping[str, Files], system: roots.Roots | None, now: datetime
    ) -> Snapshot:
        """Given a snapshot and the files that processes have loaded, return it with what a reload would change."""
        if not known:
            return replace(snapshot, loaded=())
        key = (tuple(known), self._verified_by(snapshot, policy, system), int(now.timestamp()) // 60)
        if self._loaded[0] != key:
            store = self._store_of(snapshot, policy, system)
            newest_first = reversed(tuple(known))
            affordable = [digest for digest in newest_first if self._afford_loaded(known[digest])]
            had = [self._material(digest, known[digest], system, now) for digest in reversed(affordable)]
            self._materials = dict(had)
            found = [judge_loaded(m, snapshot.pairs, store, now=now, read=self._live) for _, m in had]
            self._loaded = (key, tuple(found))
        return replace(snapshot, loaded=self._loaded[1])

    def _material(
        self, digest: str, files: Files, system: roots.Roots | None, now: datetime
    ) -> tuple[tuple[object, ...], Material]:
        """What was loaded, with its mark: a swap of live files changes nothing of it."""
        mark = (digest, roots.mark_of(system), int(now.timestamp()) // 60)
        return mark, self._materials.get(mark) or established(digest, files, lambda: system, now)

    def _afford_loaded(self, files: Files) -> bool:
        bundles = [data for stem, data in files.items() if pair_is_bundle(stem)]
        return all(self._comparisons.afford(data, bundles) for data in files.values())

    def _afford(self, row: Stored | Kept, store: TrustStore, live: list[tuple[Pair, bytes]]) -> bool:
        """Whether what is staged or kept is verified in this check; a bundle has to verify what is live."""
        if pair_is_bundle(row.stem):
            return all(self._comparisons.afford(data, (row.cert,)) for _, data in live)
        return self._comparisons.afford(row.cert, store.bundles.values())

    def _verified_by(self, snapshot: Snapshot, policy: Policy, system: roots.Roots | None) -> tuple[object, ...]:
        """What changes when a verdict on a kept certificate, or on what it verifies, may change."""
        if self._live_files[0] is not snapshot.pairs:  # a scan that finds no change returns the same
            digests = tuple((p.name.stem, p.cert.digest) for p in snapshot.pairs if p.cert)
            self._live_files = snapshot.pairs, digests, is_split(snapshot.pairs, wanted=False)
        _, digests, split = self._live_files
        return digests, split or policy.split, roots.mark_of(system)

    def _store_of(self, snapshot: Snapshot, policy: Policy, system: roots.Roots | None) -> TrustStore:
        return store_of(snapshot.pairs, self._live, roots=lambda: system, split=policy.split)

    def _kept(self, snapshot: Snapshot, policy: Policy, now: datetime) -> tuple[Generation, ...]:
        marks = self._store.generation_marks()
        if not marks:
            return ()
        verified_by = self._verified_by(snapshot, policy, self._system)
        key = (marks, snapshot.quarantined, verified_by, int(now.timestamp()) // 3600)
        if self._generations[0] != key:
            store = self._store_of(snapshot, policy, self._system)
            live = self._verified(snapshot, now)
            rows = self._store.generations()
            newest = sorted(rows, key=lambda row: -row.at)
            behind = {id(row) for row in newest if not self._afford(row, store, live)}
            found = [
                facts.unverified_generation(row, snapshot.quarantined)
                if id(row) in behind
                else facts.generation(row, snapshot.quarantined, live, store, now)
                for row in rows
            ]
            self._generations = (key, tuple(g for g in found if g is not None))
        return self._generations[1]

    def _staged(self, snapshot: Snapshot, policy: Policy, row: Stored, now: datetime) -> Staged | None:
        stem, cert, key = row.stem, row.cert, row.key
        live = snapshot.pair(stem)
        usable = live is not None and live.key is not None and live.key.spki is not None and not pair_is_bundle(stem)
        kept_key = read_live_key(self._path, f"{stem}.key") if key is None and usable else key
        bundles = {p.name.stem: p.cert.digest for p in snapshot.pairs if p.name.is_bundle and p.cert and p.listed}
        mark = (
            stem,
            roots.mark_of(self._system),
            want.digest if (want := policy.want(stem)) else "",
            sha256(cert).digest(),
            digest(kept_key),
            tuple(sorted(bundles.items())),
            is_split(snapshot.pairs, wanted=policy.split),
            int(now.timestamp()) // 60,
        )
        row = replace(row, key=kept_key)
        if mark not in self._before and not self._afford_staged(snapshot, policy, row, now):
            return facts.unverified(row, snapshot.issued)
        return self._once(mark, lambda: self._establish(snapshot, policy, row, now), now)

    def _afford_staged(self, snapshot: Snapshot, policy: Policy, row: Stored, now: datetime) -> bool:
        live = self._verified(snapshot, now) if pair_is_bundle(row.stem) else []
        return self._afford(row, self._store_of(snapshot, policy, self._system), live)

    def _once(self, mark: tuple[object, ...], establish: Callable[[], Staged | None], now: datetime) -> Staged | None:
        """What was established before; again of a leaf that is not valid yet, or while a bundle cannot be read."""
        found = self._before.get(mark) or establish()
        unread = found is not None and found.pair.trust is not None and found.pair.trust.unread
        if found is not None and found.valid(now) and not unread:
            self._judged[mark] = found
        return found

    def _establish(self, snapshot: Snapshot, policy: Policy, row: Stored, now: datetime) -> Staged | None:
        stem, cert, key, at = row.stem, row.cert, row.key, row.at
        pair = facts.pair_fact(stem, cert, None if pair_is_bundle(stem) else key, at)
        if pair is None:
            return None
        asked = pair.leaf is not None and pair.leaf.fingerprint in snapshot.issued
        store = self._store_of(snapshot, policy, self._system)
        if pair.name.is_bundle:
            return facts.judge_bundle(pair, cert, self._verified(snapshot, now), store, asked=asked, at=at, now=now)
        return facts.judge(pair, policy.want(stem), cert, key, store, asked=asked, at=at, now=now)

    def _live(self, file: str) -> bytes:
        return read_live(self._path, file)

    def _verified(self, snapshot: Snapshot, now: datetime) -> list[tuple[Pair, bytes]]:
        """The live certificates that do not fail today, and their files."""
        good = [p for p in snapshot.pairs if not p.name.is_bundle and _currently_valid(p, snapshot.bundles, now)]
        return [(p, self._live(f"{p.name.stem}.crt")) for p in good]


def _currently_valid(pair: Pair, have: frozenset[str], now: datetime) -> bool:
    """Valid, and verified today by its bundle, or without one to verify it by."""
    if pair.leaf is None or not pair.leaf.not_before <= now < pair.leaf.not_after:
        return False
    return pair.trust is None or pair.trust.problem is None or pair.trust.bundle not in have


def pair_is_bundle(stem: str) -> bool:
    """A bundle is staged without a key, even if there is a `ca.key`."""
    return stem in BUNDLES
