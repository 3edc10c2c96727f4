"""The ledger is bounded: no number of names, keys or requests fills the disk or the memory."""

# ruff: noqa: S608 - the tables of our own

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from certagent.core.facts import Adopted, Attempt, Exposure
from certagent.state.exposures import Exposures
from certagent.state.ledger import Ledger
from certagent.state.scopes import Scopes
from certagent.state.statements import CAPPED_EVERY, MOST, PER_DIRECTORY, PER_SUBJECT, Caps
from tests.core.building import NOW

MORE = 1000
NUMBERS = "with recursive n(i) as (select 1 union all select i + 1 from n where i < ?)"


def adopt(ledger: Ledger, directory: str, name: str) -> None:
    ledger.adopt(directory, Adopted(name, "f", "want"), NOW)


def limit(ledger: Ledger, directory: str, name: str) -> None:
    Scopes(ledger, directory).add(name, ("crdb://tenant/2",), NOW)


def expose(ledger: Ledger, directory: str, name: str) -> None:
    known = Exposures(ledger, directory)
    known.add(Exposure(file=name, key="k", since=NOW, until=NOW, undone=5, readable=timedelta(seconds=1)))
    known.settle()


TABLES: list[tuple[str, str, Callable[[Ledger, str, str], None], str]] = [
    ("adopted", "'f', 'want', 0", adopt, "stem"),
    ("scopes", "'[]', 0", limit, "stem"),
    ("exposed", "'k', 0, 0, 5, 1", expose, "file"),
]


@pytest.mark.parametrize(("table", "others", "write", "name"), TABLES, ids=[row[0] for row in TABLES])
def test_ledger_caps_names_of_a_directory(
    tmp_path: Path, table: str, others: str, write: Callable[[Ledger, str, str], None], name: str
) -> None:
    """Files that come and go under ever new names push out the oldest of their directory, and none of another one."""
    path = str(tmp_path / "ledger.db")
    first = Ledger.writing(path)
    for directory in ("/other", "/certs"):
        write(first, directory, "old")
    first.write((f"{NUMBERS} insert into {table} select '/certs', 'x' || i, {others} from n", (PER_DIRECTORY + MORE,)))
    first.close()
    ledger = Ledger.writing(path)
    write(ledger, "/certs", "new")
    count = f"select directory, count(*), sum({name} in ('old', 'new')) from {table} group by directory"
    assert ledger.execute(count) == [("/certs", PER_DIRECTORY, 1), ("/other", 1, 1)]
    [(newest,)] = ledger.execute(f"select {name} from {table} order by rowid desc limit 1")
    assert newest == "new"


def test_names_are_capped_with_every_so_many_rows() -> None:
    """With the first rows of a process, and then not for each: it takes a look at every row of a directory."""
    caps = Caps()
    due = [number for number in range(2 * CAPPED_EVERY + 3) if caps.due("adopted", "/certs")]
    assert due == [0, CAPPED_EVERY + 1, 2 * CAPPED_EVERY + 2]
    assert caps.due("scopes", "/certs")
    assert caps.due("adopted", "/other")
    assert caps.due("adopted", "/certs", CAPPED_EVERY + 1)


def test_ledger_keeps_what_is_installed_however_many_requests_failed(tmp_path: Path) -> None:
    """A CA whose answers are never installed does not make the live certificate another tool's."""
    ledger = Ledger.writing(str(tmp_path / "ledger.db"))
    ledger.own("/certs", Adopted("node", "live", "want"), NOW)
    ledger.attempt("/certs", Attempt("install", "node", NOW, "ok", fingerprint="live"))
    for number in range(2 * PER_SUBJECT):
        ledger.own("/certs", Adopted("node", f"f{number}", "want"), NOW + timedelta(seconds=number))
    newest = {f"f{number}" for number in range(PER_SUBJECT, 2 * PER_SUBJECT)}
    assert ledger.issued("/certs") == {"live", *newest}
    assert {a.fingerprint for a in ledger.adopted("/certs")} == {"live", *newest}


def test_ledger_keeps_newest_rows_of_all(tmp_path: Path) -> None:
    """Of attempts, of requests and of what was rolled back; what was rolled back is not forgotten by its age."""
    ledger = Ledger.writing(str(tmp_path / "ledger.db"))
    old = (NOW - timedelta(days=999)).timestamp()
    fill = f"{NUMBERS} insert into quarantined select '/certs', 'f' || i, ? from n"
    ledger.write((fill, (MOST + MORE, old)))
    ledger.prune(NOW)
    found = ledger.quarantined("/certs")
    assert (len(found), f"f{MOST + MORE}" in found, f"f{MORE}" in found) == (MOST, True, False)
