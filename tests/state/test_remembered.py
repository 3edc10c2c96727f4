"""Secrets, what authorities remember, and requests that wait for their answer."""

import fcntl
import os
import stat
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certagent.authority.client.secrets import LIMIT, read_secret
from certagent.certs_dir.swap import Store, pending
from certagent.certs_dir.swap.stored import Draft
from certagent.keys import Key
from certagent.posix.errors import HostError
from certagent.state.authority_state import AuthorityState, SharedOnly
from tests.making import inside
from tests.waiting import wait_until


@pytest.mark.usefixtures("usual_umask")
def test_secret_by_its_source(tmp_path: Path) -> None:
    """A file, a credential of systemd, a variable: each without surrounding white space, and read anew each time."""
    (tmp_path / "token").write_text("  s3cret\n\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "VAULT_TOKEN": "s3cret\n"}
    for source in (f"{tmp_path}/token", "credential:token", "env:VAULT_TOKEN"):
        assert read_secret("authority.a.token", source, environ) == "s3cret"
    (tmp_path / "token").write_text("fresh")
    assert read_secret("authority.a.token", f"{tmp_path}/token", {}) == "fresh"


@pytest.mark.usefixtures("usual_umask")
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{base}/none", "No such file"),
        ("{base}/empty", "is empty"),
        ("{base}/large", "larger than"),
        ("{base}/binary", "is not text"),
        ("{base}/fifo", "not a regular file"),
        ("{base}", "not a regular file"),
        ("credential:none", "No such file"),
        ("env:NONE", "has no NONE"),
        ("env:BLANK", "has no BLANK"),
    ],
)
def test_secret_unreadable_names_setting(tmp_path: Path, source: str, reason: str) -> None:
    """Each says which setting, and why; nothing blocks, and nothing of the file is quoted."""
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "large").write_text("x" * (LIMIT + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00hidden")
    os.mkfifo(tmp_path / "fifo")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "BLANK": ""}
    with pytest.raises(HostError, match=reason) as caught:
        read_secret("authority.pki.token", source.format(base=tmp_path), environ)
    assert str(caught.value).startswith("cannot read authority.pki.token: ")
    assert "hidden" not in str(caught.value)


def test_secret_systemd_credential_missing_names_unit_line() -> None:
    """What systemd started lacks a line of its unit; what a person started is not given any, whatever the unit says."""
    with pytest.raises(HostError, match="LoadCredential=token:/path to the unit"):
        read_secret("authority.pki.token", "credential:token", {"INVOCATION_ID": "0123"})
    alone = "only the running agent has systemd's credentials: start it, then certagent authority test pki asks it"
    with pytest.raises(HostError, match=alone):
        read_secret("authority.pki.token", "credential:token", {})


def test_authority_state_is_private_and_durable(tmp_path: Path) -> None:
    """0600 in a 0700 directory; another reader reads what was written; an empty part of its own is removed."""
    book = AuthorityState(str(tmp_path / "authority"))
    assert book.read("pki", "/certs\nnode") == ({}, {})
    book.write("pki", "/certs\nnode", {}, {"account": 1}, {"order": 2})
    assert AuthorityState(str(tmp_path / "authority")).read("pki", "/certs\nnode") == ({"account": 1}, {"order": 2})
    assert book.read("pki", "/certs\nui") == ({"account": 1}, {})
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "authority").iterdir()}
    assert (modes, stat.S_IMODE((tmp_path / "authority").stat().st_mode)) == ({0o600}, 0o700)
    book.write("pki", "/certs\nnode", {"account": 1}, {"account": 1}, {})
    assert book.read("pki", "/certs\nnode") == ({"account": 1}, {})


def test_authority_state_concurrent_changes_are_merged(tmp_path: Path) -> None:
    """Both started from the same state: each one's changes stay, and so does everything that neither changed."""
    book = AuthorityState(str(tmp_path))
    before: dict[str, Any] = {"a": 1, "b": 1, "c": 1}
    book.write("pki", "one", {}, before, {})
    book.write("pki", "one", before, {"a": 2, "b": 1, "c": 1}, {"x": 1})
    book.write("pki", "two", before, {"a": 1, "b": 1, "d": 1}, {"y": 1})
    assert book.read("pki", "one") == ({"a": 2, "b": 1, "d": 1}, {"x": 1})
    assert book.read("pki", "two")[1] == {"y": 1}


def test_authority_state_trial_keeps_account_only(tmp_path: Path) -> None:
    """`authority test` sees no order of a file, and leaves none; an account that it made stays."""
    book = AuthorityState(str(tmp_path))
    book.write("pki", "node", {}, {"account": 1}, {"order": 1})
    trial = SharedOnly(str(tmp_path))
    assert trial.read("pki", "node") == ({"account": 1}, {})
    trial.write("pki", "node", {"account": 1}, {"account": 1, "more": 2}, {"order": 9})
    assert book.read("pki", "node") == ({"account": 1, "more": 2}, {"order": 1})
    SharedOnly(str(tmp_path / "new")).write("pki", "node", {}, {}, {"order": 9})
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"version": 2, "shared": {}, "own": {}}', '{"version": 1}'])
def test_authority_state_unusable_is_refused(tmp_path: Path, content: str) -> None:
    """Damaged or newer: refused with the file's name, never overwritten."""
    (tmp_path / "pki.json").write_text(content)
    book = AuthorityState(str(tmp_path))
    with pytest.raises(HostError, match=r"pki\.json"):
        book.read("pki", "")
    with pytest.raises(HostError, match=r"pki\.json"):
        book.write("pki", "", {}, {"account": 1}, {})
    assert (tmp_path / "pki.json").read_text() == content


