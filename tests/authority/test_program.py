"""What the end of a program means, and when it is heard to its end: values in, values out."""

from datetime import timedelta
from typing import Any

import pytest

from certagent import x509
from certagent.authority.backends.command import reading
from certagent.authority.backends.program import Ended, over
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Issued, Pending, Roots
from tests.authority.calling import NOW, key_and_csr, request
from tests.making import make_ca

OPTIONS = {"command": ["/bin/ca"]}
CSR = key_and_csr()[1]


def read(code: int, out: bytes = b"", err: bytes = b"", **changes: Any) -> tuple[Any, str]:
    return reading(request("command", OPTIONS, CSR, **changes), Ended(code, out, err), ["hunter2", ""], NOW)


@pytest.mark.parametrize(("code", "kind"), [
    (1, "failed"),
    (64, "refused"),
    (69, "unreachable"),
    (76, "rate-limited"),
    (77, "refused"),
    (78, "credentials"),
    (-9, "failed"),
])  # fmt: skip
def test_what_a_code_means(code: int, kind: str) -> None:
    """Those of sysexits.h, everything else failed; the last line on standard error is the reason, without a secret."""
    with pytest.raises(AuthorityError, match=r"^cannot get a certificate by /bin/ca: not by \[secret\]$") as caught:
        read(code, err=b"warming up\nnot by hunter2\nstate: x\n")
    assert (kind, None) == (caught.value.kind, caught.value.retry_at)


@pytest.mark.parametrize(("code", "words"), [(1, "exit code 1"), (-9, "signal 9")])
def test_an_end_without_a_word(code: int, words: str) -> None:
    """How it ended is all there is to say."""
    with pytest.raises(AuthorityError, match=f"it ended with {words} and printed no reason"):
        read(code)


def test_when_a_program_wants_to_be_asked_again() -> None:
    """`retry-after:` on either output, with a failure as with a request that stands."""
    with pytest.raises(AuthorityError) as caught:
        read(76, out=b"retry-after: 90\n")
    assert NOW + timedelta(seconds=90) == caught.value.retry_at
    for err, seconds in ((b"retry-after: 90\n", 90), (b"", 300)):
        answer, memory = read(75, err=err)
        assert isinstance(answer, Pending)
        assert (seconds, "") == (answer.again_at - NOW.timestamp(), memory)


def test_what_a_program_is_reminded_of() -> None:
    """The last `state:`, bounded, and only while the request stands."""
    assert [("two", 4096)] == [(read(75, b"state: one\nstate: two")[1], len(read(75, b"state: " + b"x" * 9999)[1]))]
    pem = make_ca().cert
    assert (Roots(pem.decode()), "") == read(0, pem, b"state: one\n", operation="roots")


def test_what_a_program_printed_is_no_certificate() -> None:
    """A success with rubbish is none; nor is the certificate of another key."""
    for out in (b"", b"done", make_ca().pair()[0]):
        with pytest.raises(AuthorityError, match="cannot use what /bin/ca printed") as caught:
            read(0, out)
        assert "malformed" == caught.value.kind


def test_what_a_program_issued() -> None:
    """The leaf of our key, whatever is printed around it."""
    ca = make_ca()
    cert, key = ca.pair()
    answer, _ = reading(
        request("command", OPTIONS, x509.make_csr(key, "node", ("localhost",))),
        Ended(0, ca.cert + b"text\n" + cert, b""),
        [],
        NOW,
    )
    assert Issued(cert.decode()) == answer


@pytest.mark.parametrize(("ended", "open_outputs", "settled", "expected"), [
    (False, 2, False, False),
    (False, 0, False, False),  # it closed both and works on
    (True, 2, False, False),  # there may be something left to read
    (True, 1, False, False),
    (True, 0, False, True),
    (True, 2, True, True),  # a descendant holds them
])  # fmt: skip
def test_when_a_program_is_heard_to_its_end(*, ended: bool, open_outputs: int, settled: bool, expected: bool) -> None:
    """When it ended and its outputs are closed, or were silent after that."""
    assert expected == over("ca", ended=ended, open_outputs=open_outputs, settled=settled, left=1.0)


def test_when_a_program_is_not_heard_any_longer() -> None:
    """At the deadline, unless everything was heard by then."""
    with pytest.raises(AuthorityError, match="it did not finish before the deadline") as caught:
        over("ca", ended=False, open_outputs=2, settled=False, left=-0.1)
    assert "unreachable" == caught.value.kind
    assert over("ca", ended=True, open_outputs=0, settled=False, left=-0.1)
