"""Keys that others could read: known across restarts, until a person clears them."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from certagent.core.facts import Exposure
from certagent.state.exposures import Exposures
from certagent.state.ledger import Ledger
from tests.core.building import NOW

KNOWN = Exposure(
    file="node.key", key="abc", since=NOW, until=NOW + timedelta(seconds=9), undone=5, readable=timedelta(seconds=3)
)


def test_an_exposure_outlives_the_agent(tmp_path: Path) -> None:
    """It is on the disk; what is counted later takes its place; another directory knows nothing of it."""
    path = str(tmp_path / "ledger.db")
    first = Exposures(Ledger.writing(path), "/certs")
    assert () == first.all()
    first.add(KNOWN)
    more = replace(KNOWN, undone=9)
    first.add(more)
    first.add(replace(KNOWN, key="the next key"))
    for ledger in (Ledger.writing(path), Ledger.looking(path)):
        assert {more, replace(KNOWN, key="the next key")} == set(Exposures(ledger, "/certs").all())
        assert () == Exposures(ledger, "/other").all()


def test_a_person_clears_it(tmp_path: Path) -> None:
    """Every key that had the file's name; nothing is left, nor written where nothing was known."""
    ledger = Ledger.writing(str(tmp_path / "ledger.db"))
    known = Exposures(ledger, "/certs")
    known.clear("node.key")
    known.add(KNOWN)
    known.add(replace(KNOWN, file="ui.key"))
    known.clear("node.key")
    assert ["ui.key"] == [e.file for e in Exposures(ledger, "/certs").all()]


def test_a_full_disk_loses_no_exposure(tmp_path: Path) -> None:
    """What cannot be written is known all the same, and written as soon as it can."""
    path = str(tmp_path / "ledger.db")
    ledger = Ledger.writing(path)
    ledger.execute("pragma query_only = on")
    known, before = Exposures(ledger, "/certs"), ledger.changes
    known.add(KNOWN)
    assert (KNOWN,) == known.all()
    assert ledger.changes > before
    ledger.execute("pragma query_only = off")
    known.settle()
    assert (KNOWN,) == Exposures(Ledger.looking(path), "/certs").all()


def test_a_ledger_of_an_earlier_version(tmp_path: Path) -> None:
    """It has no such table: nothing is known, also for who may only read it."""
    path = str(tmp_path / "ledger.db")
    Ledger.writing(path)
    assert () == Exposures(Ledger.looking(path), "/certs").all()
