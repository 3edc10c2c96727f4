"""The certificate files that processes were last seen to have loaded: what a reload is compared with.

In the ledger's file, so that a restart of the agent forgets nothing, and so that it works for a directory that this
agent may not write. Certificates are public; no key is kept. Rejected: a place in `.certagent`, which an externally
managed directory does not have.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from certagent.posix.errors import HostError
from certagent.state.ledger import Ledger

KEEP = 5  # of each directory: its processes may have loaded different files
TABLE = (
    "create table if not exists loaded"
    " (directory text, material text, files text, at real, primary key (directory, material))"
)
THERE = "select 1 from sqlite_master where type = 'table' and name = 'loaded'"
NEWEST = (
    "delete from loaded where directory = ? and rowid not in"
    " (select rowid from loaded where directory = ? order by rowid desc limit ?)"
)
Files = Mapping[str, bytes]  # by stem


class LoadedFiles:
    """Of one certs directory. What cannot be written is kept in memory until the agent ends."""

    def __init__(self, ledger: Ledger, directory: str) -> None:
        """Nothing is read before it is asked for."""
        self._ledger, self._directory = ledger, directory
        self._unwritten: dict[str, Files] = {}
        self._known: tuple[int, dict[str, Files]] | None = None

    def remember(self, material: str, files: Files, at: datetime) -> None:
        """Take note of what a process has loaded; it becomes the newest."""
        kept = json.dumps({stem: b64encode(data).decode() for stem, data in files.items()})
        row = ("insert or replace into loaded values (?, ?, ?, ?)", (self._directory, material, kept, at.timestamp()))
        newest = (NEWEST, (self._directory, self._directory, KEEP))
        try:
            self._ledger.commit((TABLE, ()), row, newest, synced=False)  # after a power cut every process is new
            self._unwritten.pop(material, None)
        except HostError:
            self._unwritten[material] = files

    def known(self) -> dict[str, Files]:
        """What is remembered, oldest first, by the digest of the material. Raises HostError."""
        changes = self._ledger.changes
        if self._known is None or self._known[0] != changes:
            self._known = (changes, self._read() | self._unwritten)
        return self._known[1]

    def _read(self) -> dict[str, Files]:
        found: dict[str, Files] = {}
        if self._ledger.execute(THERE):
            sql = "select material, files from loaded where directory = ? order by rowid"
            for material, files in self._ledger.execute(sql, self._directory):
                with suppress(ValueError):  # not written by this program: as if nothing were known
                    found[str(material)] = {stem: b64decode(text) for stem, text in json.loads(files).items()}
        return found
