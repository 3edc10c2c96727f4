"""File events of the kernel, for all directories by one thread. The only importer of watchdog.

They only speed things up: the timeout of each wait guarantees that a directory is checked. Events are missed when the
directory is replaced, exchanged, a link or mounted over. So the real path and its parent are watched, and device and
inode are compared in every pass. A directory is opened by the thread that arms its watch, and the kernel is given the
open one: nobody else waits where its file system hangs. Rejected: watchdog's Observer, which makes two threads for each
watched path. Watchdog's log messages are dropped: they do not help an operator and would be mixed with the JSON lines.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

from certagent.core.catalogue import WATCH_DEGRADED
from certagent.core.findings import Finding
from certagent.posix.background import BackgroundReader
from certagent.posix.directory import identity
from certagent.posix.responding import FRESH, responds

AREA = b".certagent"
# Opening and reading is not even asked of the kernel: we do so ourselves. A chmod is IN_ATTRIB.
MASK = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_DELETE_SELF
)
CHANGED = "files changed"
logging.getLogger("watchdog").addHandler(logging.NullHandler())


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


class Events:
    """The one instance of inotify of an agent, started when the first directory is watched."""

    def __init__(self, retry: float) -> None:
        """`retry`: seconds until inotify is tried again where it was not available."""
        self._lock, self._retry = threading.Lock(), retry
        self._instance: InotifyFD | None = None
        self._failed: tuple[float, OSError | RuntimeError] | None = None

    def instance(self) -> InotifyFD:
        """The one that runs. Raises OSError, RuntimeError where there is none."""
        with self._lock:
            if running := self._running():
                return running
            if self._failed is not None and time.monotonic() - self._failed[0] < self._retry:
                raise self._failed[1]
            self._instance, self._failed = self._started(), None
            return self._instance

    def _running(self) -> InotifyFD | None:
        return self._instance if self._instance is not None and self._instance.is_alive() else None

    def _started(self) -> InotifyFD:
        """A new one; a failure is remembered. Raises OSError, RuntimeError."""
        try:
            fresh = InotifyFD()
            fresh.start()
        except (OSError, RuntimeError) as error:
            self._failed = (time.monotonic(), error)
            raise
        return fresh

    def stop(self) -> None:
        """End the thread."""
        with self._lock:
            if running := self._running():
                running.stop()
            self._instance = None


class _Heard(WatchCallback):
    """Puts a reason for everything that may matter; never raises: that would end the thread of all directories."""

    def __init__(self, put: Callable[[str], None], only: bytes = b"") -> None:
        self._put, self._only = put, only
        self.ended = False  # the kernel dropped the watch

    def on_event(self, event: InotifyEvent) -> None:
        if event.name == self._only if self._only else event.name != AREA:
            self._put(CHANGED)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:  # noqa: ARG002 - of the one watch that it has
        self.ended = True
        self._put(CHANGED)

    def on_queue_overflow(self) -> None:
        self._put(CHANGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Armed:
    """A watch, with what is needed to end it."""

    instance: InotifyFD
    heard: _Heard
    wd: WatchDescriptor

    @property
    def dead(self) -> bool:
        return self.heard.ended or not self.instance.is_alive()

    def drop(self) -> None:
        if self.instance.is_alive() and not self.heard.ended:
            self.instance.remove_callbacks([(self.wd, CallbackId(id(self.heard)))])


class Watch:
    """The watch of some directories, and of one file. Only one thread uses it, and only that one waits for them."""

    def __init__(self, events: Events, put: Callable[[str], None], paths: Iterable[str], file: str = "") -> None:
        """Watches nothing before the first `renew`."""
        self._events, self._put = events, put
        self._paths = tuple(paths)
        self._file = os.path.abspath(file) if file else ""
        self._seen: dict[str, tuple[int, int] | None] | None = None
        self._armed: list[_Armed] = []
        self._problems: tuple[Finding, ...] = ()
        self._blind = False

    def problems(self) -> tuple[Finding, ...]:
        """What watching does without."""
        return self._problems

    def renew(self) -> list[str]:
        """Watch what is there now, where it was replaced or a watch had ended; return what happened."""
        first, seen = self._seen is None, {path: identity(path) for path in self._paths}
        changed = [path for path in self._paths if not first and seen[path] != (self._seen or {})[path]]
        if not first and not changed and not self._blind and not any(a.dead for a in self._armed):
            return []
        was_blind = self._blind
        self.drop()
        self._seen = seen
        self._arm_all()
        if first or (was_blind and self._blind):
            return []
        return rearmed(changed, blind=self._blind)

    def _arm_all(self) -> None:
        self._problems, self._blind = (), False
        try:
            instance = self._events.instance()
            for path in self._paths:
                self._arm(instance, path)
            if self._file:
                name = os.fsencode(os.path.basename(self._file))
                self._add(instance, os.path.dirname(self._file), name)
        except (OSError, RuntimeError) as error:  # no instance of inotify, no watch of it, or no thread
            self._blind = True
            self._problems = (blind(error),)

    def _arm(self, instance: InotifyFD, path: str) -> None:
        if not responds(path, FRESH):
            return
        real = os.path.realpath(path)
        parent = os.path.dirname(real)
        above = self._add(instance, parent, os.fsencode(os.path.basename(real)))
        if not self._add(instance, real) and above:
            missing = WATCH_DEGRADED.found("", f"{path} does not exist and cannot be watched", remedy=f"create {path}")
            self._problems = (*self._problems, missing)

    def _add(self, instance: InotifyFD, directory: str, only: bytes = b"") -> bool:
        """Watch one directory, if it is there. Raises OSError where the kernel has no watch left."""
        try:
            fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False
        heard = _Heard(self._put, only)
        try:
            wd = instance.add_callback(f"/proc/self/fd/{fd}".encode(), MASK, heard, CallbackId(id(heard)))
        finally:
            os.close(fd)
        self._armed.append(_Armed(instance=instance, heard=heard, wd=wd))
        return True

    def drop(self) -> None:
        """End every watch; no path is touched."""
        for armed in self._armed:
            armed.drop()
        self._armed = []


class RemoteWatch:
    """The watch of paths that may be on a network mount, in the background: no pass of the loop waits for it."""

    def __init__(self, events: Events, put: Callable[[str], None]) -> None:
        """Watches nothing before the first `change`."""
        self._events, self._put = events, put
        self._task: tuple[list[str], str, Callable[[], None]] | None = None
        self._armed: object = None  # the task that is watched
        self._watch = Watch(events, put, ())
        self._reading = BackgroundReader("watched paths", self._look, lambda: None, self._needed)

    def problems(self) -> tuple[Finding, ...]:
        """What watching does without."""
        return self._reading.found or ()

    def change(self, paths: Iterable[str], file: str, prepare: Callable[[], None]) -> None:
        """Watch these from now on; where a mount hangs, when that is over. `prepare` is called before each check."""
        self._task = list(paths), file, prepare
        self.look()

    def look(self) -> None:
        """Watch again what was replaced since."""
        self._reading.begin(datetime.now(UTC))

    def end(self) -> None:
        """Stop watching as soon as possible, without waiting for it."""
        self._task = None
        self.look()

    def _needed(self) -> tuple[str, ...]:
        task = self._task
        return (*task[0], os.path.dirname(os.path.abspath(task[1]))) if task else ()

    def _look(self) -> tuple[Finding, ...]:
        task = self._task
        if task is None:
            self._watch.drop()
            return ()
        paths, file, prepare = task
        prepare()
        if task is not self._armed:
            self._watch.drop()
            self._watch, self._armed = Watch(self._events, self._put, paths, file), task
        self._watch.renew()
        return self._watch.problems()
