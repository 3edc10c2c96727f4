"""What the host's adapters decide on what they read: rows, without a file, a socket or a process."""

import errno
import ssl
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from certagent.agent.watch import rearmed
from certagent.authority.client.secrets import text_of
from certagent.certs_dir.as_cockroach import unread
from certagent.certs_dir.mounts import mount_in, read_only_in
from certagent.certs_dir.swap.generations import staged_stems, worth_keeping
from certagent.certs_dir.swap.recovery import stems, told
from certagent.certs_dir.swap.sweep import key_stems, keys_alone
from certagent.control.client import answer_of
from certagent.core.facts import LoaderFlags
from certagent.core.serving import with_release
from certagent.posix.errors import HostError, IrregularFileError
from certagent.probe.exchange import Client, Login, Outcome, failed, logged_in, login_in, unreachable, ways
from certagent.probe.metrics import Metrics, metrics_in
from certagent.probe.pgwire import NotPgwireError
from certagent.revocation import Question, asking, child
from certagent.sandbox import worker_process
from certagent.sandbox.confining import Handled, Missing, Profile, capabilities, handled, lacking
from certagent.sandbox.exchange import remaining
from certagent.state.authority_state import sound
from certagent.state.ledger import Ledger
from tests.core.building import process, served
from tests.making import keyed, make_ca

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("kind", "expected"), [("auto", ("sql", "http")), ("sql", ("sql",)), ("http", ("http",))])
def test_probe_protocol_by_port_kind(kind: Literal["sql", "http", "auto"], expected: tuple[str, ...]) -> None:
    """By the configured kind; else pgwire first."""
    assert ways(kind) == expected


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (NotPgwireError(), "other protocol", "the port does not speak pgwire"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "unreachable", "Connection refused"),
        (TimeoutError("timed out"), "unreachable", "timed out"),
        (OSError(), "unreachable", "OSError"),
    ],
)
def test_probe_connection_error_reason(error: OSError, outcome: Any, reason: str) -> None:
    """In the kernel's words, or Python's, or by its name at least; a port with another protocol is told apart."""
    assert unreachable(error) == Outcome(outcome=outcome, reason=reason)


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (TimeoutError(), "unreachable", "no answer in time"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "refused", "[errno 104] reset"),
        (ssl.SSLError(1, "[SSL: BAD_CERTIFICATE] bad"), "refused", "[ssl: bad certificate] bad"),
        (ConnectionError(), "refused", "connectionerror"),
    ],
)
def test_probe_handshake_failure_is_about_the_pair(error: OSError, outcome: Any, reason: str) -> None:
    """TLS that began and failed is about the pair; silence is not."""
    assert failed(error, "f00d") == Outcome(outcome=outcome, fingerprint="f00d", reason=reason)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("security_certificate_expiration_node_client 1.7e+09", 1700000000),
        ('security_certificate_expiration_node_client{node_id="1"} 1700000000', 1700000000),
        ('x 1\nsecurity_certificate_expiration_node_client{node_id="1"} 7\ny 2', 7),
        ("security_certificate_expiration_node 7", 0),
        ("security_certificate_expiration_node_client 1e999", 0),
        ("security_certificate_expiration_node_client 1.2.3", 0),
        ("", 0),
    ],
)
def test_probe_expiry_metric_is_read(text: str, expected: int) -> None:
    """A whole line of its own; a value that is not a number is ignored."""
    assert metrics_in(text.encode()).expiry == expected


MOUNTS = b"""22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 8:1 /x /certs/node.crt rw - ext4 /dev/sda1 rw
31 22 8:1 /x /certs\\0402/a\\040b rw - ext4 /dev/sda1 rw
32 22 8:1 /x /deep/er/file rw - ext4 /dev/sda1 rw
33 22 8:1 /x /own rw - ext4 /dev/sda1 rw
"""


