"""watchdog, APScheduler and signals -> one queue. A callback only puts. The only importer of watchdog and APScheduler.

Both only speed things up: the monotonic timeout of the queue guarantees that the loop runs. watchdog misses events when
the directory is replaced, exchanged, a link or mounted over. So the real path and its parent are watched, and device
and inode are compared in every pass. An exception in a handler would end watchdog's dispatch thread; a backward clock
step stalls APScheduler. Their log messages are dropped: they do not help an operator (watchdog reports an error while
an emitter ends) and would be mixed with the JSON lines.
"""

import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from queue import Empty, SimpleQueue

import watchdog.events
from apscheduler.schedulers.background import BackgroundScheduler
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from certagent.core.catalogue import WATCH_DEGRADED
from certagent.core.findings import Finding
from certagent.posix.background import BackgroundReader
from certagent.posix.directory import identity

IGNORED = frozenset({"opened", "closed_no_write"})
# Opening and reading is not even asked of the kernel: we do so ourselves. Attrib is an event of its own since 7.1;
# without it in the list no chmod is seen.
KINDS = ("Created", "Modified", "Attrib", "Closed", "Moved", "Deleted")
CHANGES: list[type[FileSystemEvent]] = [
    found
    for kind in KINDS
    for what in ("File", "Dir")
    if (found := getattr(watchdog.events, f"{what}{kind}Event", None)) is not None
]
AREA = ".certagent"
JUMP = 5.0
STA_UNSYNC = 0x40
BATCH = 10_000
for _name in ("watchdog", "apscheduler"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


class _Put(FileSystemEventHandler):
    """Puts a reason for everything that may matter; never raises."""

    def __init__(self, queue: "SimpleQueue[str]", only: str = "") -> None:
        self._queue = queue
        self._only = only

    def on_any_event(self, event: FileSystemEvent) -> None:
        names = [os.fsdecode(p) for p in (event.src_path, event.dest_path) if p]
        if event.event_type in IGNORED or all(f"/{AREA}" in n for n in names):
            return
        if self._only and self._only not in {os.path.basename(n) for n in names}:
            return
        self._queue.put("files changed")


def rearmed(changed: list[str], *, blind: bool) -> list[str]:
    """Given which directories were replaced and whether nothing can be watched now, return what is said of it."""
    if blind:
        return []
    return [f"{path} was replaced; the new directory is watched" for path in changed] or [
        "a watch had ended; it was started again"
    ]


def blind(error: OSError | RuntimeError) -> Finding:
    """Given why nothing can be watched, return the finding."""
    why = getattr(error, "strerror", error)
    message = f"inotify is not available: {why}; changes are noticed at the next rescan"
    return WATCH_DEGRADED.found("", message, remedy="raise fs.inotify.max_user_instances")


class Wake:
    """What makes the loop turn."""

    def __init__(self, rescan: float) -> None:
        """`rescan` in seconds: the longest wait."""
        self.queue: SimpleQueue[str] = SimpleQueue()
        self.rescan = rescan
        self._observer: BaseObserver | None = None
        self._scheduler: BackgroundScheduler | None = None
        self._asked: datetime | None = None  # of the scheduler
        self._file = ""
        self._armed: dict[str, tuple[int, int] | None] = {}
        self._problems: list[Finding] = []
        self._blind_since: float | None = None  # monotonic; since when inotify is not available
        self._remote: _RemoteWatch | None = None

    def put(self, reason: str) -> None:
        """Make the loop turn."""
        self.queue.put(reason)

    def signals(self) -> None:
        """SIGHUP reads the configuration again, SIGTERM and SIGINT stop."""
        signal.signal(signal.SIGHUP, lambda *_: self.queue.put("config"))
        signal.signal(signal.SIGTERM, lambda *_: self.queue.put("stop"))
        signal.signal(signal.SIGINT, lambda *_: self.queue.put("stop"))

    def watch(self, paths: Iterable[str], file: str = "") -> None:
        """Watch these directories, that one file, and nothing else; replace the old watches."""
        self._drop()
        self._file = os.path.abspath(file) if file else ""
        self._armed = {path: identity(path) for path in paths}
        self._problems, self._blind_since = [], None
        try:
            self._observer = Observer(timeout=60)  # the instance of inotify is had here
            self._observer.start()
            self._arm_all(self._observer)
        except (OSError, RuntimeError) as error:  # no instance of inotify, or no thread
            self._blind_since = time.monotonic()
            self._problems.append(blind(error))

    def _arm_all(self, observer: BaseObserver) -> None:
        for path in self._armed:
            self._arm(observer, path)
        if self._file:
            put = _Put(self.queue, os.path.basename(self._file))
            observer.schedule(put, os.path.dirname(self._file), event_filter=CHANGES)

    def _arm(self, observer: BaseObserver, path: str) -> None:
        real = os.path.realpath(path)
        parent = os.path.dirname(real)
        if os.path.isdir(parent):
            observer.schedule(_Put(self.queue, os.path.basename(real)), parent, event_filter=CHANGES)
        if os.path.isdir(real):
            observer.schedule(_Put(self.queue), real, event_filter=CHANGES)
        elif os.path.isdir(parent):
            self._problems.append(WATCH_DEGRADED.found("", f"{path} does not exist and cannot be watched", remedy=""))

    def rearm_if_changed(self) -> list[str]:
        """Start a new watch if a directory was replaced or an emitter died; return what happened."""
        if self._remote is not None:
            self._remote.look()
        changed = [path for path, armed in self._armed.items() if identity(path) != armed]
        if not changed and not self._dead() and not self._due():
            return []
        self.watch(list(self._armed), self._file)
        return rearmed(changed, blind=self._blind_since is not None)

    def _dead(self) -> bool:
        """An emitter of watchdog's has ended."""
        return self._observer is not None and any(not e.is_alive() for e in self._observer.emitters)

    def _due(self) -> bool:
        """Whether to try inotify again: it was not available one rescan ago."""
        return self._blind_since is not None and time.monotonic() - self._blind_since >= self.rescan

    def problems(self) -> list[Finding]:
        """What watching does without."""
        return [*self._problems, *(self._remote.problems() if self._remote else ())]

    def watch_remote(self, paths: Iterable[str], file: str, prepare: Callable[[], None]) -> None:
        """Watch these, too, in the background: they may be on a network mount that hangs.

        `prepare` is called there before each read.
        """
        if self._remote is None:
            self._remote = _RemoteWatch(self)
        self._remote.change(list(paths), file, prepare)

    def at(self, when: datetime | None) -> None:
        """Ask APScheduler for a wake at that moment: a hint, on top of the queue's timeout.

        Each question wakes its thread, so the same one is asked once.
        """
        if self._scheduler is None:
            self._scheduler = BackgroundScheduler(
                timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": BATCH}
            )  # a thread that has queued its event but not ended yet must not suppress the next one
            try:
                self._scheduler.start()
            except RuntimeError:  # no thread available: the timeout of the queue is the guarantee
                self._scheduler = None
                return
        if when == self._asked:
            return
        self._asked = when
        if when is None:
            with suppress(Exception):
                self._scheduler.remove_job("wake")
            return
        self._scheduler.add_job(self.queue.put, "date", run_date=when, args=["due"], id="wake", replace_existing=True)

    def wait(self, timeout: float) -> list[str]:
        """Wait for a reason, at most that many seconds (monotonic) and at most one rescan.

        Return the reasons without repeats.
        """
        try:
            reasons = {self.queue.get(timeout=min(timeout, self.rescan)): None}
        except Empty:
            return []
        for _ in range(BATCH):
            try:
                reasons[self.queue.get_nowait()] = None
            except Empty:
                break
        return list(reasons)

    def _drop(self) -> None:
        if self._observer is not None:
            self._observer.unschedule_all()
            self._observer.stop()
            if self._observer.is_alive():
                self._observer.join()  # its inotify instance is free only then
            self._observer = None

    def stop(self) -> None:
        """End the threads; not one that hangs, which ends with the process."""
        if self._remote is not None:
            self._remote.end()
        self._drop()
        if self._scheduler is not None:
            self._scheduler.remove_all_jobs()  # one that falls due while it stops ends its thread with an error
            self._scheduler.shutdown(wait=False)


class _RemoteWatch:
    """A separate watch of paths that may be on a network mount, started in the background: no pass waits for it."""

    def __init__(self, wake: Wake) -> None:
        self._own = Wake(wake.rescan)
        self._own.queue = wake.queue
        self._task: tuple[list[str], str, Callable[[], None]] | None = None
        self._armed: object = None  # the task that is watched
        self._reading = BackgroundReader("watched paths", self._look, lambda: None)

    def problems(self) -> tuple[Finding, ...]:
        """What watching does without."""
        return self._reading.found or ()

    def change(self, paths: list[str], file: str, prepare: Callable[[], None]) -> None:
        """Watch these from now on; where a mount hangs, when that is over."""
        self._task = paths, file, prepare
        self.look()

    def look(self) -> None:
        """Watch again what was replaced since."""
        self._reading.begin(datetime.now(UTC))

    def end(self) -> None:
        """Stop watching as soon as possible, without waiting for it."""
        self._task = None
        self.look()

    def _look(self) -> tuple[Finding, ...]:
        task = self._task
        if task is None:
            self._own.stop()
            return ()
        paths, file, prepare = task
        prepare()
        if task is self._armed:
            self._own.rearm_if_changed()
        else:
            self._own.watch(paths, file)
            self._armed = task
        return tuple(self._own.problems())


class ClockWatch:
    """Sees the wall clock jump against the boot clock."""

    def __init__(self) -> None:
        """Starts from now."""
        self._offset = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def jumped(self) -> float | None:
        """By how many seconds the wall clock jumped since the last call; None under five."""
        offset = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        jump, self._offset = offset - self._offset, offset
        return jump if abs(jump) > JUMP else None


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def clock_synchronised() -> bool:
    """The kernel's word on the clock (adjtimex)."""
    state = _Timex()
    return bool(ctypes.CDLL(None).adjtimex(ctypes.byref(state)) >= 0 and not state.status & STA_UNSYNC)