@pytest.mark.parametrize("another", [False, True], ids=["one book", "beside a trial"])
def test_authority_state_first_request_runs_alone(tmp_path: Path, another: bool) -> None:
    """While nothing is shared the second request waits for the first, and then sees what it left; later ones do not.

    The same for a trial, which has an AuthorityState of its own and may be another process: its lock is the kernel's.
    """
    book, order = AuthorityState(str(tmp_path)), []
    beside = SharedOnly(str(tmp_path)) if another else book
    inside, go = threading.Event(), threading.Event()

    def first() -> None:
        with book.first("acme", 60):
            inside.set()
            go.wait(60)
            order.append("first")  # before there is an account: from then on nobody waits
            book.write("acme", "", {}, {"account": 1}, {})

    def second() -> None:
        inside.wait(60)
        with beside.first("acme", 60):
            order.append(f"second, account {book.read('acme', '')[0]['account']}")

    threads = [threading.Thread(target=t) for t in (first, second)]
    for thread in threads:
        thread.start()
    wait_until(inside.is_set, "the first is under way")
    assert order == []
    with book.first("other", 1):
        go.set()
    for thread in threads:
        thread.join(60)
    assert order == ["first", "second, account 1"]
    with book.first("acme", 1), book.first("acme", 1):
        order.append("side by side")


def test_authority_state_first_request_hanging_gives_up(tmp_path: Path) -> None:
    """The second gives up with a sentence, instead of waiting forever."""
    book = AuthorityState(str(tmp_path))
    with book.first("acme", 1):
        for other in (book, AuthorityState(str(tmp_path))):
            with pytest.raises(HostError, match="still running"), other.first("acme", 0.05):
                pytest.fail("it was let in")


def test_authority_state_lock_of_other_process_gives_up(tmp_path: Path) -> None:
    """A writer gives up with a sentence that names the lock; a reader is not delayed meanwhile."""
    book = AuthorityState(str(tmp_path), patience=0.2)
    book.write("acme", "", {}, {"account": 1}, {})
    lock = tmp_path / ".lock"
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(
            HostError,
            match=f"another process has locked {lock} for 0.2 s; find the process with `fuser {lock}` and stop it",
        ):
            book.write("acme", "", {"account": 1}, {"account": 2}, {})
        patient = AuthorityState(str(tmp_path), patience=60)
        waiting = threading.Thread(target=patient.write, args=("acme", "", {}, {"order": 1}, {}))
        waiting.start()
        assert patient.read("acme", "")[0] == {"account": 1}
    waiting.join(60)
    assert AuthorityState(str(tmp_path)).read("acme", "")[0] == {"account": 1, "order": 1}


def test_authority_state_without_lock_file_proceeds(tmp_path: Path) -> None:
    """If no lock file can be made, as on a full disk, one request proceeds without it."""
    (tmp_path / "authority").write_text("no directory")
    with AuthorityState(str(tmp_path / "authority")).alone("acme", 60):
        assert not (tmp_path / "authority").is_dir()


DRAFT = Draft(csr=b"-----BEGIN CERTIFICATE REQUEST-----\n", key=Key.of(b"a key"))
BARE = replace(DRAFT, key=None)


def written(draft: Draft | None) -> tuple[bytes, bytes | None] | None:
    """The bytes of a request and of its key."""
    return (draft.csr, inside(draft.key)) if draft else None


def test_pending_request_key_and_csr_survive(tmp_path: Path) -> None:
    """Key and CSR survive, 0600 in the staging area, for the very same request; for another one they are not found."""
    path = str(tmp_path)
    pending.keep(path, "node", "mark", DRAFT)
    assert written(pending.kept(path, "node", "mark")) == written(DRAFT)
    assert pending.kept(path, "node", "other") is None
    assert pending.kept(path, "ui", "mark") is None
    area = tmp_path / ".certagent" / "pending"
    assert {stat.S_IMODE(p.stat().st_mode) for p in area.iterdir()} == {0o600}
    pending.keep(path, "node", "other", BARE)
    assert (pending.kept(path, "node", "other"), pending.kept(path, "node", "mark")) == (BARE, None)
    pending.forget(path, "node")
    pending.forget(path, "node")
    assert list(area.iterdir()) == []


def test_pending_request_is_removed_by_recovery_and_retire(tmp_path: Path) -> None:
    """Recovery removes an obsolete or half-written request, retirement all of them."""
    path, area = str(tmp_path), tmp_path / ".certagent" / "pending"
    pending.keep(path, "node", "mark", DRAFT)
    (area / "ui.key").write_bytes(b"a key")
    (area / ".client.root.key.new").write_bytes(b"a key")
    pending.keep(path, "client.gone", "mark", DRAFT)
    pending.only(path, frozenset({"node", "client.root"}))
    store = Store(path)
    store.recover()
    assert {p.name for p in area.iterdir()} == {"node.csr", "node.key"}
    store.remove_all(())
    assert list(tmp_path.iterdir()) == []
