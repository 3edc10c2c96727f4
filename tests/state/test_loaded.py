"""What processes have loaded is remembered: across restarts of the agent, and where nothing can be written."""

from datetime import UTC, datetime
from pathlib import Path

from certagent.state.ledger import Ledger
from certagent.state.loaded import KEEP, LoadedFiles

NOW = datetime(2026, 11, 30, tzinfo=UTC)
FILES = {"ca": b"bundle", "node": b"\x00\xff"}


def test_loaded_material_survives_restart(tmp_path: Path) -> None:
    """Byte for byte, for each directory on its own."""
    path = str(tmp_path / "ledger.db")
    LoadedFiles(Ledger.writing(path), "/a").remember("one", FILES, NOW)
    for ledger in (Ledger.writing(path), Ledger.looking(path)):
        assert LoadedFiles(ledger, "/a").known() == {"one": FILES}
        assert LoadedFiles(ledger, "/b").known() == {}


def test_loaded_material_in_older_ledger_is_none(tmp_path: Path) -> None:
    """The table is made with the first row; reading a ledger without it is not an error."""
    path = str(tmp_path / "ledger.db")
    assert LoadedFiles(Ledger.writing(path), "/a").known() == {}
    assert LoadedFiles(Ledger.looking(path), "/a").known() == {}


def test_loaded_material_newest_are_kept_in_order(tmp_path: Path) -> None:
    """Material that is loaded again becomes the newest."""
    loaded = LoadedFiles(Ledger.writing(str(tmp_path / "ledger.db")), "/a")
    for n in range(KEEP + 2):
        loaded.remember(str(n), FILES, NOW)
    assert list(loaded.known()) == [str(n) for n in range(2, KEEP + 2)]
    loaded.remember("2", FILES, NOW)
    assert list(loaded.known()) == [*(str(n) for n in range(3, KEEP + 2)), "2"]


def test_loaded_material_malformed_row_is_skipped(tmp_path: Path) -> None:
    """Such material counts as unknown."""
    ledger = Ledger.writing(str(tmp_path / "ledger.db"))
    loaded = LoadedFiles(ledger, "/a")
    loaded.remember("one", FILES, NOW)
    ledger.execute("insert into loaded values ('/a', 'bad', 'no json', 0)")
    assert LoadedFiles(ledger, "/a").known() == {"one": FILES}


def test_loaded_material_on_full_disk_is_kept_in_memory(tmp_path: Path) -> None:
    """A disk that is full must not make the agent forget verified material."""
    ledger = Ledger.writing(str(tmp_path / "ledger.db"))
    loaded = LoadedFiles(ledger, "/a")
    ledger.execute("pragma query_only = on")
    loaded.remember("one", FILES, NOW)
    assert loaded.known() == {"one": FILES}
    assert LoadedFiles(ledger, "/a").known() == {}
