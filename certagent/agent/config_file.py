"""The configuration file, looked at again and again by a thread of its own: it may lie on another machine.

So may whatever names its users (owner = "..." asks the host's name service). What was read is handed over by a queue.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from queue import Empty, SimpleQueue

from certagent.config import Config, ConfigError, load
from certagent.posix.aside import BackgroundReader
from certagent.posix.directory import stat_key


class Reloading:
    """One file. `wake` only puts; it is called from the thread."""

    def __init__(self, path: str, wake: Callable[[str], None]) -> None:
        """What lies there now counts as read."""
        self.path, self._wake = path, wake
        self._mark = stat_key(path)
        self._forced = threading.Event()
        self._read: SimpleQueue[Config | ConfigError] = SimpleQueue()
        self.reading: BackgroundReader[None] = BackgroundReader(f"the configuration: {path}", self._look, lambda: None)

    def look(self, now: datetime) -> None:
        """Read the file where it is another one than was read."""
        self.reading.begin(now)

    def force(self, now: datetime) -> None:
        """Read it whatever it is."""
        self._forced.set()
        self.reading.begin(now)

    def fresh(self) -> Config | ConfigError | None:
        """What was read last since the last call, None where nothing was: several readings may wake us once."""
        newest: Config | ConfigError | None = None
        with suppress(Empty):
            while True:
                newest = self._read.get_nowait()
        return newest

    def _look(self) -> None:
        if forced := self._forced.is_set():
            self._forced.clear()
        found = stat_key(self.path)
        if found == self._mark and not forced:
            return
        self._mark = found
        try:
            self._read.put(load(self.path))
        except ConfigError as error:
            self._read.put(error)
        self._wake("configuration read")
