"""The tables of the ledger, which have been the same since the first version, and its longer statements."""

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
ATTEMPTS = """
select id, kind, subject, at, outcome, reason, digest, retry_at from (
  select *, row_number() over (partition by kind, subject order by id desc) as age
  from (select * from attempts where directory = ? order by id desc limit ?))
where age <= ? order by id
"""
NEWEST = """
delete from adopted where directory = ? and stem = ? and rowid not in (
  select rowid from adopted where directory = ? and stem = ? order by rowid desc limit ?)
"""
RECENT = 20_000
PER_SUBJECT = 30
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
    of = (directory, adopted.stem)
    values = (*of, adopted.fingerprint, adopted.want, at.timestamp())
    return (("insert or ignore into adopted values (?, ?, ?, ?, ?)", values), (NEWEST, (*of, *of, PER_SUBJECT)))


def pruning(table: str, end: float) -> Statement:
    """What forgets rows from before a moment, and all but the newest of a leaf that lives for minutes."""
    newest = f"select rowid from {table} order by rowid desc limit {MOST}"  # noqa: S608 - our own words
    return (f"delete from {table} where at < ? or rowid not in ({newest})", (end,))  # noqa: S608 - our own words
