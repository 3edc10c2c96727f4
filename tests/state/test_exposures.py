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


def test_exposed_key_survives_restart(tmp_path: Path) -> None:
    """It is on the disk; a later count replaces it; another directory is not affected."""
    path = str(tmp_path / "ledger.db")
    first = Exposures(Ledger.writing(path), "/certs")
    assert () == first.all()
    first.add(KNOWN)
    more = replace(KNOWN, undone=9)
    first.add(more)
    first.add(replace(KNOWN, key="the next key"))
    assert len(first.all()) == 2
    for ledger in (Ledger.writing(path), Ledger.looking(path)):
        assert {more, replace(KNOWN, key="the next key")} == set(Exposures(ledger, "/certs").all())
        assert () == Exposures(ledger, "/other").all()


def test_exposed_keys_of_one_decision_are_one_commit(tmp_path: Path) -> None:
    """However many keys were opened at once."""
    ledger = Ledger.writing(str(tmp_path / "ledger.db"))
    known = Exposures(ledger, "/certs")
    for n in range(500):
        known.add(replace(KNOWN, file=f"client.u{n}.key"))
    before = ledger.changes
    known.settle()
    assert ledger.changes == before + 1
    assert len(Exposures(Ledger.looking(ledger.path), "/certs").all()) == 500


def test_exposed_key_cleared_by_operator(tmp_path: Path) -> None:
    """Every key that had the file's name; none is left, and clearing an unknown one writes nothing."""
    ledger = Ledger.writing(str(tmp_path / "ledger.db"))
    known = Exposures(ledger, "/certs")
    known.clear("node.key")
    known.add(KNOWN)
    known.add(replace(KNOWN, file="ui.key"))
    known.clear("node.key")
    known.settle()
    assert ["ui.key"] == [e.file for e in Exposures(ledger, "/certs").all()]


def test_exposed_key_on_full_disk_is_written_later(tmp_path: Path) -> None:
    """A row that cannot be written is remembered, and written as soon as possible."""
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


def test_exposed_keys_in_older_ledger_are_none(tmp_path: Path) -> None:
    """It has no such table: no key is exposed, also for a read-only user."""
    path = str(tmp_path / "ledger.db")
    Ledger.writing(path)
    assert () == Exposures(Ledger.looking(path), "/certs").all()
