"""What passes through the pipe: what a worker prints is checked field by field, for it talked to a stranger."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from certagent.authority.backends import command
from certagent.authority.backends.program import confinement
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import (
    Answer,
    Failure,
    Issued,
    Pending,
    Renewal,
    Request,
    Roots,
    State,
    Tls,
    dump_answer,
    dump_question,
    error_of,
    failure_of,
    load_answer,
    load_question,
)
from certagent.authority.worker import hidden, ports_of, profile_of, redacted
from certagent.sandbox import Profile
from certagent.sandbox.worker_process import user_of

STATE = {"shared": {}, "own": {}}


def test_worker_request_round_trip() -> None:
    """Names stay a tuple, TLS settings and state are values again."""
    asked = Request("issue", "step", {"url": "https://ca"}, Tls("roots", "ab"), "node", names=("a", "b"), lifetime=9.0)
    state = State({"account": 1}, {"order": [1]})
    assert load_question(dump_question(asked, {"token": "t"}, state)) == (asked, {"token": "t"}, state)


@pytest.mark.parametrize(
    "answer",
    [Issued("PEM"), Roots("PEM"), Renewal(1.0, 2.0, 3.0, "why"), Pending(4.0, "later"), Failure("refused", "no", 5.0)],
)
def test_worker_answer_round_trip(answer: Answer) -> None:
    """Each kind, with its state."""
    assert load_answer(dump_answer(answer, State({"a": 1}, {}))) == (answer, State({"a": 1}, {}))


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        7,
        {},
        {"answer": "issued"},
        {"answer": "issued", "state": STATE},
        {"answer": "nonsense", "chain": "x", "state": STATE},
        {"answer": "issued", "chain": 7, "state": STATE},
        {"answer": "issued", "chain": None, "state": STATE},
        {"answer": "issued", "chain": ["x"], "state": STATE},
        {"answer": "issued", "chain": "x", "more": 1, "state": STATE},
        {"answer": "issued", "chain": "x", "state": {"shared": [], "own": {}}},
        {"answer": "issued", "chain": "x", "state": {"shared": {}, "own": {}, "more": 1}},
        {"answer": "pending", "again_at": "soon", "reason": "x", "state": STATE},
        {"answer": "pending", "again_at": None, "reason": "x", "state": STATE},
        {"answer": "renewal", "start": None, "end": 2, "again_at": 3, "state": STATE},
        {"answer": "pending", "again_at": 1e300, "reason": "x", "state": STATE},
        {"answer": "pending", "again_at": float("nan"), "reason": "x", "state": STATE},
        {"answer": "pending", "again_at": -1, "reason": "x", "state": STATE},
        {"answer": "failure", "kind": 1, "reason": "x", "state": STATE},
        {"answer": "failure", "kind": "refused", "reason": "x", "retry_at": float("inf"), "state": STATE},
    ],
)
def test_worker_answer_malformed_is_one_error(document: Any) -> None:
    """Any other document is one error, never another exception."""
    with pytest.raises(AuthorityError, match="cannot read the worker's answer") as caught:
        load_answer(json.dumps(document).encode())
    assert caught.value.kind == "malformed"


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_worker_answer_not_json_is_error(data: bytes) -> None:
    """Text that is not JSON is the same error."""
    with pytest.raises(AuthorityError, match="cannot read the worker's answer"):
        load_answer(data)


def nested(levels: int) -> Any:
    """A document of so many levels."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("shared", "told"),
    [
        ({"account": {"uri": "https://ca.test/1", "contacts": ["a"]}}, False),
        ({"deep": nested(14)}, False),
        ({"deep": nested(500)}, True),
        ({"large": "x" * (1 << 18)}, True),
        ({"wide": [1] * (1 << 18)}, True),
    ],
    ids=["an account", "as deep as may be", "500 levels", "one large text", "many values"],
)
def test_worker_state_is_bounded(shared: dict[str, Any], told: bool) -> None:
    """A state that is too deep or too large is refused: it would be kept, and spoil every later request."""
    state = {"shared": shared, "own": {}}
    answer = json.dumps({"answer": "pending", "again_at": 1.0, "reason": "later", "state": state}).encode()
    if not told:
        assert load_answer(answer)[1].shared == shared
        return
    with pytest.raises(AuthorityError, match="too deep or too large"):
        load_answer(answer)


