"""What a CA said is in marks, and can be withheld wherever a sentence went."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certagent.core.words import BEGIN, END, WITHHELD, framed, withheld


def test_words_withheld_in_a_whole_document() -> None:
    """In every text of it, however deep; numbers, names and our own words stay."""
    said = f"cannot sign: URL answered 403: {framed('token abc is bad')}; see token"
    found = withheld({"a": [said, 5, None], "b": {"c": (framed("x"), "ours")}})
    kept = f"cannot sign: URL answered 403: {WITHHELD}; see token"
    assert found == {"a": [kept, 5, None], "b": {"c": [WITHHELD, "ours"]}}


def test_words_nothing_said_has_no_marks() -> None:
    """An empty answer stays empty, so that a sentence can say so."""
    assert framed("") == ""


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_words_of_a_sentence_that_was_cut_are_withheld(cut: int) -> None:
    """Where the end of a sentence was cut off, and with it the second mark, the rest is withheld."""
    assert withheld(f"refused: {framed('x' * 40)}"[:-cut]) == f"refused: {WITHHELD}"


@given(st.text(alphabet=f"ab{BEGIN}{END}", max_size=30), st.integers(0, 40))
def test_words_cannot_leave_their_marks(text: str, end: int) -> None:
    """Whatever is said, marks included: nothing of it is left, wherever the sentence ends."""
    whole = f"A {framed('Q' + text + 'Q')} Z"
    assert "Q" not in withheld(whole[:end])
    assert withheld(whole) == f"A {WITHHELD} Z"