@pytest.mark.parametrize(
    ("directory", "expected"),
    [(b"/certs", "node.crt"), (b"/certs 2", "a b"), (b"/deep", None), (b"/own", None), (b"/cert", None)],
)
def test_mount_entry_directly_below_the_directory(directory: bytes, expected: str | None) -> None:
    """One directly below; neither the directory itself, nor a deeper path, nor a neighbour. Escapes are undone."""
    assert mount_in(directory, MOUNTS) == expected


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("/srv/certs", "mount -o remount,bind,rw /srv/certs"),
        ("/srv/certs/below", "mount -o remount,bind,rw /srv/certs"),
        ("/srv/certs2", None),
        ("/mnt/a b/certs", "mount -o remount,rw '/mnt/a b'"),
        ("/open", None),
        ("/over", None),
    ],
)
def test_mounts_read_only_one_has_its_command(path: str, command: str | None) -> None:
    """A bind mount is remounted by itself, a file system as a whole; the mount on top decides."""
    table = (
        "1 0 8:1 / / rw - ext4 /dev/a rw\n"
        "2 1 8:1 /x /srv/certs ro,relatime - ext4 /dev/a rw\n"
        "3 1 8:2 / /mnt/a\\040b ro - ext4 /dev/b ro,errors=remount-ro\n"
        "4 1 8:2 / /over ro - ext4 /dev/b rw\n"
        "5 4 8:2 / /over rw - ext4 /dev/b rw\n"
    )
    found = read_only_in(path, table)
    assert (found and found.writable) == command


@pytest.mark.parametrize(
    ("error", "kind", "expected"),
    [
        (OSError(errno.ENOENT, "none"), "file", "a broken link"),
        (OSError(errno.EACCES, "Permission denied"), "file", "cannot be read: Permission denied"),
        (IrregularFileError(errno.EINVAL, "x"), "fifo", "this is a fifo, not a regular file, so it is not read"),
        (
            IrregularFileError(errno.EFBIG, "larger than 9 bytes"),
            "file",
            "the file is larger than 9 bytes, so it is not read",
        ),
    ],
)
def test_scan_unreadable_name_reason(error: OSError, kind: Any, expected: str) -> None:
    """Its file type, if it is not a regular file; the kernel's error, if it is one."""
    assert unread(error, kind) == expected


@pytest.mark.parametrize(
    ("abi", "connect", "expected"),
    [
        (1, True, Handled((1 << 13) - 1, 0, 0, 8)),
        (3, True, Handled((1 << 15) - 1, 0, 0, 8)),
        (4, True, Handled((1 << 15) - 1, 3, 0, 16)),
        (4, False, Handled((1 << 15) - 1, 1, 0, 16)),
        (5, True, Handled((1 << 16) - 1, 3, 0, 16)),
        (6, True, Handled((1 << 16) - 1, 3, 3, 24)),
        (9, False, Handled((1 << 16) - 1, 1, 3, 24)),
    ],
)
def test_landlock_rights_by_version(abi: int, connect: bool, expected: Handled) -> None:
    """All that this version knows: files, since 4 ports, since 6 signals and abstract sockets."""
    assert handled(abi, connect=connect) == expected


NONE, PORTS, FAILED = "no Landlock: only owners", "Landlock 3: TCP ports are not restricted", "Landlock: no"


@pytest.mark.parametrize(
    ("abi", "problem", "dropped", "expected"),
    [
        (6, "", True, []),
        (6, "", False, []),
        (0, "", True, [(NONE, False)]),
        (0, "", False, [(NONE, True)]),
        (3, "", False, [(PORTS, False)]),
        (6, "no", True, [(FAILED, False)]),
        (3, "no", False, [(PORTS, False), (FAILED, True)]),
    ],
)
def test_worker_missing_features_severity(
    abi: int, problem: str, dropped: bool, expected: list[tuple[str, bool]]
) -> None:
    """Severe only if the worker is still the user of the keys."""
    found: list[Missing] = lacking(abi, problem, dropped=dropped)
    assert [m.severe for m in found] == [severe for _, severe in expected]
    assert all(m.what.startswith(words) for m, (words, _) in zip(found, expected, strict=True))


@pytest.mark.parametrize(("ports", "kept"), [((), 0), ((8080, 1024), 0), ((80,), 1 << 10), ((8443, 443), 1 << 10)])
def test_worker_keeps_one_capability_for_low_ports(ports: tuple[int, ...], kept: int) -> None:
    """CAP_NET_BIND_SERVICE, and only where it listens on a port below 1024."""
    assert kept == capabilities(Profile(bind=ports))


