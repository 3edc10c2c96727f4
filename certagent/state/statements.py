"""The tables of the ledger, which have been the same since the first version, and its longer statements."""

import threading
from datetime import datetime, timedelta

from certagent.core.facts import Adopted
from certagent.state.database import Statement

SCHEMA = (
    """create table attempts (
  id integer primary key, directory text, kind text, subject text, at real,
  outcome text, reason text, digest text, retry_at real)""",
    "create index attempts_of on attempts (directory, id)",
    """create table issued (
  directory text, stem text, fingerprint text, at real, primary key (directory, fingerprint))""",
    """create table adopted (
  directory text, stem text, fingerprint text, want text, at real, primary key (directory, stem, fingerprint))""",
    """create table quarantined (
  directory text, fingerprint text, at real, primary key (directory, fingerprint))""",
)
INSERT = """
insert into attempts (directory, kind, subject, at, outcome, reason, digest, retry_at)
values (?, ?, ?, ?, ?, ?, ?, ?) returning id
"""
# Only what they are counted by is sorted: twenty thousand whole rows would take 4 MB for a moment.
ATTEMPTS = """
select id, kind, subject, at, outcome, reason, digest, retry_at from attempts where id in (
  select id from (
    select id, row_number() over (partition by kind, subject order by id desc) as age
    from (select id, kind, subject from attempts where directory = ? order by id desc limit ?))
  where age <= ?)
order by id
"""
INSTALLED = """
select digest from attempts
where directory = ? and subject = ? and kind in ('install', 'rollback') and outcome = 'ok' order by id desc limit 2
"""
RECENT = 20_000
PER_SUBJECT = 30
PER_DIRECTORY = 50_000  # rows of its names: four times as many as pairs are examined
CAPPED_EVERY = 500
MOST = 100_000
FAILURES = 500  # of each pair: an outage of weeks adds one a minute, and must not hide what else was done
FORGET_FAILURES = """
delete from attempts where id in (
  select id from (
    select id, row_number() over (partition by directory, subject order by id desc) as age
    from attempts where kind = 'issue' and outcome in ('failed', 'refused'))
  where age > ?)
"""
KEEP = timedelta(days=400)


def adopting(directory: str, adopted: Adopted, at: datetime) -> tuple[Statement, ...]:
    """What remembers a pair, and of its name only the newest few."""
    values = (directory, adopted.stem, adopted.fingerprint, adopted.want, at.timestamp())
    return (
        ("insert or ignore into adopted values (?, ?, ?, ?, ?)", values),
        newest("adopted", directory, adopted.stem),
    )


def owning(directory: str, own: Adopted, at: datetime) -> tuple[Statement, ...]:
    """What remembers a certificate that this agent requested, and of its name only the newest few."""
    values = (directory, own.stem, own.fingerprint, at.timestamp())
    return (
        ("insert or ignore into issued values (?, ?, ?, ?)", values),
        newest("issued", directory, own.stem),
        *adopting(directory, own, at),
    )


def newest(table: str, directory: str, stem: str) -> Statement:
    """Forget all but the newest few of a name; what is installed stays, however many requests failed since."""
    of = (directory, stem)
    sql = (
        f"delete from {table} where directory = ? and stem = ? and rowid not in"  # noqa: S608 - our own words
        f" (select rowid from {table} where directory = ? and stem = ? order by rowid desc limit ?)"
        f" and fingerprint not in ({INSTALLED})"
    )
    return (sql, (*of, *of, PER_SUBJECT, *of))


def capping(table: str, directory: str) -> Statement:
    """Forget all but the newest rows of a directory, whatever names its files had. What is there is noticed again."""
    oldest = f"select rowid from {table} where directory = ? order by rowid desc limit 1 offset ?"  # noqa: S608 - our own words
    sql = f"delete from {table} where directory = ? and rowid <= ({oldest})"  # noqa: S608 - our own words
    return (sql, (directory, directory, PER_DIRECTORY))


class Caps:
    """When the rows about names have to be capped: with the first of a process, and then with every so many."""

    def __init__(self) -> None:
        """Nothing was written yet."""
        self._guard = threading.Lock()
        self._written: dict[tuple[str, str], int] = {}  # rows since the last time, by table and directory

    def due(self, table: str, directory: str, rows: int = 1) -> tuple[Statement, ...]:
        """What has to be written along with so many rows about names of a directory."""
        with self._guard:
            written = self._written.get((table, directory), CAPPED_EVERY) + rows
            self._written[table, directory] = 0 if written > CAPPED_EVERY else written
        return (capping(table, directory),) if written > CAPPED_EVERY else ()


def pruning(table: str, end: float) -> Statement:
    """What forgets rows from before a moment, and all but the newest of a leaf that lives for minutes."""
    oldest = f"select rowid from {table} order by rowid desc limit 1 offset {MOST}"  # noqa: S608 - our own words
    return (f"delete from {table} where at < ? or rowid <= ({oldest})", (end,))  # noqa: S608 - our own words
