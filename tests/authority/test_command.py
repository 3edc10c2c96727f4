"""Programs as CAs: what they are told, what their exit codes mean, what they cannot do."""

import os
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certagent import x509
from certagent.authority.backends.command import ask
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Answer, Issued, Pending, Roots, State
from tests.authority.calling import NAMES, NOW, context, key_and_csr, request
from tests.making import make_ca
from tests.waiting import in_time


def script(tmp_path: Path, body: str) -> str:
    path = tmp_path / "ca"
    path.write_text(f"#!/bin/bash\nset -euo pipefail\n{body}\n")
    path.chmod(0o755)
    return str(path)


def answer(tmp_path: Path, body: str, csr: bytes = b"", state: State | None = None, **changes: Any) -> Answer:
    """What a script answers."""
    options = {"command": [script(tmp_path, body), "an argument"], **changes.pop("options", {})}
    secrets = changes.pop("secrets", {})
    return ask(request("command", options, csr or key_and_csr()[1], **changes), context(state=state, **secrets))


def failure(tmp_path: Path, body: str, **changes: Any) -> AuthorityError:
    with pytest.raises(AuthorityError) as caught:
        answer(tmp_path, body, **changes)
    assert str(caught.value).startswith("cannot ")
    assert "\n" not in str(caught.value)
    return caught.value


def signing(tmp_path: Path) -> tuple[bytes, str]:
    """A CA in files, and the lines of a script that signs with it."""
    ca = make_ca()
    (tmp_path / "ca.pem").write_bytes(ca.cert)
    (tmp_path / "ca.key").write_bytes(ca.key)
    sign = f"openssl x509 -req -CA {tmp_path}/ca.pem -CAkey {tmp_path}/ca.key -days 9 -copy_extensions copy"
    return ca.cert, f"{sign} 2>/dev/null"


def test_command_issues_from_stdin_to_stdout(tmp_path: Path) -> None:
    """CSR on standard input, PEM on standard output, exit code 0."""
    root, sign = signing(tmp_path)
    key, csr = key_and_csr()
    found = answer(tmp_path, f"echo 'a line before'; {sign}; cat {tmp_path}/ca.pem", csr)
    assert isinstance(found, Issued)
    leaf, *chain = x509.parse_certificates(found.chain.encode())
    assert (leaf.spki, leaf.sans, chain) == (x509.parse_key(key)[0], ("DNS:db1.example.com", "IP:10.0.0.5"), [])
    assert root.decode() not in found.chain


def test_command_environment_is_documented(tmp_path: Path) -> None:
    """Every documented variable, the configured ones, and nothing of the agent's own environment."""
    body = f'env > {tmp_path}/environ; echo "$1" > {tmp_path}/argument; '
    body += f'cat "/dev/fd/$CERTAGENT_SECRET_FD" > {tmp_path}/secret; exit 77'
    changes: dict[str, Any] = {"lifetime": 3600.0, "live": "-----BEGIN", "secrets": {"secret": "open sesame"}}
    changes |= {"options": {"environment": {"REGION": "eu"}}, "state": State(own={"state": "ticket 7"})}
    failure(tmp_path, body, **changes)
    told = dict(line.partition("=")[::2] for line in (tmp_path / "environ").read_text().splitlines())
    expected = {
        "CERTAGENT_OPERATION": "issue",
        "CERTAGENT_NAME": "node",
        "CERTAGENT_NAMES": " ".join(NAMES),
        "CERTAGENT_SAN": "DNS:db1.example.com,IP:10.0.0.5",
        "CERTAGENT_PRINCIPAL": "node",
        "CERTAGENT_USAGE": "serverAuth,clientAuth",
        "CERTAGENT_LIFETIME": "3600",
        "CERTAGENT_LIVE": "-----BEGIN",
        "CERTAGENT_STATE": "ticket 7",
        "REGION": "eu",
        "LANG": "C.UTF-8",
    }
    assert expected == {k: told.get(k) for k in expected}
    assert 0 < int(told["CERTAGENT_TIMEOUT"]) <= 20
    others = {"CERTAGENT_SECRET_FD", "CERTAGENT_TIMEOUT", "PATH", "HOME", "TMPDIR", "PWD", "SHLVL", "_"}
    assert set(told) - set(expected) <= others
    assert (tmp_path / "secret").read_text() == "open sesame"
    assert "open sesame" not in (tmp_path / "environ").read_text()
    assert "an argument\n" == (tmp_path / "argument").read_text()
    assert not os.path.exists(told["HOME"]), "its own directory is gone with it"


