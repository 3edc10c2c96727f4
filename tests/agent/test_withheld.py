"""What a CA answered, over the control socket: for root and the agent's user alone."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certagent.agent.commands import Commands
from certagent.control.admission import Peer
from certagent.core.facts import Attempt
from certagent.core.words import WITHHELD, framed, withheld
from certagent.state.directory import StateDirectory
from certagent.state.ledger import Ledger

NOW = datetime(2026, 1, 1, tzinfo=UTC)


OLD = [
    (
        "issue",
        "refused",
        "https://ca answered 403: you sent hvs.abc »",
        "«https://ca answered 403: you sent hvs.abc >»",
    ),
    ("issue", "retry", "in the queue of hvs.abc", "«in the queue of hvs.abc»"),
    ("issue", "ok", "renewal was due", "renewal was due"),
    ("issue", "failed", f"https://ca answered 500: {framed('hvs.abc')}", "https://ca answered 500: «hvs.abc»"),
    ("window", "failed", "hvs.abc", "«hvs.abc»"),
    ("window", "ok", "2026-01-01/2026-01-02 see hvs.abc", "2026-01-01/2026-01-02 «see hvs.abc»"),
    ("window", "ok", "2026-01-01/2026-01-02", "2026-01-01/2026-01-02"),
    ("reload", "failed", "no such process", "no such process"),
]


def test_history_withholds_what_an_earlier_version_wrote(tmp_path: Path) -> None:
    """A ledger without marks is marked when the agent opens it, once: nothing of a CA is left outside of marks."""
    ledger = Ledger.writing(str(tmp_path / "ledger.db"))
    for kind, outcome, reason, _ in OLD:
        ledger.finish(ledger.attempt("/certs", Attempt(kind, "node", NOW)), outcome, reason)  # type: ignore[arg-type]
    ledger.close()
    for _ in range(2):
        state = StateDirectory(str(tmp_path))
        state.open()
        found = [row["reason"] for row in reversed(state.ledger.history("", "", 50))]
        state.ledger.close()
        state.unlock()
        assert found == [expected for *_, expected in OLD]
        assert "hvs" not in str(withheld(found))


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
