"""What is decided about a drop-box, without a file: what is read, what answers, what is withdrawn."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from certagent import x509
from certagent.authority.backends.dropbox_contents import (
    REMEMBERED,
    TOTAL,
    Contents,
    Exchange,
    Found,
    contents_of,
    exchange,
)
from tests.authority.calling import NOW, key_and_csr, request
from tests.making import make_ca

CSR, OTHERS = key_and_csr()[1], key_and_csr()[1]
SPKI = x509.parse_request(CSR).spki
NAME = f"db1.node.{SPKI[:12]}.csr"
CA = make_ca()


def signed(csr: bytes = CSR) -> bytes:
    return x509.sign_csr(
        csr, CA.cert, CA.key, server=True, client=True, not_before=NOW, not_after=NOW + timedelta(days=30)
    )


def found(pem: bytes, file: str = "cert.pem") -> tuple[Found, ...]:
    return contents_of([(file, pem)], 0).found


def decided(own: dict[str, object], *lying: Found, live: str = "") -> Exchange:
    options = {"outbox": "/out", "inbox": "/in", "remind": 86400.0}
    return exchange(request("dropbox", options, CSR, live=live), own, lying, "db1")


@pytest.mark.parametrize(
    ("own", "known", "withdrawn"),
    [
        ({}, False, ()),
        ({"file": NAME}, True, ()),
        ({"file": "db1.node.0.csr"}, False, ("db1.node.0.csr",)),
    ],
)
def test_dropbox_pending_request_named_by_key(own: dict[str, object], known: bool, withdrawn: tuple[str, ...]) -> None:
    """The request file is named by its key; one of another key is withdrawn first."""
    assert decided(own, *found(signed(OTHERS))) == Exchange(name=NAME, known=known, withdrawn=withdrawn)


def test_dropbox_answer_known_by_key_taken_once() -> None:
    """A certificate for the key answers once; the live one, and one that was taken before, do not."""
    pem = signed()
    made = decided({"answered": ["0"] * REMEMBERED}, *found(pem))
    assert (made.chain, made.taken) == (pem.decode(), ("cert.pem",))
    assert made.answered == (*["0"] * (REMEMBERED - 1), found(pem)[0].fingerprint)
    assert decided({"answered": [*made.answered]}, *found(pem)).chain == ""
    assert decided({}, *found(pem), live=pem.decode()).chain == ""


def test_dropbox_inbox_over_limit_reads_no_more() -> None:
    """The total size of an inbox is bounded: files beyond the limit are not read, and the answer says so."""

    def files() -> Iterator[tuple[str, bytes | str]]:
        yield "a\n.pem", "it is not a regular file"
        yield "b.pem", signed()
        yield "c.pem", bytes(TOTAL)
        raise AssertionError

    made = contents_of(files(), 3)
    assert [f.file for f in made.found] == ["b.pem"]
    ignored = ("a?.pem (it is not a regular file)", "the rest (too many or too large files)", "3 more files")
    assert made == Contents(found=made.found, ignored=ignored)
