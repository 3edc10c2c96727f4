"""What the clock was believed to be at this boot of the host."""

from datetime import timedelta
from pathlib import Path

from certagent.state.boots import Boots, this_boot
from certagent.state.ledger import Ledger
from tests.core.building import NOW

HOUR = timedelta(hours=1)


def test_boot_is_known_to_the_next_agent_of_the_same_boot(tmp_path: Path) -> None:
    """The newest moment that was believed; after another boot nothing is known, and the clock is believed."""
    path = str(tmp_path / "ledger.db")
    first = Boots(Ledger.writing(path), "a")
    assert first.begin() is None
    assert first.remember(NOW)
    assert first.remember(NOW + HOUR)
    assert [Boots(Ledger.looking(path), boot).begin() for boot in ("a", "b")] == [NOW + HOUR, None]


def test_boot_that_cannot_be_recorded_is_recorded_later(tmp_path: Path) -> None:
    """Who may only read the ledger writes nothing, and a full disk is no error."""
    path = str(tmp_path / "ledger.db")
    Ledger.writing(path).close()
    assert not Boots(Ledger.looking(path), "a").remember(NOW)
    assert Boots(Ledger.looking(path), "a").begin() is None


def test_boot_has_the_same_name_for_every_process() -> None:
    """The kernel's id of the boot."""
    assert this_boot()
    assert this_boot() == this_boot()
