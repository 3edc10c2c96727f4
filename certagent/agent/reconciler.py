"""The thread of one certs directory: it waits, observes, decides and acts, and is in nobody's way.

A directory that does not respond is not touched (posix/responding.py). Where it stops responding in the middle of a
pass, only this thread waits. Others reach it through its queue, and read what it last published.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import SimpleQueue

from certagent.agent.converge import converge, look, pause
from certagent.agent.directory import World
from certagent.agent.news import News
from certagent.agent.steady import Clocks
from certagent.agent.wake import ClockWatch, drained
from certagent.agent.watch import Watch
from certagent.core.decide import decide, severity
from certagent.core.decide.probing import SCAN_EVERY
from certagent.core.findings import Finding
from certagent.core.stalled import unresponsive
from certagent.core.view import Planned
from certagent.events import Log
from certagent.posix.clock import clock
from certagent.posix.errors import HostError
from certagent.posix.responding import responds

AGAIN = 2.0  # seconds until a directory that did not respond, or whose pass failed, is tried again
READ = frozenset({"authorities read", "roots read"})  # the end of a reading is no reason for another one
PROGRESS = "progress"
Task = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What all directories of an agent share."""

    clocks: Clocks
    log: Log
    findings: Callable[[], tuple[Finding, ...]]  # what the agent does without
    rescan: Callable[[], timedelta]
    read: Callable[[], None]  # begin to read files of authorities, roots and the configuration
    progress: Callable[[str], None]  # a first check ended, or the worst severity changed; only puts
    go: threading.Event  # set when every directory is locked: nothing is changed before


