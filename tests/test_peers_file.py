"""The file that names the members: read only if nobody else can change it, and read again when it changes."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certagent.config import build, document_of
from certagent.core.members import Listing
from certagent.operations.incomplete import missing
from certagent.operations.peers_file import LIMIT, read_listing

GOOD = "# ours\ndb2\n[2001:db8::3]:26258\n"


@pytest.mark.usefixtures("usual_umask")
def test_peers_file_is_read(tmp_path: Path) -> None:
    """Each address with its port."""
    file = tmp_path / "peers"
    file.write_text(GOOD)
    assert read_listing(str(file)) == Listing(addresses=("db2:26257", "[2001:db8::3]:26258"))
    file.write_text("\ufeff" + GOOD, encoding="utf-8")
    assert len(read_listing(str(file)).addresses) == 2
    file.write_text("db2:0\n")
    assert read_listing(str(file)).problem == "line 1: '0' is no port from 1 to 65535"


@pytest.mark.usefixtures("usual_umask")
def test_peers_file_that_others_may_write_is_not_used(tmp_path: Path) -> None:
    """Who can change it could name a server of his own, or have nobody asked."""
    file = tmp_path / "peers"
    file.write_text(GOOD)
    file.chmod(0o666)
    found = read_listing(str(file))
    assert (found.addresses, found.problem) == (
        (),
        f"not used: everybody may write {file}; chmod go-w {file}",
    )


@pytest.mark.usefixtures("usual_umask")
def test_peers_file_that_is_none(tmp_path: Path) -> None:
    """A missing one, a directory, a FIFO, one without an end, and bytes that are no text."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b"\n" * (LIMIT + 1))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\n")
    rows = [
        ("missing", "cannot be read: No such file or directory"),
        (".", "cannot be read: Is a directory"),
        ("fifo", "this is not a regular file"),
        ("large", f"larger than {LIMIT} bytes"),
        ("bytes", "line 1: write host:port, such as db2:26257 or [2001:db8::2]:26257"),
    ]
    assert [(name, read_listing(str(tmp_path / name)).problem) for name, _ in rows] == rows


def test_peers_file_that_a_host_lacks_is_told(tmp_path: Path) -> None:
    """`config check` names the setting."""
    text = f"[[certs_dir]]\npath = '/certs'\nowner = 'root'\n[certs_dir.rotation]\npeers_file = '{tmp_path}/peers'\n"
    file = tmp_path / "config.toml"
    file.write_text(text)
    config = build(str(file), document_of(str(file), file.read_bytes()), "db1")
    found = missing(config, {}, datetime.now(UTC))
    assert f"certs_dir[0].rotation.peers_file: {tmp_path}/peers does not exist" in found
