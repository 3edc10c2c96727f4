"""One certs-dir as the loop sees it: observe() gathers the facts, act() carries out one action.

Jobs and commands reach it only through its inbox; only the thread of the directory uses the memory.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from certagent.agent.acting import Acting
from certagent.agent.inbox import Inbox
from certagent.agent.jobs.pool import Jobs
from certagent.agent.jobs.work import Work
from certagent.agent.memory import Cleared, Memory, Message
from certagent.agent.observe import Records, Staging
from certagent.authority.client import AuthorityCache, CertificateAuthority
from certagent.certs_dir import Scanner
from certagent.certs_dir.lock import DirectoryLock, barred
from certagent.certs_dir.swap import Store, pending
from certagent.certs_dir.system_roots import Roots, load, load_trusted
from certagent.core import actions
from certagent.core.clock import believable
from certagent.core.facts import Clock, ObserveOnly, Snapshot
from certagent.core.findings import Finding
from certagent.core.members import Listing, with_members
from certagent.core.policy import Policy
from certagent.events import Log
from certagent.operations.peers_file import read_listing
from certagent.posix.background import BackgroundReader
from certagent.posix.directory import SharedError
from certagent.posix.errors import HostError
from certagent.revocation.checker import Revoking
from certagent.state.exposures import Exposures
from certagent.state.ledger import Ledger
from certagent.state.loaded import LoadedFiles
from certagent.state.scopes import Scopes
from certagent.state.words import Words

if TYPE_CHECKING:
    from certagent.core.view import Planned


class World:
    """The host behind one policy. Only the thread of the directory calls it, but for `put`, `clear` and `exposed`."""

    def __init__(
        self,
        policy: Policy,
        authorities: Mapping[str, CertificateAuthority],
        cache: AuthorityCache,
        *,
        ledger: Ledger,
        log: Log,
        inbox: Inbox,
        jobs: Jobs,
        lock: DirectoryLock,
    ) -> None:
        """Touches nothing."""
        self._ledger, self._log, self._inbox, self._jobs, self._lock = ledger, log, inbox, jobs, lock
        self._roots: BackgroundReader[Roots] | None = None  # those that the policy names
        self._peers: BackgroundReader[Listing] | None = None  # what the file of members says
        self._memory = Memory()
        self._scanner = Scanner()
        self._exposures = Exposures(ledger, policy.path)
        self._scopes = Scopes(ledger, policy.path)
        self.words = Words(ledger, policy.path)
        self._records = Records(ledger, policy.path, self._exposures, self._scopes, self.words)
        self._loaded_files = LoadedFiles(ledger, policy.path)
        store = Store(policy.path)
        self._revoking = Revoking(policy.path, lambda: [(row.stem, row.cert) for row in store.staged()])
        self.last: Planned | None = None
        self.policy = policy
        self.adopt(policy, authorities, cache)

    def adopt(self, policy: Policy, authorities: Mapping[str, CertificateAuthority], cache: AuthorityCache) -> None:
        """Take a policy for the same directory; what is known and what runs stays."""
        if policy.roots != self.policy.roots or self._roots is None:
            self._roots = self._reading(policy.roots) if policy.roots else None
        if policy.rotation.peers_file != self.policy.rotation.peers_file or self._peers is None:
            self._peers = self._reading_peers(policy.rotation.peers_file) if policy.rotation.peers_file else None
        self.policy, self._authorities = policy, cache
        store = Store(policy.path, policy.keep)
        self._staging = Staging(store, policy.path)
        self._scanner.verdicts.roots = self._roots_of_ui
        self._scanner.verdicts.split = policy.split
        self._scanner.first = frozenset(want.name.stem for want in policy.wants)
        self._acting = Acting(
            path=policy.path,
            ledger=self._ledger,
            log=self._log,
            store=store,
            jobs=self._jobs,
            work=Work(policy, authorities, self._ledger, store, self._log, self._revoking),
            exposures=self._exposures,
            scopes=self._scopes,
            repaired=self._memory.repaired,
            loaded=self._loaded_files,
            console=self._memory.console,
            words=self.words,
        )

    def _reading(self, path: str) -> BackgroundReader[Roots]:
        what = f"roots of ui in {self.policy.path}: {path}"
        wake = partial(self._inbox.wake, "roots read")
        return BackgroundReader(what, partial(load_trusted, path), wake, lambda: (path,))

    def _reading_peers(self, path: str) -> BackgroundReader[Listing]:
        what = f"the members of the cluster of {self.policy.path}: {path}"
        wake = partial(self._inbox.wake, "members read")
        return BackgroundReader(what, partial(read_listing, path), wake, lambda: (path,))

    def _roots_of_ui(self) -> Roots | None:
        """The roots that may verify `ui` besides `ca.crt`: the system's or the configured ones; None: not read yet."""
        return self._roots.found if self._roots else load()

    def readings(self) -> tuple[BackgroundReader[Any], ...]:
        """What is read in the background for this directory alone."""
        return tuple(reading for reading in (self._roots, self._peers) if reading)

    def take_lock(self) -> None:
        """Become the one agent that changes this directory. HostError names who holds it."""
        self._lock.take()

    def retry_lock(self) -> None:
        """As `take_lock`, without raising: the problem is a fact of the next observation."""
        self._lock.retry()

    def presume(self, problem: ObserveOnly) -> None:
        """Without the lock: what would keep the agent from changing this directory."""
        self._lock.problem = problem

    def unlock(self) -> None:
        """Let another agent have the directory, where the thread that holds the lock never answers."""
        self._lock.unlock()

    def forget_unwanted(self) -> None:
        """Drop the keys of pending requests that are no longer wanted."""
        with suppress(HostError, OSError):
            pending.only(self.policy.path, frozenset(w.name.stem for w in self.policy.wants))

    def surround(self, degraded: tuple[Finding, ...], fact: Clock) -> None:
        """Take note of what the agent does without, and of its clock."""
        self._memory.degraded, self._memory.clock = degraded, fact

    def shift(self, jump: timedelta) -> None:
        """The wall clock was set: how long a command has waited is not changed by that."""
        self._memory.shift(jump)

    def settle(self) -> None:
        """Write what a full disk kept from being written."""
        self._exposures.settle()
        self._scopes.settle()

    def exposed(self, file: str) -> bool:
        """Whether it is known that others could read that key."""
        return any(e.file == file for e in self._exposures.all())

    def clear(self, file: str) -> None:
        """A person says that nobody can have read that key. From any thread. Raises HostError."""
        self._exposures.clear(file)
        self.put(Cleared(file))

    def put(self, message: Message) -> None:
        """Hand over what a job found or a command asks for; the next observation takes it in. From any thread."""
        self._inbox.put(message)

    def stop(self) -> None:
        """End the pools and let the directory go."""
        self._jobs.stop()
        self._revoking.stop()
        self._lock.release()

    @property
    def busy(self) -> bool:
        """Whether a job runs. From any thread."""
        return self._jobs.busy

    def observe(self, now: datetime) -> Snapshot:
        """Everything known of the directory at this moment: one directory scan, the rest from the cache.

        What is in flight comes first, so that a job that ends meanwhile is still in flight or already known.
        """
        running = self._jobs.in_flight()
        self._empty_inbox(now)
        scan, memory = self._scanner.scan(self.policy.path, now), self._memory
        in_flight = (*running, *memory.rests(now))
        base = Snapshot(
            scan.directory,
            scan.pairs,
            scan.unmanaged_files,
            scan.loose_keys,
            euid=os.geteuid(),
            in_flight=in_flight,
        )
        known = self._records.add(self._lock.add(base))
        known = self._staged(replace(known, attempts=believable(known.attempts, now, memory.clock)), now)
        known = self._loaded(known, now)
        memory.forget(known, now)
        remembered = memory.add(known, self.policy)
        file = self._peers.found if self._peers else None
        return replace(
            with_members(remembered, self.policy.rotation, self.policy.host, file),
            ledger_problem=self._ledger.problem or known.ledger_problem,
            authorities=self._authorities.facts(now),
        )

    def _staged(self, known: Snapshot, now: datetime) -> Snapshot:
        """With what is staged. An area that cannot be read is a fact of the directory: nothing is changed there."""
        directory = known.directory
        if not directory.exists or directory.problem:
            return known
        try:
            return self._staging.add(known, self.policy, self._roots_of_ui(), now)
        except SharedError:  # an agent that is root has this from its lock; root who only looks is no such agent
            return known
        except (HostError, OSError) as error:
            return replace(
                known,
                directory=replace(directory, observe_only=directory.observe_only or barred(self.policy.path, error)),
            )

    def _loaded(self, known: Snapshot, now: datetime) -> Snapshot:
        """With what the processes have loaded. What cannot be read is not known: a reload is judged without it."""
        if not known.directory.exists or known.directory.problem:
            return known
        with suppress(HostError, OSError):
            files = self._loaded_files.known()
            return self._staging.add_loaded(known, self.policy, files, self._roots_of_ui(), now)
        return known

    def scan_changed_keys(self) -> Snapshot:
        """The keys whose mode or owner changed since the last pass."""
        scan = self._scanner.scan_changed_keys(self.policy.path)
        seen = Snapshot(
            scan.directory, scan.pairs, scan.unmanaged_files, euid=os.geteuid(), repairs=tuple(self._memory.repairs)
        )
        return self._lock.add(seen)

    def _empty_inbox(self, now: datetime) -> None:
        for message in self._inbox.taken():
            for line in self._memory.take(message, self.policy, now):
                self._log.emit(line.event, certs_dir=self.policy.path, file=line.file, reason=line.reason)

    def ask(self, question: actions.Scan | actions.Probe | actions.AskRevocation) -> None:
        """Ask in this thread what `act` would have a job ask: for those that look once."""
        self.put(self._acting.asked(question))

    def act(self, action: actions.Action, now: datetime) -> None:
        """Carry out one action; a failure is logged and recorded, never raised."""
        self._acting.act(action, now)


def world_of(
    policy: Policy,
    authorities: Mapping[str, CertificateAuthority],
    cache: AuthorityCache,
    *,
    ledger: Ledger,
    log: Log,
    wake: Callable[[str], None],
) -> World:
    """Given a policy and its authorities, return its world. `wake` only queues; the threads of jobs call it."""
    inbox = Inbox(policy.path, log, wake)
    lock = DirectoryLock(Store(policy.path))
    jobs = Jobs(inbox.job_ended)
    return World(policy, authorities, cache, ledger=ledger, log=log, inbox=inbox, jobs=jobs, lock=lock)