CODES = [
    (64, "refused"),
    (69, "unreachable"),
    (76, "rate-limited"),
    (77, "refused"),
    (78, "credentials"),
    (1, "failed"),
    (255, "failed"),
]


@pytest.mark.parametrize(("code", "kind"), CODES)
def test_command_exit_codes(tmp_path: Path, code: int, kind: str) -> None:
    """Each documented exit code says who can act; the last line of standard error is the reason."""
    found = failure(tmp_path, f"echo first >&2; echo 'the quota is used up' >&2; echo >&2; exit {code}")
    assert (found.kind, "the quota is used up" in str(found), "first" in str(found)) == (kind, True, False)


def test_command_silent_failure_reports_exit_code(tmp_path: Path) -> None:
    """Without output the exit code or the signal is the reason."""
    assert "exit code 3 and printed no reason" in str(failure(tmp_path, "exit 3"))
    assert "signal 9" in str(failure(tmp_path, "kill -9 $$"))


@pytest.mark.parametrize("code", [76, 69, 77])
def test_command_next_attempt_time_is_read(tmp_path: Path, code: int) -> None:
    """A line `retry-after: SECONDS` on either output is the CA's Retry-After, and not part of the reason."""
    found = failure(tmp_path, f"echo 'busy' >&2; echo 'Retry-After: 90' >&2; exit {code}")
    assert (found.retry_at, "busy" in str(found), "retry" in str(found).lower()) == (
        NOW + timedelta(seconds=90),
        True,
        False,
    )


def test_command_exit_75_is_pending_with_state(tmp_path: Path) -> None:
    """75: the request is pending; `state` is passed to the next call and dropped after the answer."""
    state = State()
    ask_for = """test "$CERTAGENT_STATE" = 4711 && exit 77
        echo "state: 4711"; echo "retry-after: 60"; echo "in the queue" >&2; exit 75"""
    waiting = answer(tmp_path, ask_for, state=state)
    assert isinstance(waiting, Pending)
    assert (waiting.again_at, waiting.reason) == ((NOW + timedelta(seconds=60)).timestamp(), "«in the queue»")
    assert {"state": "4711"} == state.own
    assert "refused" == failure(tmp_path, ask_for, state=state).kind
    assert {} == state.own


def test_command_exit_75_without_retry_after_waits_five_minutes(tmp_path: Path) -> None:
    """75 without a moment: five minutes."""
    waiting = answer(tmp_path, "exit 75")
    assert isinstance(waiting, Pending)
    assert waiting.again_at == (NOW + timedelta(minutes=5)).timestamp()


def test_command_roots(tmp_path: Path) -> None:
    """`CERTAGENT_OPERATION=roots`: PEM on standard output."""
    root, _ = signing(tmp_path)
    found = answer(tmp_path, f'test "$CERTAGENT_OPERATION" = roots; cat {tmp_path}/ca.pem', operation="roots")
    assert isinstance(found, Roots)
    assert found.pem.encode() == root


ANSWERS = [
    ("nothing", "true", "the file is empty"),
    ("no PEM", "echo hello", "contains no certificate"),
    ("half a certificate", "head -c 200 {ca}", "contains no certificate"),
    ("another key's", "cat {ca}", "matches the key"),
    ("bytes", r"printf '\377'; head -c 1000 /dev/urandom", "contains no certificate"),  # 0x30 would begin DER
]


