"""Whether a path answers, found out without risk: a child touches it first where its file system may hang.

A thread that waits for FUSE cannot be killed once the request was read, and a process with such a thread never ends.
So a child goes before the agent wherever the file system is not known to be local. One child serves all paths; one that
hangs is left to its mount, and nothing below that mount is touched until the child has its answer or the mount is gone.
"""

import errno
import os
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

from certagent.posix.mounts import MOUNTS, hanging_point, hanging_points

CHILD = str(Path(__file__).with_name("toucher.py"))
PATIENCE = 3.0  # seconds without an answer, after which a path counts as hung
FRESH = 1.0  # seconds that an answer counts for those who open the path in the same moment


class _Child:
    """One process that touches paths."""

    def __init__(self) -> None:
        """Raises OSError where no process can be started."""
        asked, self._in = os.pipe()
        self._out, told = os.pipe()
        words = [sys.executable, "-I", "-S", CHILD]
        try:
            self._process = subprocess.Popen(words, stdin=asked, stdout=told, stderr=subprocess.DEVNULL)
        except OSError:
            self._close()
            raise
        finally:
            os.close(asked)
            os.close(told)

    def _close(self) -> None:
        os.close(self._in)
        os.close(self._out)

    def ask(self, path: str) -> None:
        """Begin to touch a path. Raises OSError where the child is gone."""
        os.write(self._in, os.fsencode(path).hex().encode() + b"\n")

    def answered(self, patience: float) -> bool | None:
        """Whether it is done; None: no sign of life for so many seconds. False: the child ended."""
        while self.stirs(patience):
            told = os.read(self._out, 1 << 12)
            if told.endswith(b"\n") or not told:
                return bool(told)
        return None

    def stirs(self, patience: float) -> bool:
        """Whether it says something, or ends, within so many seconds; reads nothing."""
        poll = select.poll()  # its own: several threads may wait for the same child
        poll.register(self._out, select.POLLIN)
        return bool(poll.poll(patience * 1000))

    def end(self) -> None:
        """Kill it; one that hangs in the kernel ends with its mount, and nobody waits for it."""
        self._process.kill()
        self._close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.1)


class _Turn:
    """What those hold who touch below the same mount; it is forgotten with the last of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class Touchers:
    """The children of this process: an idle one at most, and one for each mount that hangs."""

    def __init__(self) -> None:
        """Starts nothing yet."""
        self._mounts = MOUNTS
        self._guard = threading.Lock()
        self._idle: list[_Child] = []
        self._hung: dict[str, _Child] = {}  # by mount point
        self._turns: WeakValueDictionary[str, _Turn] = WeakValueDictionary()  # by mount point
        self._good: dict[str, float] = {}  # by path: when it answered

    def responds(self, path: str, fresh: float = 0.0) -> bool:
        """Whether a path can be touched now without waiting. `fresh`: seconds that an earlier answer counts."""
        point = self._mounts.hanging(path)
        if point is None or time.monotonic() - self._good.get(path, -FRESH) < fresh:
            return True
        return self.touchable(path, point)

    def touchable(self, path: str, point: str) -> bool:
        """Whether a path below a mount that may hang can be touched now."""
        with self._guard:
            turn = self._turns.setdefault(point, _Turn())
        with turn.lock:
            good = not self._still_hung(point) and self._touched(path, point)
        if good:
            self._note(path, time.monotonic())
        return good

    def _note(self, path: str, now: float) -> None:
        """It answered just now; answers that no longer count are forgotten, since processes come and go."""
        with self._guard:
            self._good = {known: at for known, at in self._good.items() if now - at < FRESH} | {path: now}

    def wait(self, path: str) -> None:
        """Wait until a path answers; in a thread that may wait for ever."""
        while not self.responds(path):
            child = self._hung.get(self._mounts.hanging(path) or "")
            if child is None:
                time.sleep(PATIENCE)  # no child could be started
            else:
                child.stirs(PATIENCE)

    def _still_hung(self, point: str) -> bool:
        """Whether the child that was left to a mount still waits there."""
        child = self._hung.get(point)
        if child is None:
            return False
        answered = child.answered(0)
        if answered is None:
            return True
        if self._hung.pop(point, None) is child:
            self._rest(child, alive=answered)
        return False

    def _touched(self, path: str, point: str) -> bool:
        """Have an idle child touch the path; a new one where there is none, or where it was killed."""
        with self._guard:
            child = self._idle.pop() if self._idle else None
        if child is not None:
            answered = self._asked(child, path, point)
            if answered is not False:
                return bool(answered)
        try:
            return bool(self._asked(_Child(), path, point))
        except OSError:  # no process can be started: unknown is no
            return False

    def _asked(self, child: _Child, path: str, point: str) -> bool | None:
        """As `answered`; a child that does not answer is left to the mount."""
        try:
            child.ask(path)
            answered = child.answered(PATIENCE)
        except OSError:
            answered = False
        if answered is None:
            self._hung[point] = child
        else:
            self._rest(child, alive=answered)
        return answered

    def _rest(self, child: _Child, *, alive: bool) -> None:
        with self._guard:
            if alive and not self._idle:
                self._idle.append(child)
                return
        child.end()

    def end(self) -> None:
        """Kill them all."""
        with self._guard:
            children, self._idle = [*self._idle, *self._hung.values()], []
            self._hung = {}
        for child in children:
            child.end()


TOUCHERS = Touchers()  # of this process: what hangs hangs for all of it


def responds(path: str, fresh: float = 0.0) -> bool:
    """Whether a path can be touched now without waiting."""
    return TOUCHERS.responds(path, fresh)


def responds_for(pid: int, path: str) -> bool:
    """The same of an absolute path of another process, in its root and among its mounts; no where it is gone."""
    root = f"/proc/{pid}/root"
    try:
        if _shares_mounts(pid):
            return TOUCHERS.responds(path, FRESH)
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            point = hanging_point(path, hanging_points(file.read()), root)
    except OSError:
        return False
    return point is None or TOUCHERS.touchable(f"{root}{path}", f"{root}{point}")


def _shares_mounts(pid: int) -> bool:
    """Whether a process has our root and our mounts. Raises OSError where it is gone, or denied to us."""
    if os.readlink(f"/proc/{pid}/root") != "/":
        return False
    return os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")


def required(path: str) -> None:
    """OSError where a path does not answer."""
    if not TOUCHERS.responds(path, FRESH):
        raise OSError(errno.ETIMEDOUT, "it does not respond (hung mount?)", path)
