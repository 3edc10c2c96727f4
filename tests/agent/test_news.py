"""What was done, in words for the log."""

import pytest

from certagent.agent.news import step
from certagent.core.actions import Action, Adopt, RecordProof, RejectCommand, RejectStaged


@pytest.mark.parametrize(("action", "words"), [
    (RecordProof("4711:1000", "m", "it serves it"), "verified pid 4711"),
    (RejectCommand("renew", "node", "no authority"), "cancelled the command for node"),
    (RejectStaged("ui", ("a", "b"), "expired"), "set aside ui"),
    (Adopt("node", "f", "w", "found"), "took over node"),
])  # fmt: skip
def test_log_step_is_a_sentence_of_the_house(action: Action, words: str) -> None:
    """The words of `plan --json` are an interface; the log has its own where they say little."""
    assert step(action) == words
