"""Everything known of one certs-dir at one moment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from certagent.core.facts.certificates import File, Generation, KeyFile, Leaf, Loaded, Pair, Staged
from certagent.core.facts.directory import Directory
from certagent.core.facts.history import History, completed
from certagent.core.facts.members import Members, Word
from certagent.core.facts.pairs import Pairs
from certagent.core.facts.processes import PassedOver, Process, Served
from certagent.core.facts.records import Adopted, Attempt, Authority, Clock, Exposure, InFlight, Repair, Request
from certagent.core.facts.revocation import Revocation
from certagent.core.findings import Finding


@dataclass(frozen=True)
class Snapshot:
    """Everything known of one certs-dir at one moment."""

    directory: Directory
    pairs: tuple[Pair, ...] = ()
    unmanaged_files: tuple[File, ...] = ()  # entries that are not part of any pair
    loose_keys: tuple[KeyFile, ...] = ()  # those of them that are keys
    staged: tuple[Staged, ...] = ()
    generations: tuple[Generation, ...] = ()
    loaded: tuple[Loaded, ...] = ()  # oldest first
    processes: tuple[Process, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()  # where there is no process
    processes_at: datetime | None = None  # when they were looked for; None: never
    served: tuple[Served, ...] = ()
    members: Members = field(default_factory=Members)
    words: tuple[Word, ...] = ()  # oldest first
    attempts: tuple[Attempt, ...] = ()  # oldest first
    adopted: tuple[Adopted, ...] = ()
    issued: frozenset[str] = field(
        default_factory=frozenset
    )  # fingerprints that the ledger lists as issued by this agent
    quarantined: frozenset[str] = field(default_factory=frozenset)
    in_flight: tuple[InFlight, ...] = ()
    repairs: tuple[Repair, ...] = ()
    exposures: tuple[Exposure, ...] = ()
    scopes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by stem: the recorded `crdb://` URIs
    authorities: tuple[Authority, ...] = ()
    requests: tuple[Request, ...] = ()
    clock: Clock = field(default_factory=Clock)
    degraded: tuple[Finding, ...] = ()
    revocations: tuple[Revocation, ...] = ()  # one per leaf that was asked about, live or staged
    ledger_problem: str | None = None
    euid: int = 0  # of the agent: what it may repair

    @cached_property
    def pair(self) -> Callable[[str], Pair | None]:
        """Given a stem, the live pair of that name: a decision asks a hundred times."""
        return self.live.by_stem.get

    @cached_property
    def live(self) -> Pairs:
        """The pairs, with what follows from them alone."""
        return self.pairs if isinstance(self.pairs, Pairs) else Pairs(self.pairs)

    @cached_property
    def own_processes(self) -> tuple[Process, ...]:
        """The processes without strangers: those whose flags and state something may go by."""
        return tuple(p for p in self.processes if not p.strange)

    def renewal(self, stem: str) -> Request | None:
        """An operator's `renew` of that name, which waits."""
        return next((r for r in self.requests if r.kind == "renew" and r.subject == stem), None)

    @cached_property
    def repairs_of(self) -> Mapping[str, tuple[Repair, ...]]:
        """The repairs of each file, for a directory of ten thousand keys."""
        found: dict[str, list[Repair]] = {}
        for repair in self.repairs:
            found.setdefault(repair.file, []).append(repair)
        return {name: tuple(repairs) for name, repairs in found.items()}

    def exposed(self, file: str, key: str) -> Exposure | None:
        """What is known of a key that others could read: given its file, and the digest of its public half."""
        return (self._exposed.get((file, key)) or self._exposed.get((file, ""))) if self.exposures else None

    @cached_property
    def _exposed(self) -> dict[tuple[str, str], Exposure]:
        return {(e.file, e.key): e for e in self.exposures}

    def exposed_key(self, pair: Pair) -> Exposure | None:
        """The same of the key of a pair."""
        return self.exposed(pair.key.file.name, pair.key.spki or "") if pair.key else None

    @cached_property
    def history(self) -> History:
        """What the attempts say. A bundle's fingerprint is that of its first certificate, which may stay in another."""
        recorded = self.attempts if isinstance(self.attempts, History) else History(self.attempts)
        if not recorded.interrupted:
            return recorded
        live = {p.name.stem: p.leaf.fingerprint for p in self.pairs if p.leaf and p.matched and not p.name.is_bundle}
        return History(completed(self.attempts, live))

    @cached_property
    def known_since(self) -> Mapping[tuple[str, str], datetime]:
        """Since when the agent has known each leaf, by stem and fingerprint, where that was recorded."""
        return {(a.stem, a.fingerprint): a.at for a in self.adopted if a.at is not None}

    @cached_property
    def revocation(self) -> Mapping[str, Revocation]:
        """What is known of each leaf, by its fingerprint."""
        return {r.fingerprint: r for r in self.revocations}

    def revoked(self, leaf: Leaf | None) -> str | None:
        """Why a leaf counts as revoked, None where it does not."""
        found = self.revocation.get(leaf.fingerprint) if leaf and self.revocations else None
        return found.revoked if found else None

    @property
    def bundles(self) -> frozenset[str]:
        """The stems of the trust bundles that are there and parse."""
        return self.live.bundles

    @property
    def listed_bundles(self) -> frozenset[str]:
        """The stems of the trust bundles that are there, readable or not: by these cockroach verifies."""
        return self.live.listed_bundles
