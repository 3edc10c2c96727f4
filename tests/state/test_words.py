"""What people said about a rotation: on the disk before the answer, shown by `history`, ended with the rotation."""

from dataclasses import replace
from pathlib import Path

import pytest

from certagent.core.facts import Attempt, Word
from certagent.posix.errors import HostError
from certagent.state.ledger import Ledger
from certagent.state.words import Words
from tests.core.building import DAY, NOW

PAUSE = Word(kind="pause", bundle="ca", root="r1", at=NOW, by="uid 0, pid 7")
FORCE = Word(kind="force", bundle="ca", root="r1", at=NOW - DAY, peer="a:26257", by="uid 0, pid 7")


def attempt(word: Word) -> Attempt:
    return Attempt("command", word.bundle, word.at, "ok", f"asked by {word.by}", command=f"rotation {word.kind}")


def test_words_survive_a_restart(tmp_path: Path) -> None:
    """Oldest first; the same word said again replaces the former; each directory has its own."""
    path = str(tmp_path / "ledger.db")
    ledger = Ledger.writing(path)
    words = Words(ledger, "/certs")
    assert words.all() == ()
    for word in (replace(PAUSE, at=NOW - 2 * DAY), PAUSE, FORCE):
        words.say(word, attempt(word))
    for seen in (ledger, Ledger.looking(path), Ledger.writing(path)):
        assert Words(seen, "/certs").all() == (FORCE, PAUSE)
        assert Words(seen, "/other").all() == ()


def test_words_are_in_the_history(tmp_path: Path) -> None:
    """Who said it, and when; also that it was taken back."""
    ledger = Ledger.writing(str(tmp_path / "ledger.db"))
    words = Words(ledger, "/certs")
    before = ledger.changes
    words.say(PAUSE, attempt(PAUSE))
    words.say(FORCE, attempt(FORCE))
    words.take_back([PAUSE], Attempt("command", "ca", NOW, "ok", "asked by uid 0, pid 8", command="rotation resume"))
    assert (words.all(), ledger.changes > before) == ((FORCE,), True)
    shown = [(row["kind"], row["subject"], row["digest"]) for row in ledger.history("/certs", "ca", 9)]
    assert shown == [("command", "ca", f"rotation {what}") for what in ("resume", "force", "pause")]


def test_word_that_cannot_be_written_is_no_word(tmp_path: Path) -> None:
    """A person who is told that it counts can believe it."""
    ledger = Ledger.writing(str(tmp_path / "ledger.db"))
    ledger.execute("pragma query_only = on")
    words = Words(ledger, "/certs")
    with pytest.raises(HostError):
        words.say(PAUSE, attempt(PAUSE))
    assert words.all() == ()