def test_worker_deadline_that_has_passed_is_named() -> None:
    """What is left of it while there is some; then the error says how long the worker had."""
    assert 0.5 == remaining(0.5, 20)
    for left in (0, -1):
        with pytest.raises(HostError, match="the worker did not finish within 20 s"):
            remaining(left, 20)


@pytest.mark.parametrize(("line", "expected"), [(b"", None), (b'{"ok": true}\n', {"ok": True})])
def test_control_closed_connection_means_busy(line: bytes, expected: dict[str, Any] | None) -> None:
    """A closed connection is a daemon that is busy."""
    assert answer_of(line) == expected


@pytest.mark.parametrize("line", [b"[1]\n", b"hello\n", b'{"ok": tr'])
def test_control_malformed_answer_is_error(line: bytes) -> None:
    """Any text that is not a JSON object, and half of one."""
    with pytest.raises(ValueError, match=r"malformed answer|Expecting"):
        answer_of(line)


def test_recovery_stems() -> None:
    """Everything with a certificate or a key, once; the bundle of the nodes has no key to match."""
    assert stems(["node.crt", "node.key", "ca.crt", "ui.key", "client.a.crt", ".certagent", "x"]) == [
        "client.a",
        "node",
        "ui",
    ]


def test_generation_is_a_whole_pair_or_a_bundle() -> None:
    """A certificate without its key, or with another one's, is no way back; a bundle has no key, whatever is there."""
    ca = make_ca()
    (cert, key), (_, other) = keyed(ca.pair()), keyed(ca.pair())
    assert (cert, key) == worth_keeping("node", cert, key)
    assert [None, None, None] == [worth_keeping("node", *pair) for pair in ((cert, other), (cert, None), (None, key))]
    assert (ca.cert, None) == worth_keeping("ca", ca.cert, key)


def test_request_stems_are_those_of_its_keys() -> None:
    """What waits for an answer is found by its keys; other files and what was not finished are left out."""
    assert ["node", "client.a"] == key_stems(["node.key", "node.csr", "client.a.key", ".ui.key.new", "notes"])


def test_recovery_staged_stems() -> None:
    """The whole certificates of what is staged, in order: a name that begins with a dot was never finished."""
    names = ["ui.crt", "node.crt", "node.key", ".node.crt.new", ".ui.crt", "client.a.crt", "x.csr"]
    assert ["client.a", "node", "ui"] == staged_stems(names)


def test_recovery_spare_staged_keys() -> None:
    """Those without a certificate."""
    assert keys_alone(["node.crt", "node.key", "ui.key", "a.b.key", "ca.crt"]) == ["a.b.key", "ui.key"]


@pytest.mark.parametrize(
    ("done", "interrupted", "expected"),
    [
        ([], False, None),
        ([], True, "an interrupted swap needed no repair: every pair matches"),
        (["node went on", "ui went back"], True, "node went on; ui went back"),
        (["node went on"], False, "node went on"),
    ],
)
def test_recovery_summary(done: list[str], interrupted: bool, expected: str | None) -> None:
    """What was done; else that there was nothing to do; else nothing."""
    assert told(done, interrupted=interrupted) == expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"version": 1, "shared": {}, "own": {}}, True),
        ({"version": 2, "shared": {}, "own": {}}, False),
        ({"version": 1, "shared": {}}, False),
        ({"version": 1, "shared": [], "own": {}}, False),
        ([], False),
        (None, False),
    ],
)
def test_authority_state_document_is_checked(document: object, expected: bool) -> None:
    """A document of this version, with both parts."""
    assert sound(document) is expected


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"12345", "is larger than 4 bytes"), (b" \n", "is empty"), (b"\xff", "is not text")],
)
def test_secret_malformed_error_names_setting(data: bytes, words: str) -> None:
    """The error names the setting and the file, and never quotes it."""
    assert text_of("authority.a.token", "/t", b"abc\n", 4) == "abc\n"
    with pytest.raises(HostError, match=f"^cannot read authority.a.token: /t {words}$"):
        text_of("authority.a.token", "/t", data, 4)