class Reconciler:
    """The thread and its queue. Only this thread uses the world, but for what the world itself lets others do."""

    def __init__(self, world: World, watch: Callable[[Callable[[str], None]], Watch], common: Common) -> None:
        """Starts nothing yet."""
        self.world = world
        self.prepared = threading.Event()  # it is locked, or cannot be, or does not respond
        self.looked, self.ended = threading.Event(), threading.Event()
        self.lock_problem: HostError | None = None
        self._common, self._news, self._jumps = common, News(world.policy.path, common.log), ClockWatch()
        self._queue: SimpleQueue[str | Task] = SimpleQueue()
        self._watch = watch(self.wake)
        self._thread: threading.Thread | None = None
        self._stopping, self._locked, self._failed = False, False, False
        self._noticed = True  # since the last pass something may have changed
        self._hung_since: datetime | None = None
        self._seen: Planned | None = None  # the last that was observed
        self._running_since: float | None = None  # monotonic, of the pass that runs
        self._checked = time.monotonic()  # when the last pass ended

    def start(self) -> None:
        """Start the thread where none runs; without a free thread it is tried again later."""
        if self._thread is None or not (self._thread.is_alive() or self._stopping):
            thread = threading.Thread(target=self._run, name="directory", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return
            self._thread = thread

    def wake(self, reason: str) -> None:
        """Have the directory checked now. From any thread."""
        self._queue.put(reason)

    def do(self, task: Task) -> threading.Event:
        """Have something done by this thread between two passes; the event is set when it is done."""
        done = threading.Event()

        def run() -> None:
            try:
                task()
            finally:
                done.set()

        self._queue.put(run)
        return done

    @property
    def age(self) -> timedelta:
        """How long ago the last pass ended; of none, since the start."""
        return timedelta(seconds=time.monotonic() - self._checked)

    @property
    def hung(self) -> bool:
        """Whether it is known not to respond."""
        return self._hung_since is not None

    def stuck(self, seconds: float) -> bool:
        """Whether a pass has been running for longer than that."""
        since = self._running_since
        return since is not None and time.monotonic() - since > seconds

    def stop(self) -> None:
        """End after the pass that runs, and let the directory go. Waits for nothing."""
        self._stopping = True
        self.wake("stop")
        if self._thread is None or not self._thread.is_alive():
            self._release()

    def _run(self) -> None:
        while not self._stopping:
            self._safely(self._pass)
            for item in drained(self._queue, self._pause()):
                self._take(item)
        self._safely(self._release)

    def _take(self, item: str | Task) -> None:
        if callable(item):
            self._safely(item)
        elif item not in READ and not self._stopping:
            self._noticed = True
            self._common.read()

    def _release(self) -> None:
        self._watch.drop()
        self.world.stop()
        self.ended.set()

    def _safely(self, task: Task) -> None:
        """An internal error ends neither this thread nor another one; a directory that keeps failing is stalled."""
        self._failed = False
        try:
            task()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next pass begins anew
            self._failed = True
            reason = f"internal error: {type(error).__name__}: {error}"
            self._common.log.emit("action.failed", certs_dir=self.world.policy.path, reason=reason)
        finally:
            self._running_since = None

    def _pause(self) -> float:
        rescan, seen = self._common.rescan(), self.world.last
        if self._hung_since is not None or self._failed:
            return min(AGAIN, rescan.total_seconds())
        asked = seen is not None and bool(seen.plan.actions)  # jobs, whose end may be silent
        return pause([seen.plan.wake_at if seen else None], clock(), min(rescan, SCAN_EVERY) if asked else rescan)

    def _pass(self) -> None:
        if not self._responds():
            return
        self._running_since = time.monotonic()
        if not self._locked:
            self._take_lock()
            self._running_since = None
            self._common.go.wait()
            self._running_since = time.monotonic()
        if not self._stopping:
            self._check()

    def _check(self) -> None:
        for reason in self._watch.renew():
            self._common.log.emit("watch.rearmed", reason=reason)
        if (jump := self._jumps.jumped()) is not None:
            self.world.shift(timedelta(seconds=jump))
        moment = self._common.clocks.moment()
        self.world.settle()
        self.world.surround((*self._watch.problems(), *self._common.findings()), moment.fact)
        self.world.retry_lock()
        noticed, self._noticed = self._noticed or bool(self._watch.problems()), False
        snapshot, plan, done = converge(self.world, moment.ticking, noticed=noticed)
        self._seen = Planned(policy=self.world.policy, snapshot=snapshot, plan=plan)
        self._publish(self._seen)
        self._news.say(self._seen, done)
        self._checked = time.monotonic()

    def _take_lock(self) -> None:
        """The first time: another agent's lock is a reason not to start. What changes from then on is an event."""
        self._watch.renew()
        try:
            self.world.take_lock()
            self.world.forget_unwanted()
        except HostError as error:
            self.lock_problem = error
        self._locked = True
        self.prepared.set()

    def _responds(self) -> bool:
        """Whether the directory can be touched; where it cannot, what is known of it is published."""
        path = self.world.policy.path
        if responds(path):
            self._hung_since = None
            return True
        self._hung_since = self._hung_since or clock()
        known = unresponsive(self.world.policy, self._seen, self._hung_since)
        self._publish(known)
        self._news.say(known, ())
        self.prepared.set()
        return False

    def _publish(self, found: Planned) -> None:
        before, self.world.last = self.world.last, found
        self.looked.set()
        if before is None or severity(before.plan) != severity(found.plan):
            self._common.progress(PROGRESS)

    def adopt(self, change: Task) -> threading.Event:
        """Go by another policy for the same directory, between two passes."""

        def adopted() -> None:
            change()
            if responds(self.world.policy.path):
                self.world.forget_unwanted()

        return self.do(adopted)

    def fresh(self) -> threading.Event:
        """Have it observed and decided again, and nothing done: `world.last` is that when the event is set."""
        return self.do(self._observe)

    def _observe(self) -> None:
        if self._responds():
            world, now = self.world, clock()
            snapshot = world.observe(now)
            self._seen = Planned(policy=world.policy, snapshot=snapshot, plan=decide(world.policy, snapshot, now))
            self._publish(self._seen)

    def look(self) -> None:
        """Observe and decide once, ask processes and responders, and change nothing. In the caller's thread."""
        if self._responds():
            self.world.surround(self._common.findings(), self._common.clocks.moment().fact)
            snapshot, plan = look(self.world, clock)
            self._publish(Planned(policy=self.world.policy, snapshot=snapshot, plan=plan))
            self._checked = time.monotonic()
