"""The drop-box: a request in the outbox, an answer by its key, whatever else lies in the inbox."""

import os
import socket
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certagent import x509
from certagent.authority.backends.dropbox import LARGEST, ask, inbox_changed
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Answer, Issued, Pending, Roots, State
from tests.authority.calling import NAMES, NOW, context, key_and_csr, request
from tests.making import Ca, make_ca
from tests.servers.est import intermediate

KEY, CSR = key_and_csr()
OTHERS = key_and_csr()[1]


class Box:
    """An outbox, an inbox, what is remembered, and the person who signs."""

    def __init__(self, base: Path) -> None:
        self.outbox, self.inbox, self.state = base / "outbox", base / "inbox", State()
        self.ca = make_ca(at=NOW)

    def ask(self, csr: bytes = CSR, **changes: Any) -> Answer:
        options = {"outbox": str(self.outbox), "inbox": str(self.inbox), "remind": 86400.0}
        return ask(request("dropbox", options, csr, **changes), context(state=self.state))

    def sign(self, csr: bytes = CSR, days: int = 30) -> bytes:
        span = {"not_before": NOW, "not_after": NOW + timedelta(days=days)}
        return x509.sign_csr(csr, self.ca.cert, self.ca.key, server=True, client=True, **span)

    def bring(self, name: str, data: bytes) -> None:
        self.inbox.mkdir(mode=0o750, exist_ok=True)
        (self.inbox / name).write_bytes(data)

    def requests(self) -> list[str]:
        return sorted(p.name for p in self.outbox.iterdir())


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_dropbox_request_is_readable_pem(box: Box) -> None:
    """The outbox holds one file: what a person needs to read, then the PEM, which openssl reads as it is."""
    umask = os.umask(0o077)  # that of the unit
    try:
        answer = box.ask(lifetime=86400.0, live=box.sign(OTHERS).decode())
    finally:
        os.umask(umask)
    assert isinstance(answer, Pending)
    assert (answer.again_at, answer.reminder) == (NOW.timestamp() + 86400, False)
    [name] = box.requests()
    assert name == f"{os.uname().nodename}.node.{x509.parse_request(CSR).spki[:12]}.csr"
    assert str(box.outbox / name) in answer.reason
    text = (box.outbox / name).read_text()
    for words in (
        "a TLS server and a TLS client",
        "db1.example.com",
        "10.0.0.5",
        "CN=node",
        "1 day",
        "serial",
        "as user",
    ):
        assert words in text, words
    assert "PRIVATE" not in text
    read = ["openssl", "req", "-in", box.outbox / name, "-noout", "-verify", "-subject"]
    assert "CN = node" in subprocess.run(read, check=True, capture_output=True, text=True).stdout
    modes = [p.stat().st_mode & 0o777 for p in (box.outbox, box.inbox, box.outbox / name)]
    assert modes == [0o755, 0o750, 0o644]


def test_dropbox_answer_is_taken_by_key(box: Box) -> None:
    """A certificate for the key, under any file name: issued; both files are gone."""
    box.ask()
    box.bring("Your certificate (2).txt", b"Dear colleague, here it is\n" + box.sign())
    answer = box.ask()
    assert isinstance(answer, Issued)
    assert x509.parse_certificates(answer.chain.encode())[0].spki == x509.parse_key(KEY)[0]
    assert (box.requests(), list(box.inbox.iterdir())) == ([], [])


def der(pem: bytes) -> bytes:
    return subprocess.run(["openssl", "x509", "-outform", "DER"], input=pem, check=True, capture_output=True).stdout


def pkcs7(pem: bytes, form: str) -> bytes:
    made = ["openssl", "crl2pkcs7", "-nocrl", "-certfile", "/dev/stdin", "-outform", form]
    return subprocess.run(made, input=pem, check=True, capture_output=True).stdout


FORMS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("PEM", lambda pem: pem),
    ("DER", der),
    ("PKCS#7 as DER", lambda pem: pkcs7(pem, "DER")),
    ("PKCS#7 as PEM", lambda pem: pkcs7(pem, "PEM")),
    ("PEM with CRLF", lambda pem: pem.replace(b"\n", b"\r\n")),
]


@pytest.mark.parametrize(("label", "form"), FORMS, ids=[f[0] for f in FORMS])
def test_dropbox_answer_formats(box: Box, label: str, form: Callable[[bytes], bytes]) -> None:
    """Every format that a CA's tools produce is read."""
    box.bring("cert", form(box.sign()))
    assert isinstance(box.ask(), Issued), label


def test_dropbox_intermediates_from_other_files(box: Box) -> None:
    """The chain is built from all files in the inbox, without the root."""
    root = box.ca
    box.ca = Ca(*intermediate(root.cert, root.key, NOW), NOW)
    box.bring("chain.pem", root.cert + box.ca.cert)
    box.bring("leaf.pem", box.sign())
    answer = box.ask()
    assert isinstance(answer, Issued)
    assert 2 == len(x509.parse_certificates(answer.chain.encode()))
    assert x509.verify_chain(answer.chain.encode(), root.cert, "server", NOW + timedelta(days=1)) is None


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def link_to_an_answer(path: Path) -> None:
    path.symlink_to(path.parent.parent / "elsewhere")


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(LARGEST + 1)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