@pytest.mark.parametrize(
    ("changed", "blind", "expected"),
    [
        (
            ["/a", "/b"],
            False,
            ["/a was replaced; the new directory is watched", "/b was replaced; the new directory is watched"],
        ),
        ([], False, ["a watch had ended; it was started again"]),
        (["/a"], True, []),
    ],
)
def test_watch_event_names_replaced_directory(changed: list[str], blind: bool, expected: list[str]) -> None:
    """The directory that was replaced; nothing if inotify is not available, which is a finding of its own."""
    assert rearmed(changed, blind=blind) == expected


def row(status: str) -> dict[str, Any]:
    return {"status": status}


@pytest.mark.parametrize(
    ("source", "found", "every", "expected"),
    [
        ("ocsp", [], False, True),
        ("ocsp", [row("unreachable"), row("unknown")], False, True),
        ("ocsp", [row("good")], False, False),
        ("ocsp", [row("revoked")], False, False),
        ("ocsp", [row("good")], True, True),
        ("crl", [row("unreachable")], True, True),
        ("crl", [row("good")], True, False),
    ],
)
def test_ocsp_next_responder(source: str, found: list[dict[str, Any]], every: bool, expected: bool) -> None:
    """Until one decides; every responder if all are wanted, but no list then either."""
    assert child.due(source, found, every=every) is expected


def test_ocsp_questions_responders_then_lists() -> None:
    """Responders in order, then lists."""
    assert child.turns({"ocsp": ["a", "b"], "crl": ["c"]}) == [("ocsp", "a"), ("ocsp", "b"), ("crl", "c")]


@pytest.mark.parametrize(
    ("source", "every", "expected"), [("ocsp", False, 103.0), ("ocsp", True, 153.0), ("crl", False, 165.0)]
)
def test_ocsp_deadlines(source: str, every: bool, expected: float) -> None:
    """The responders share one time, as with cockroach; each has its own if all are asked; so has a list."""
    request = {"timeout": 3.0, "every": every, "list": 15.0}
    assert child.deadline(source, request, 150.0, 103.0) == expected


GOOD = (
    b'{"id": 0, "answers": [{"source": "ocsp", "url": "http://a", "status": "good", "reason": "", "latency_ms": 7,'
    b' "this_update": 1, "next_update": null, "revoked_at": null}]}\n'
)
ASKED = Question(b"", b"", ("http://a", "http://b"), ("http://c",))


@pytest.mark.parametrize(
    ("output", "statuses"),
    [
        (GOOD, ["good"]),
        (b"a traceback\n" + GOOD, ["good"]),
        (GOOD[:-1], ["unreachable", "unreachable"]),
        (GOOD.replace(b"good", b"fine"), ["unreachable", "unreachable"]),
        (GOOD.replace(b'"id": 0', b'"id": 1'), ["unreachable", "unreachable"]),
        (b"", ["unreachable", "unreachable"]),
    ],
)
def test_ocsp_every_question_has_answers(output: bytes, statuses: list[str]) -> None:
    """The child's whole lines; an unanswered responder is unreachable, for the reason that is known."""
    (answers,) = asking.told([ASKED], output, "why", NOW)
    assert [a.status for a in answers] == statuses
    assert {(a.at, a.reason) for a in answers} == {(NOW, "" if statuses == ["good"] else "why")}


def test_ocsp_child_end_reason_and_environment() -> None:
    """Its last line, printable; and its environment has only what it needs to ask."""
    why = worker_process.ended(1, b"Traceback\n  x\nOSError: \x1bno\n")
    assert why == "the worker failed with code 1: OSError:  no"
    assert worker_process.ended(-9, b"") == "the worker failed with signal 9: it printed no reason"
    assert worker_process.ended(0, b"a warning\n") == ""
    environ = {"https_proxy": "p", "SSL_CERT_FILE": "f", "AWS_SECRET": "s", "PATH": "/bin"}
    assert asking.environment(environ) == {"https_proxy": "p", "SSL_CERT_FILE": "f"}


