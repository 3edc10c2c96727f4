"""Our verdict on thousands of damaged key files is that of Go's tls.X509KeyPair."""

from collections import Counter

import pytest

from certagent import x509
from tests.verifying import mutants
from tests.verifying.go import ask_pairs

pytestmark = [pytest.mark.slow, pytest.mark.real]
COUNT, SEED = 3000, 20261130
NEWER = "from 1.24 on"  # says the sentence about what the oldest Go in use still took


def ours(cert: bytes, key: bytes) -> str:
    """Why we would not use the pair, "" where we would."""
    try:
        return "" if x509.parse_key(key)[0] == x509.parse_certificates(cert)[0].spki else "another key"
    except x509.X509Error as error:
        return error.message


def test_keys_damaged_agree_with_go() -> None:
    """A key file is readable exactly if X509KeyPair loads it; CRT values are judged as by Go 1.24."""
    rows = list(mutants.keys(COUNT, SEED))
    theirs = ask_pairs((cert, key) for _, cert, key in rows)
    mine = [ours(cert, key) for _, cert, key in rows]
    differ = [
        (label, key, own, go)
        for (label, _, key), own, go in zip(rows, mine, theirs, strict=True)
        if (own == "") != (go == "") and NEWER not in own
    ]
    assert differ == []
    assert min(Counter(go == "" for go in theirs).values()) > COUNT / 5


def test_keys_valid_agree_with_go() -> None:
    """Each kind of key in each form that tools write is read by both."""
    assert {*ask_pairs(mutants.pairs())} == {""} == {ours(*pair) for pair in mutants.pairs()}
