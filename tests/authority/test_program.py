"""What the end of a program means, and when it is heard to its end: values in, values out."""

from datetime import timedelta
from typing import Any

import pytest

from certagent import x509
from certagent.authority.backends.command import reading
from certagent.authority.backends.program import Ended, over, with_secret
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
def test_program_exit_codes(code: int, kind: str) -> None:
    """The codes of sysexits.h, else failed; the last line on standard error is the reason, without a secret."""
    with pytest.raises(AuthorityError, match=r"^cannot get a certificate by /bin/ca: «not by \[secret\]»$") as caught:
        read(code, err=b"warming up\nnot by hunter2\nstate: x\n")
    assert (kind, None) == (caught.value.kind, caught.value.retry_at)


@pytest.mark.parametrize(("code", "words"), [(1, "exit code 1"), (-9, "signal 9")])
def test_program_without_output_reports_exit(code: int, words: str) -> None:
    """The exit code or signal is the whole reason."""
    with pytest.raises(AuthorityError, match=f"it ended with {words} and printed no reason"):
        read(code)


def test_program_retry_after() -> None:
    """`retry-after:` on either output, for a failure as for a pending request."""
    with pytest.raises(AuthorityError) as caught:
        read(76, out=b"retry-after: 90\n")
    assert NOW + timedelta(seconds=90) == caught.value.retry_at
    for err, seconds in ((b"retry-after: 90\n", 90), (b"", 300)):
        answer, memory = read(75, err=err)
        assert isinstance(answer, Pending)
        assert (seconds, "") == (answer.again_at - NOW.timestamp(), memory)


def test_program_state_is_kept_while_pending() -> None:
    """The last `state:`, bounded, and only while the request is pending."""
    assert [("two", 4096)] == [(read(75, b"state: one\nstate: two")[1], len(read(75, b"state: " + b"x" * 9999)[1]))]
    pem = make_ca().cert
    assert (Roots(pem.decode()), "") == read(0, pem, b"state: one\n", operation="roots")


def test_program_output_not_certificate_is_failure() -> None:
    """A success with other output is a failure; so is the certificate of another key."""
    for out in (b"", b"done", make_ca().pair()[0]):
        with pytest.raises(AuthorityError, match="cannot use what /bin/ca printed") as caught:
            read(0, out)
        assert "malformed" == caught.value.kind


def test_program_output_certificate_with_text_around() -> None:
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
def test_program_output_is_complete_after_exit(
    *, ended: bool, open_outputs: int, settled: bool, expected: bool
) -> None:
    """When it has exited and its outputs are closed, or were silent after that."""
    assert expected == over("ca", ended=ended, open_outputs=open_outputs, settled=settled, left=1.0)


def test_program_output_ends_at_deadline() -> None:
    """At the deadline, unless everything was read by then."""
    with pytest.raises(AuthorityError, match="it did not finish before the deadline") as caught:
        over("ca", ended=False, open_outputs=2, settled=False, left=-0.1)
    assert "unreachable" == caught.value.kind
    assert over("ca", ended=True, open_outputs=0, settled=False, left=-0.1)


def test_program_secret_is_behind_a_descriptor() -> None:
    """The environment of a program says which descriptor the secret is behind; without a secret it says nothing."""
    assert {"HOME": "/", "CERTAGENT_SECRET_FD": "7"} == with_secret({"HOME": "/"}, [7])
    assert {"HOME": "/"} == with_secret({"HOME": "/"}, [])