def test_quarantine_deferred_keeps_its_moment(tmp_path: Path) -> None:
    """It is written later, and with the time at which it was decided."""
    path = tmp_path / "ledger"
    ledger = Ledger.writing(str(path))
    ledger.execute("pragma query_only = on")
    ledger.quarantine("/certs", "bad", NOW)
    assert ledger.quarantined("/certs") == {"bad"}
    with pytest.raises(HostError):
        ledger.settle()
    assert ledger.quarantined("/certs") == {"bad"}
    ledger.execute("pragma query_only = off")
    ledger.settle()
    assert ledger.execute("select fingerprint, at from quarantined") == [("bad", NOW.timestamp())]
    assert Ledger.looking(str(path)).quarantined("/certs") == {"bad"}


OK = b"\0\0\0\0"
NOT_ALLOWED = b"SFATAL\0C28000\0Mcertificate authentication failed for user app\0\0"


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (b"R", OK, Login(granted=True)),
        (b"R", b"\0\0\0\x03", Login()),
        (b"R", b"", Login()),
        (b"E", NOT_ALLOWED, Login(sqlstate="28000", message="certificate authentication failed for user app")),
        (b"E", b"SFATAL\0C28P01\0Mpassword authentication failed\0\0", Login()),
        (b"E", b"SFATAL\0C3D000\0Mdatabase does not exist\0\0", Login()),
        (b"E", b"SFATAL\0C57P03\0Mnode is not accepting clients: 28000\0\0", Login()),
        (b"E", b"C28000\0Ma\x1b[31m\0\0", Login(sqlstate="28000", message="a [31m")),
        (b"E", b"", Login()),
        (b"N", NOT_ALLOWED, Login()),
    ],
)
def test_probe_login_result(kind: bytes, body: bytes, expected: Login) -> None:
    """AuthenticationOk grants it, SQLSTATE 28000 refuses it; a request for a password, or another error, neither."""
    assert login_in(kind, body) == expected


@pytest.mark.parametrize(
    ("user", "login", "outcome"),
    [
        ("app", Login(granted=True), "served"),
        ("app", Login(), "served"),
        ("app", Login(sqlstate="28000", message="no"), "refused"),
        ("", Login(sqlstate="28000", message="no"), "served"),
    ],
)
def test_probe_log_in_refused_counts_for_users_only(user: str, login: Login, outcome: str) -> None:
    """A tenant is no user: an answer after the handshake shows that its pair was accepted."""
    found = logged_in("f00d", Client(user=user, path="/path"), login)
    assert (outcome, "f00d") == (found.outcome, found.fingerprint)
    assert ("28000" if outcome == "refused" else "") == found.login.sqlstate


def test_probe_rotation_time_metric_is_read() -> None:
    """Of cockroach 26.3; 0 if no reload changed it, and a value that is not a number, are ignored."""
    text = (
        b'security_certificate_last_rotation_ca{node_id="1"} 1.7e+09\n'
        b"security_certificate_last_rotation_node_client 7\n"
        b"security_certificate_last_rotation_ui 0\nsecurity_certificate_last_rotation_node 1.2.3\n"
        b'security_certificate_expiration_node_client{node_id="1"} 9\n'
    )
    assert metrics_in(text) == Metrics(expiry=9, rotations=(("ca", 1700000000), ("node_client", 7)))


@pytest.mark.parametrize(
    ("tag", "release"),
    [("v24.1.5", (24, 1)), ("v25.4.0-beta.1", (25, 4)), ("v26.3", None), ("24.1.5", None), ("custom", None)],
)
def test_process_version_in_metrics_is_read(tag: str, release: tuple[int, int] | None) -> None:
    """As the label of `build_timestamp` has it."""
    text = f'sys_uptime 1\nbuild_timestamp{{node_id="1",tag="{tag}",go_version="go1.22"}} 1.7e+09\n'
    assert metrics_in(text.encode()).release == release


def test_process_version_by_path_before_metrics() -> None:
    """It is judged by that version's rules; a version in the path of its program comes first."""
    answer = served(release=(24, 1))
    assert with_release(process(), [served(), answer]).terms.release == (24, 1)
    assert with_release(process(), [served()]) == process()
    assert with_release(process(), [replace(answer, process="1:1")]) == process()
    named = process(terms=LoaderFlags(release=(25, 2)))
    assert with_release(named, [answer]) == named
