"""The starts of the agent: known across restarts and full disks, and bounded."""

from datetime import timedelta
from pathlib import Path

from certagent.core.restarts import Start
from certagent.state.ledger import Ledger
from certagent.state.starts import KEPT, Starts
from tests.core.building import NOW

LATER = NOW + timedelta(minutes=1)


def test_starts_and_stops_survive_restart(tmp_path: Path) -> None:
    """A stop belongs to the start of its own process; who only reads writes none."""
    path = str(tmp_path / "ledger.db")
    assert Starts(Ledger.looking(path)).all() == ()
    first, second = Starts(Ledger.writing(path)), Starts(Ledger.writing(path))
    assert first.all() == ()
    first.begin(NOW)
    first.end()
    second.begin(LATER)
    expected = (Start(at=NOW, stopped=True), Start(at=LATER))
    assert [Starts(ledger(path)).all() for ledger in (Ledger.writing, Ledger.looking)] == [expected, expected]


def test_starts_are_bounded(tmp_path: Path) -> None:
    """An agent that ends every five seconds fills no disk: the newest twenty starts stay."""
    path = str(tmp_path / "ledger.db")
    ledger = Ledger.writing(path)
    for number in range(KEPT + 5):
        Starts(ledger).begin(NOW + timedelta(seconds=number))
    known = Starts(ledger).all()
    assert (len(known), known[-1].at) == (KEPT, NOW + timedelta(seconds=KEPT + 4))


def test_start_on_full_disk_is_written_later(tmp_path: Path) -> None:
    """A stop before that is no stop of an earlier process."""
    path = str(tmp_path / "ledger.db")
    Starts(Ledger.writing(path)).begin(NOW)
    ledger = Ledger.writing(path)
    ledger.execute("pragma query_only = on")
    starts = Starts(ledger)
    starts.begin(LATER)
    starts.end()
    assert starts.all() == (Start(at=NOW),)
    ledger.execute("pragma query_only = off")
    assert starts.all() == (Start(at=NOW), Start(at=LATER))


def test_starts_of_closed_ledger_are_those_read_last(tmp_path: Path) -> None:
    """A state directory that no longer responds clears no finding."""
    ledger = Ledger.writing(str(tmp_path / "ledger.db"))
    starts = Starts(ledger)
    starts.begin(NOW)
    known = starts.all()
    ledger.close()
    starts.end()
    assert starts.all() == known == (Start(at=NOW),)