@pytest.mark.parametrize(("label", "body", "words"), ANSWERS, ids=[a[0] for a in ANSWERS])
def test_command_exit_0_without_certificate_is_failure(tmp_path: Path, label: str, body: str, words: str) -> None:
    """Exit code 0 and output that is not a certificate for the request."""
    signing(tmp_path)
    found = failure(tmp_path, body.format(ca=tmp_path / "ca.pem"))
    assert (found.kind, words in str(found)) == ("malformed", True), (label, str(found))


@pytest.mark.parametrize("where", ["/dev/stdout", "/dev/stderr"])
def test_command_endless_output_is_stopped(tmp_path: Path, where: str) -> None:
    """A program that prints without end is stopped, in bounded memory, before the deadline."""
    assert "malformed" == failure(tmp_path, f"exec cat /dev/zero > {where}").kind


def test_command_deadline_kills_program(tmp_path: Path) -> None:
    """A program that hangs is killed at the deadline, and is gone."""
    body = f"echo $$ > {tmp_path}/pid; exec sleep 600"
    asked = request("command", {"command": [script(tmp_path, body)]}, key_and_csr()[1])

    def hang(deadline: float) -> str:
        with pytest.raises(AuthorityError, match="deadline") as caught:
            ask(asked, context(timeout=deadline))
        assert "unreachable" == caught.value.kind
        assert (tmp_path / "pid").exists(), "it had no time to begin"
        return (tmp_path / "pid").read_text().strip()

    assert not os.path.exists(f"/proc/{in_time(hang, 0.5, 5.0, 50.0)}")


def test_command_background_process_is_not_awaited(tmp_path: Path) -> None:
    """A program that leaves a child behind with its output open is not waited for."""
    body = f"sleep 600 & echo $! > {tmp_path}/pid; echo no >&2; exit 77"
    try:
        assert "refused" == failure(tmp_path, body).kind
    finally:
        os.kill(int((tmp_path / "pid").read_text()), 9)


def test_command_unread_stdin_does_not_block(tmp_path: Path) -> None:
    """A program that does not read the request does not block the worker."""
    many = key_and_csr(names=tuple(f"host{n}.example.com" for n in range(4000)))[1]
    assert len(many) > 1 << 16
    assert "refused" == failure(tmp_path, "exit 77", csr=many).kind


def test_command_secret_is_not_in_reason(tmp_path: Path) -> None:
    """A secret that a program prints is not repeated, nor a byte that is not printable."""
    body = 'echo -e "login with $(cat /dev/fd/$CERTAGENT_SECRET_FD)\\x1b[31m failed" >&2; exit 78'
    found = str(failure(tmp_path, body, secrets={"secret": "open sesame"}))
    assert ("sesame" in found, found.isprintable(), "[secret]" in found) == (False, True, True)


def test_command_program_writable_by_others_is_refused(tmp_path: Path) -> None:
    """A program that others may write is not run, and neither is a missing one."""
    path = script(tmp_path, f"touch {tmp_path}/ran")
    Path(path).chmod(0o775)
    asked = request("command", {"command": [path]}, key_and_csr()[1])
    with pytest.raises(AuthorityError, match=f"chmod go-w {shlex.quote(path)}"):
        ask(asked, context())
    os.remove(path)
    with pytest.raises(AuthorityError, match="No such file"):
        ask(asked, context())
    assert not (tmp_path / "ran").exists()


def test_command_program_not_executable_is_named(tmp_path: Path) -> None:
    """The error says that the file cannot be executed."""
    path = tmp_path / "data"
    path.write_text("x")
    path.chmod(0o600)
    with pytest.raises(AuthorityError, match="cannot run"):
        ask(request("command", {"command": [str(path)]}, key_and_csr()[1]), context())
