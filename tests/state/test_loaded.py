"""What processes have loaded is remembered: across restarts of the agent, and where nothing can be written."""

from datetime import UTC, datetime
from pathlib import Path

from certagent.state.ledger import Ledger
from certagent.state.loaded import KEEP, LoadedFiles

NOW = datetime(2026, 11, 30, tzinfo=UTC)
FILES = {"ca": b"bundle", "node": b"\x00\xff"}


def test_what_is_remembered_outlives_the_agent(tmp_path: Path) -> None:
    """Byte for byte, for each directory on its own."""
    path = str(tmp_path / "ledger.db")
    LoadedFiles(Ledger.writing(path), "/a").remember("one", FILES, NOW)
    for ledger in (Ledger.writing(path), Ledger.looking(path)):
        assert LoadedFiles(ledger, "/a").known() == {"one": FILES}
        assert LoadedFiles(ledger, "/b").known() == {}


def test_a_ledger_of_before_knows_nothing(tmp_path: Path) -> None:
    """The table is made when something is remembered first; reading a ledger without it is no error."""
    path = str(tmp_path / "ledger.db")
    assert LoadedFiles(Ledger.writing(path), "/a").known() == {}
    assert LoadedFiles(Ledger.looking(path), "/a").known() == {}


def test_the_newest_few_are_kept_in_order(tmp_path: Path) -> None:
    """What is loaded again becomes the newest."""
    loaded = LoadedFiles(Ledger.writing(str(tmp_path / "ledger.db")), "/a")
    for n in range(KEEP + 2):
        loaded.remember(str(n), FILES, NOW)
    assert list(loaded.known()) == [str(n) for n in range(2, KEEP + 2)]
    loaded.remember("2", FILES, NOW)
    assert list(loaded.known()) == [*(str(n) for n in range(3, KEEP + 2)), "2"]


def test_rubbish_in_the_table_is_passed_over(tmp_path: Path) -> None:
    """It is as if nothing were known of that material."""
    ledger = Ledger.writing(str(tmp_path / "ledger.db"))
    loaded = LoadedFiles(ledger, "/a")
    loaded.remember("one", FILES, NOW)
    ledger.execute("insert into loaded values ('/a', 'bad', 'no json', 0)")
    assert LoadedFiles(ledger, "/a").known() == {"one": FILES}


def test_what_cannot_be_written_is_known_until_the_agent_ends(tmp_path: Path) -> None:
    """A disk that is full must not make the agent forget what it has verified."""
    ledger = Ledger.writing(str(tmp_path / "ledger.db"))
    loaded = LoadedFiles(ledger, "/a")
    ledger.execute("pragma query_only = on")
    loaded.remember("one", FILES, NOW)
    assert loaded.known() == {"one": FILES}
    assert LoadedFiles(ledger, "/a").known() == {}
