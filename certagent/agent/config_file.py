"""Read the configuration file in the background whenever it changes: it may be on a network mount.

So may the name service that knows its users (owner = "...").
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from certagent.config import Config, ConfigError, load
from certagent.config.cross_check import normalise
from certagent.posix.background import BackgroundReader
from certagent.posix.directory import stat_key
from certagent.posix.trusted import distrust
from certagent.state.ownership import agent_there


def load_trusted(path: str, resolved: Callable[[str], str] = normalise, *, checking: bool = False) -> Config:
    """As `load`, of a file that nobody but root and our own user could have changed. Raises ConfigError.

    `checking`: nothing is done by it. Then the owner of the state directory may own it too: root checks the file of an
    agent that runs as that user.
    """
    config = load(path, resolved)
    agent = agent_there(config.settings.state_dir) if checking else None
    try:
        problem = distrust(path, () if agent is None else (agent,))
    except OSError as error:
        problem = str(error)
    if problem:
        raise ConfigError((f"{path}: not used: {problem}",))
    return config


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """What one reading of the file gave; readings are numbered."""

    number: int
    content: Config | ConfigError


class Reloading:
    """One file. `wake` only puts; it is called from the thread."""

    def __init__(self, path: str, wake: Callable[[str], None]) -> None:
        """Treat the current file as read."""
        self.path, self._wake = path, wake
        self._mark = stat_key(path)
        self._forced = threading.Event()
        self._taken = 0  # the number of the version that was handed over last
        self.reading = BackgroundReader(f"the configuration: {path}", self._look, self._changed, lambda: (path,))

    def look(self, now: datetime) -> None:
        """Read the file where it is another one than was read."""
        self.reading.begin(now)

    def force(self, now: datetime) -> None:
        """Read it whatever it is."""
        self._forced.set()
        self.reading.begin(now)

    def fresh(self) -> Config | ConfigError | None:
        """What was read last since the last call, None where nothing was: several readings may wake us once."""
        newest = self.reading.found
        if newest is None or newest.number == self._taken:
            return None
        self._taken = newest.number
        return newest.content

    def _look(self) -> Version | None:
        """The newest version; None while the file is the one that the agent started with."""
        if forced := self._forced.is_set():
            self._forced.clear()
        found, before = stat_key(self.path), self.reading.found
        if found == self._mark and not forced:
            return before
        self._mark = found
        number = before.number + 1 if before else 1
        try:
            return Version(number=number, content=load_trusted(self.path))
        except ConfigError as error:
            return Version(number=number, content=error)

    def _changed(self) -> None:
        if self.reading.found is not None:
            self._wake("configuration read")
