"""Which damaged certificates load is what Go's parser says, of thousands; and what it says of the corpus."""

from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest

from certagent import x509
from certagent.x509 import gocert, pem
from tests.verifying import mutants
from tests.verifying.chains import cases
from tests.verifying.go import ask

pytestmark = [pytest.mark.slow, pytest.mark.real]
CORPUS = Path(__file__).parent.parent / "x509" / "corpus"
RECENT = 27  # of Go 1.x: an older one takes what a caveat says, and a number in an object identifier with zeros before
OLDER = ("some versions", "older versions", "Go 1.24.8")  # caveats about what the newest one loads
COUNT, SEED = 4000, 20261130


@lru_cache
def seeds() -> list[bytes]:
    """Certificates of all kinds as DER: those of the chains, and the odd ones."""
    files = [case.certs + case.bundle for case in cases()[:100]] + [p.read_bytes() for p in CORPUS.rglob("*.crt")]
    return list(dict.fromkeys(der for file in files for _, der in pem.blocks(file)))


def ours(file: bytes) -> str:
    """Why Go refuses the file, by our reading; "" where it loads it."""
    try:
        caveat = gocert.parse(next(pem.blocks(file))[1]).caveat
        return "" if caveat.startswith(OLDER) else caveat
    except ValueError as error:
        return str(error)


def test_certificates_damaged_agree_with_go() -> None:
    """A certificate is refused, or has a caveat, exactly if Go refuses it."""
    rows = list(mutants.certificates(seeds(), COUNT, SEED))
    theirs = ask(((row, b"", "", 0) for row in rows), RECENT)
    mine = [ours(row) for row in rows]
    differ = [said for said in zip(mine, theirs, rows, strict=True) if (said[0] == "") != (said[1] == "")]
    assert differ == []
    assert min(Counter(go == "" for go in theirs).values()) > COUNT / 5


def test_certificates_that_go_loads_are_read() -> None:
    """Nearly everything that Go loads has facts; a certificate without facts is told apart from a broken one."""
    kinds: Counter[str] = Counter()
    for row in mutants.certificates(seeds(), COUNT, SEED):
        if ours(row) == "":
            try:
                kinds["read"] += bool(x509.parse_certificates(row))
            except x509.X509Error as error:
                kinds[error.kind] += 1
    assert kinds["unparsable"] == 0
    assert kinds["unread"] <= kinds["read"] / 100
