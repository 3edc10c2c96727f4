"""The `crdb://` URIs that each pair is known to be limited to, in the ledger's file.

They outlive the pair: one that replaces a lost pair must not be valid for more tenants. The table is made when the
first pair with such a URI is seen, so that an older program can still use the file.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from certagent.posix.errors import HostError
from certagent.state.ledger import Ledger

SCHEMA = (
    "create table if not exists scopes (directory text, stem text, uris text, at real, primary key (directory, stem))"
)
THERE = "select 1 from sqlite_master where type = 'table' and name = 'scopes'"


class Scopes:
    """Of one certs-dir. What cannot be written is kept in memory and written later."""

    def __init__(self, ledger: Ledger, directory: str) -> None:
        """Nothing is read yet."""
        self._ledger, self._directory = ledger, directory
        self._owed: dict[str, tuple[tuple[str, ...], datetime]] = {}

    def all(self) -> Mapping[str, tuple[str, ...]]:
        """What is recorded, by stem. Raises HostError."""
        found: dict[str, tuple[str, ...]] = {}
        if self._ledger.execute(THERE):
            rows = self._ledger.execute("select stem, uris from scopes where directory = ?", self._directory)
            found = {str(stem): tuple(json.loads(uris)) for stem, uris in rows}
        return found | {stem: uris for stem, (uris, _) in self._owed.items()}

    def add(self, stem: str, uris: tuple[str, ...], at: datetime) -> None:
        """Record the URIs of a pair, in place of those that were recorded."""
        self._owed[stem] = (uris, at)
        self._ledger.changes += 1
        self.settle()

    def settle(self) -> None:
        """Write what is owed, as far as the disk lets."""
        with suppress(HostError):
            for stem, (uris, at) in tuple(self._owed.items()):
                row = (self._directory, stem, json.dumps(uris), at.timestamp())
                added = ("insert or replace into scopes values (?, ?, ?, ?)", row)
                self._ledger.write((SCHEMA, ()), added, *self._ledger.caps.due("scopes", self._directory))
                self._owed.pop(stem, None)
