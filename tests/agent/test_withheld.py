"""What a CA answered, over the control socket: for root and the agent's user alone."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certagent.agent.commands import Commands
from certagent.control.admission import Peer
from certagent.core.facts import Attempt
from certagent.core.words import WITHHELD, framed
from certagent.state.ledger import Ledger

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("uid", "expected"), [
    (0, "«you sent hvs.abc»"),
    (os.geteuid(), "«you sent hvs.abc»"),
    (os.geteuid() + 1, WITHHELD),
])  # fmt: skip
def test_history_withholds_the_words_of_a_ca(tmp_path: Path, uid: int, expected: str) -> None:
    """Another user gets the same rows, without what the CA answered."""
    ledger = Ledger.writing(str(tmp_path / "ledger.db"))
    row = ledger.attempt("/certs", Attempt("issue", "node", NOW, authority="pki"))
    ledger.finish(row, "refused", f"cannot sign: https://ca answered 403: {framed('you sent hvs.abc')}")
    unused: Any = None
    commands = Commands(
        service=unused, directories=unused, path="", workers=unused, ledger=ledger, log=unused, started=NOW
    )
    found = commands.answer("history", {}, Peer(1, uid, uid))
    ledger.close()
    assert [r["reason"] for r in found["rows"]] == [f"cannot sign: https://ca answered 403: {expected}"]
    assert found["ok"]
