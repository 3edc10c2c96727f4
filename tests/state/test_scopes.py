"""The `crdb://` URIs that pairs are limited to: known across restarts and full disks."""

from pathlib import Path

from certagent.state.ledger import Ledger
from certagent.state.scopes import Scopes
from tests.core.building import NOW

URIS = ("crdb://tenant/1/user/root", "crdb://tenant/10/user/root")


def test_recorded_uris_survive_restart(tmp_path: Path) -> None:
    """They are on the disk; a later record replaces the one before, also by none; other directories have their own."""
    path = str(tmp_path / "ledger.db")
    first = Scopes(Ledger.writing(path), "/certs")
    assert first.all() == {}
    first.add("client.root", URIS, NOW)
    first.add("client.app", URIS, NOW)
    first.add("client.app", (), NOW)
    for ledger in (Ledger.writing(path), Ledger.looking(path)):
        assert Scopes(ledger, "/certs").all() == {"client.root": URIS, "client.app": ()}
        assert Scopes(ledger, "/other").all() == {}


def test_recorded_uris_on_full_disk_are_written_later(tmp_path: Path) -> None:
    """What cannot be written is remembered, and written as soon as possible."""
    path = str(tmp_path / "ledger.db")
    ledger = Ledger.writing(path)
    ledger.execute("pragma query_only = on")
    known, before = Scopes(ledger, "/certs"), ledger.changes
    known.add("client.root", URIS, NOW)
    assert known.all() == {"client.root": URIS}
    assert ledger.changes > before
    ledger.execute("pragma query_only = off")
    known.settle()
    assert Scopes(Ledger.looking(path), "/certs").all() == {"client.root": URIS}