def test_worker_text_is_printable_and_short() -> None:
    """Whatever a worker says, no control character and no long text reaches a log or a terminal."""
    said = json.dumps({"answer": "pending", "again_at": 1, "reason": "\x1b[31mlater\n" + "x" * 5000, "state": STATE})
    answer, _ = load_answer(said.encode())
    assert isinstance(answer, Pending)
    assert (answer.reason[:12], len(answer.reason)) == (" [31mlater x", 1000)


def test_worker_error_round_trip() -> None:
    """An error is the same on the other side; an unknown kind is `failed`."""
    at = datetime(2030, 1, 1, tzinfo=UTC)
    found = error_of(failure_of(AuthorityError("cannot", kind="rate-limited", retry_at=at)))
    assert (str(found), found.kind, found.retry_at) == ("cannot", "rate-limited", at)
    assert error_of(Failure("evil", "cannot")).kind == "failed"


def test_worker_failure_hides_secrets() -> None:
    """Whatever a library or a CA echoes: secrets, each line of a key and control characters are removed."""
    said = "cannot: token s3cr3t-token, key line-of-a-key\x1b[31m\n" + "x" * 5000
    found = redacted(Failure("failed", said), ["s3cr3t-token", "-----\nline-of-a-key\n-----"])
    assert isinstance(found, Failure)
    assert found.reason.startswith("cannot: token [secret], key [secret] [31m ")
    assert len(found.reason) == 1000


def test_worker_pending_reason_hides_secrets() -> None:
    """The text of a pending answer comes from a CA, so it is cleaned as well."""
    found = redacted(Pending(5.0, "ticket for s3cr3t-token"), ["s3cr3t-token"])
    assert found == Pending(5.0, "ticket for [secret]")


def test_worker_failure_hides_basic_auth_header() -> None:
    """A server that echoes its request: the HTTP Basic form of user and password is hidden like the password."""
    known = hidden(Request("issue", "est", {"username": "db1"}), {"password": "hunter2"})
    found = redacted(Failure("refused", "bad header Basic ZGIxOmh1bnRlcjI= of hunter2"), known)
    assert found == Failure("refused", "bad header Basic [secret] of [secret]")


def test_worker_ports_and_paths_of_options() -> None:
    """Every URL's port, by its scheme where it has none; every absolute path but the root; however deep."""
    options = {
        "url": "https://ca.example.com:9000/x",
        "more": ["http://[::1]:8080", {"u": "HTTPS://b"}],
        "n": 7,
        "t": "x:5",
    }
    assert ports_of([options, "http://proxy"]) == {9000, 8080, 443, 80}
    assert set(confinement(["/usr/bin/ca", "-x", "/", "/etc/ca"]).read) == {"/usr/bin/ca", "/etc/ca"}
    assert Profile().connect == ()


def test_worker_program_readable_paths() -> None:
    """Its own arguments and `readable` name them; a variable of its environment allows nothing."""
    options = {
        "command": ["/opt/ca", "/etc/ca.conf"],
        "environment": {"CERTS": "/var/lib/cockroach/certs"},
        "readable": ["/etc/ca"],
        "writable": ["/srv/ca"],
    }
    made = profile_of(command, Request("issue", "command", options))
    assert ({"/opt/ca", "/etc/ca.conf", "/etc/ca"}, ("/srv/ca",)) == (set(made.read), made.write)


def test_worker_user_is_named_by_daemon() -> None:
    """The user and the group that the daemon names; any other is refused."""
    assert [(65534, 65533), None] == [user_of("65534:65533"), user_of("-")]