HOSTILE: list[Callable[[Path], None]] = [
    fifo,
    link,
    link_to_an_answer,
    endless,
    huge,
    listening,
    lambda path: path.mkdir(),
    lambda path: path.write_bytes(b"\x00\xff" * 500),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_text("-----BEGIN CERTIFICATE-----\nMIIB"),
]


@pytest.mark.parametrize("make", HOSTILE)
def test_dropbox_hostile_entries_are_ignored_and_named(box: Box, make: Callable[[Path], None]) -> None:
    """An entry that is not a regular file with a certificate is ignored and named; the answer next to it is found."""
    box.bring("other", box.sign(OTHERS))
    (box.inbox.parent / "elsewhere").write_bytes(box.sign())
    make(box.inbox / "bad\x1bname")
    waiting = box.ask()
    assert isinstance(waiting, Pending)
    assert "ignored there: bad?name (" in waiting.reason
    box.bring("zz", box.sign())
    assert isinstance(box.ask(), Issued)
    assert {"other", "bad\x1bname"} == {p.name for p in box.inbox.iterdir()}


def test_dropbox_answer_too_large_is_ignored(box: Box) -> None:
    """Even the right certificate, in a file over a mebibyte, is not read."""
    box.bring("padded", box.sign() + b"\n" * LARGEST)
    waiting = box.ask()
    assert isinstance(waiting, Pending)
    assert "padded (it is too large)" in waiting.reason


def test_dropbox_many_entries_are_bounded_and_reported(box: Box) -> None:
    """Of thousands of files a bounded number is read, and the answer says so."""
    box.inbox.mkdir(mode=0o750)
    for n in range(1005):
        (box.inbox / f"{n:04}").touch()
    waiting = box.ask()
    assert isinstance(waiting, Pending)
    assert len(waiting.reason) < 600
    assert "more" in waiting.reason


def test_dropbox_answer_for_other_key_is_ignored(box: Box) -> None:
    """A certificate of another key is ignored, whatever its file is called."""
    box.ask()
    box.bring(box.requests()[0].replace(".csr", ".crt"), box.sign(OTHERS))
    assert isinstance(box.ask(), Pending)
    assert 1 == len(list(box.inbox.iterdir()))


def test_dropbox_reminder_and_request_restored(box: Box) -> None:
    """Without an answer: a reminder with the day of the request; a request file that vanished is written again."""
    box.ask()
    [name] = box.requests()
    (box.outbox / name).unlink()
    again = box.ask()
    assert isinstance(again, Pending)
    assert (again.reminder, box.requests()) == (True, [name])


def test_dropbox_new_request_withdraws_old(box: Box) -> None:
    """New names, so a new key: the old request leaves the outbox."""
    box.ask()
    box.ask(key_and_csr(names=(*NAMES, "new"))[1])
    assert 1 == len(box.requests())
    assert x509.parse_request(CSR).spki[:12] not in box.requests()[0]


def test_dropbox_reuse_key_ignores_earlier_answers(box: Box) -> None:
    """`reuse_key`: the live certificate, and an answer taken before, are not taken again."""
    live, renewed = box.sign(), box.sign(days=60)
    box.bring("live", live)
    assert isinstance(box.ask(live=live.decode()), Pending)
    box.bring("renewed", renewed)
    assert isinstance(box.ask(live=live.decode()), Issued)
    box.bring("renewed", renewed)
    assert isinstance(box.ask(live=live.decode()), Pending)


def test_dropbox_roots(box: Box) -> None:
    """A root in the inbox is a candidate for the bundle; without one the operator is asked for it."""
    with pytest.raises(AuthorityError, match="copy it there"):
        box.ask(b"", operation="roots")
    box.bring("ca", box.ca.cert + box.sign())
    answer = box.ask(b"", operation="roots")
    assert isinstance(answer, Roots)
    assert answer.pem.encode() == box.ca.cert


@pytest.mark.parametrize(("place", "mode"), [("outbox", 0o777), ("outbox", 0o775), ("inbox", 0o777)])
def test_dropbox_directory_writable_by_others_is_refused(box: Box, place: str, mode: int) -> None:
    """Others could replace a request and obtain a certificate for their key: refused, with the remedy."""
    box.ask()
    (box.outbox.parent / place).chmod(mode)
    with pytest.raises(AuthorityError, match=r"other users may replace.*chmod") as caught:
        box.ask()
    assert "credentials" == caught.value.kind


def test_dropbox_outbox_not_creatable_is_named(box: Box) -> None:
    """The error names the directory."""
    box.outbox.parent.joinpath("outbox").write_text("a file")
    with pytest.raises(AuthorityError, match=f"{box.outbox}"):
        box.ask()


def test_dropbox_inbox_changed_uses_kernel_time(box: Box) -> None:
    """The newest change by the kernel's clock: a file with an mtime of tomorrow counts as of now."""
    options = {"inbox": str(box.inbox)}
    assert inbox_changed(options) is None
    before = datetime.now(UTC) - timedelta(seconds=1)
    box.bring("x", b"x")
    os.utime(box.inbox / "x", (2e9, 2e9))
    found = inbox_changed(options)
    assert found is not None
    assert before < found <= datetime.now(UTC) + timedelta(seconds=1)
