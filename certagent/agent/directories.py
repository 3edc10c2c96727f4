"""The certs directories of the configuration in force, each with its world and its thread."""

import errno
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from certagent.agent.directory import World, world_of
from certagent.agent.reconciler import Common, Reconciler
from certagent.agent.watch import Events, Watch
from certagent.authority.client import AuthorityCache, CertificateAuthority
from certagent.config import Config
from certagent.core.facts import Snapshot
from certagent.core.policy import Policy
from certagent.core.spread import begun
from certagent.posix.as_user import join
from certagent.posix.background import BackgroundReader
from certagent.posix.clock import clock
from certagent.posix.responding import PATIENCE
from certagent.state.ledger import Ledger

ADOPTED_WITHIN = 2.0  # seconds that a new configuration waits for directories that are just being checked
LOCKED_WITHIN = 2 * PATIENCE
STOPPED_WITHIN = 5.0
UNLOCKED_WITHIN = 1.0
RECORDED_WITHIN = 3.0  # seconds that jobs have to record how they ended, after their workers were stopped


class Directories:
    """By path. Other threads may read them: a new configuration replaces the whole mapping."""

    def __init__(
        self,
        *,
        authorities: Callable[[Config], Mapping[str, CertificateAuthority]],
        ledger: Ledger,
        common: Common,
        events: Events,
        wake: Callable[[str], None],
    ) -> None:
        """None before `adopt`. `authorities`: those of a configuration that can be asked; `wake`: the main loop."""
        self._authorities, self._ledger, self._common, self._wake = authorities, ledger, common, wake
        self._events = events
        self._cache: AuthorityCache | None = None
        self.threads: Mapping[str, Reconciler] = {}

    def __iter__(self) -> Iterator[World]:
        """Their worlds, in the order of the configuration."""
        return iter([thread.world for thread in self.threads.values()])

    def __len__(self) -> int:
        """How many there are."""
        return len(self.threads)

    @property
    def worlds(self) -> Mapping[str, World]:
        """By path."""
        return {path: thread.world for path, thread in self.threads.items()}

    def named(self, certs_dir: str) -> list[World]:
        """The one of that path; "": all of them."""
        return [world for world in self if certs_dir in ("", world.policy.path)]

    def adopt(self, config: Config) -> None:
        """Go by this configuration: directories that stay keep what they know. Starts no thread."""
        join(gid for policy in config.policies for gid in policy.groups)
        authorities = self._authorities(config)
        cache = AuthorityCache(config.authorities, authorities, lambda: self._wake("authorities read"), self._cache)
        before, threads, adopted = dict(self.threads), dict[str, Reconciler](), list[threading.Event]()
        for policy in self._begun(config.policies):
            thread = before.pop(policy.path, None)
            if thread is None:
                thread = self._made(policy, authorities, cache)
            else:
                adopted.append(thread.adopt(partial(thread.world.adopt, policy, authorities, cache)))
            threads[policy.path] = thread
        self._cache, self.threads = cache, threads
        wait_for(adopted, ADOPTED_WITHIN)
        for path, thread in before.items():
            thread.stop()
            self._common.log.emit("directory.retired", certs_dir=path, reason="it is no longer configured")

    def _begun(self, policies: tuple[Policy, ...]) -> tuple[Policy, ...]:
        """The policies of a running agent say since when it goes by them."""
        known = [thread.world.policy for thread in self.threads.values()]
        return begun(policies, known, clock()) if any(policy.since for policy in known) else policies

    def _made(
        self, policy: Policy, authorities: Mapping[str, CertificateAuthority], cache: AuthorityCache
    ) -> Reconciler:
        path = policy.path
        wake = partial(self.wake, path)
        world = world_of(policy, authorities, cache, ledger=self._ledger, log=self._common.log, wake=wake)
        return Reconciler(world, lambda put: Watch(self._events, put, (path,)), self._common)

    def start(self) -> None:
        """Start the threads that do not run."""
        for thread in self.threads.values():
            thread.start()

    def wake(self, path: str, reason: str) -> None:
        """Have one directory checked now."""
        if (thread := self.threads.get(path)) is not None:
            thread.wake(reason)

    def do(self, path: str, task: Callable[[], None]) -> threading.Event | None:
        """Have the thread of one directory do something between two passes; the event is set when it is done."""
        thread = self.threads.get(path)
        return thread.do(task) if thread else None

    def wake_all(self, reason: str) -> None:
        """Have every directory checked now."""
        for thread in self.threads.values():
            thread.wake(reason)

    def take_locks(self) -> None:
        """Have each thread lock its directory. HostError names another agent that holds one."""
        self.start()
        wait_for([thread.prepared for thread in self.threads.values()], LOCKED_WITHIN)
        for thread in self.threads.values():
            problem = thread.lock_problem
            if problem is not None and problem.errno == errno.EWOULDBLOCK:
                raise problem  # one that cannot be locked at all is a finding: the others go on

    def readings(self) -> list[BackgroundReader[Any]]:
        """What is read for them in the background: files of authorities, and roots."""
        cached = self._cache.readings.values() if self._cache else ()
        return [*cached, *(reading for world in self for reading in world.readings())]

    def fresh(self, seconds: float) -> list[tuple[Policy, Snapshot]]:
        """Have each directory observed once more; of one that is not ready in time nothing is returned."""
        asked = [(thread, thread.fresh()) for thread in self.threads.values()]
        wait_for([done for _, done in asked], seconds)
        found = [thread.world.last for thread, done in asked if done.is_set() and not thread.hung]
        return [(planned.policy, planned.snapshot) for planned in found if planned]

    def _idle(self, seconds: float) -> bool:
        """Wait until no job runs."""
        end = time.monotonic() + seconds
        while any(world.busy for world in self):
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def stop(self) -> bool:
        """End the threads and let every directory go; whether all of them ended, and the jobs that ran."""
        threads = list(self.threads.values())
        for thread in threads:
            thread.stop()
        self._common.go.set()
        if wait_for([thread.ended for thread in threads], STOPPED_WITHIN) and self._idle(RECORDED_WITHIN):
            return True
        unlocked = [aside(thread.world.unlock) for thread in threads if not thread.ended.is_set()]
        wait_for(unlocked, UNLOCKED_WITHIN)
        return False


def wait_for(events: Iterable[threading.Event], seconds: float) -> bool:
    """Wait until all are set, at most so long in all; whether they are."""
    end = time.monotonic() + seconds
    return all(event.wait(max(0.0, end - time.monotonic())) for event in events)


def aside(task: Callable[[], None]) -> threading.Event:
    """Do something in a thread that may never end; the event tells that it did."""
    done = threading.Event()

    def run() -> None:
        task()
        done.set()

    threading.Thread(target=run, name="unlock", daemon=True).start()
    return done
