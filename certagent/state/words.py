"""What people said about a rotation, in the ledger's file: on the disk before the command is answered.

A word counts for one bundle and one root. The table is made with the first word, so that an older program can still use
the file. Rejected: to keep in memory what a full disk does not take, as exposures are. A person who is told that the
others will wait must be able to believe it after a restart, so such a command fails.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from certagent.core.facts import Attempt, Word
from certagent.state.database import Statement
from certagent.state.ledger import Ledger
from certagent.state.rows import row_of
from certagent.state.statements import INSERT

SCHEMA = """
create table if not exists words (
  directory text, bundle text, root text, kind text, peer text, at real, said_by text,
  primary key (directory, bundle, root, kind, peer))
"""
THERE = "select 1 from sqlite_master where type = 'table' and name = 'words'"
COLUMNS = "kind, bundle, root, at, peer, said_by"
ADD = "insert or replace into words values (?, ?, ?, ?, ?, ?, ?)"
DELETE = "delete from words where directory = ? and bundle = ? and root = ? and kind = ? and peer = ?"


class Words:
    """Of one certs-dir."""

    def __init__(self, ledger: Ledger, directory: str) -> None:
        """Nothing is read yet."""
        self._ledger, self._directory = ledger, directory

    def all(self) -> tuple[Word, ...]:
        """Every word that counts, oldest first. Raises HostError."""
        if not self._ledger.execute(THERE):
            return ()
        sql = f"select {COLUMNS} from words where directory = ? order by at, rowid"  # noqa: S608 - our own words
        return tuple(_word(*row) for row in self._ledger.execute(sql, self._directory))

    def say(self, word: Word, attempt: Attempt) -> None:
        """Add a word, in place of the same one said before, and the attempt that `history` shows. Raises HostError."""
        about = (self._directory, word.bundle, word.root, word.kind, word.peer, word.at.timestamp(), word.by)
        self._ledger.write((SCHEMA, ()), (ADD, about), self._shown(attempt))

    def take_back(self, words: Iterable[Word], attempt: Attempt) -> None:
        """Remove words, and add the attempt that `history` shows. Raises HostError."""
        gone = [(DELETE, (self._directory, w.bundle, w.root, w.kind, w.peer)) for w in words]
        self._ledger.write((SCHEMA, ()), *gone, self._shown(attempt))

    def end(self, bundle: str, root: str, attempt: Attempt) -> None:
        """Remove every word about a rotation that is over. Raises HostError."""
        self.take_back([w for w in self.all() if (w.bundle, w.root) == (bundle, root)], attempt)

    def _shown(self, attempt: Attempt) -> Statement:
        return (INSERT, (self._directory, *row_of(attempt)))


def _word(kind: str, bundle: str, root: str, at: float, peer: str, by: str) -> Word:
    moment = datetime.fromtimestamp(at, UTC)
    return Word(kind=kind, bundle=bundle, root=root, at=moment, peer=peer, by=by)  # type: ignore[arg-type]
