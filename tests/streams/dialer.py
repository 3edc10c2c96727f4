"""A dialer of its own: of a client, or of a server that dials nobody itself (PostgreSQL).

dialer.py USER DIR STEM        a client: it reads DIR anew for each connection
dialer.py USER DIR STEM LOG    beside a server: it reads DIR anew when LOG says that the server did
"""

import sys
from pathlib import Path

from certagent.demo.server import become
from tests.streams.dialing import Dialer, Shown, obey

RELOADED = b"received SIGHUP"


def read(directory: Path, stem: str) -> Shown:
    """A bundle and a pair as they are on disk; `node` where there is no pair of its own for calls."""
    own = stem if (directory / f"{stem}.crt").exists() else "node"
    return Shown(*((directory / name).read_bytes() for name in ("ca.crt", f"{own}.crt", f"{own}.key")))


class Following:
    """What a server has loaded, as far as its log shows."""

    def __init__(self, directory: Path, stem: str, log: Path) -> None:
        self.directory, self.stem, self.log, self.reloads = directory, stem, log, 0
        self.loaded = read(directory, stem)

    def __call__(self) -> Shown:
        """After a reload it is read once."""
        reloads = self.log.read_bytes().count(RELOADED)
        if reloads != self.reloads:
            self.reloads, self.loaded = reloads, read(self.directory, self.stem)
        return self.loaded


def main(user: str, directory: str, stem: str, log: str = "") -> None:
    become(user)
    place = Path(directory)
    obey(Dialer(Following(place, stem, Path(log)) if log else (lambda: read(place, stem))))


if __name__ == "__main__":
    main(*sys.argv[1:])
