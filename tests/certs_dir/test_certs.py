"""Scanning a certs-dir into facts, whatever somebody put there."""

import os
import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from certagent.certs_dir import Scan, Scanner
from certagent.core.facts import Pair, Why
from certagent.core.roles import BUNDLES
from tests.making import filled, make_ca, put
from tests.moments import now


def scan(directory: Path) -> Scan:
    return Scanner().scan(str(directory), now())


def found(result: Scan, stem: str) -> Pair:
    return next(p for p in result.pairs if p.name.stem == stem)


def test_scan_roles_and_unmanaged_files(tmp_path: Path) -> None:
    """Known names become pairs, other .crt and .key files are unmanaged, the rest is ignored."""
    filled(tmp_path, "node", "ui", "client.a.b")
    for name in ("node.foo.crt", "old.key", ".node.crt", "README", "client.crt"):
        (tmp_path / name).write_text("x")
    result = scan(tmp_path)
    assert ["ca", "client.a.b", "node", "ui"] == [p.name.stem for p in result.pairs]
    assert {"node.foo.crt", "old.key", ".node.crt", "client.crt"} == {f.name for f in result.unmanaged_files}
    assert all(p.matched for p in result.pairs if not p.name.is_bundle)
    assert all(p.trust and p.trust.problem is None for p in result.pairs if not p.name.is_bundle)


@pytest.mark.parametrize("stem", BUNDLES)
def test_scan_ca_key_is_never_read(tmp_path: Path, stem: str) -> None:
    """The private key next to a bundle is not read: only its existence is recorded."""
    ca = filled(tmp_path, "node")
    put(tmp_path, stem, (ca.cert, ca.key))
    key = found(scan(tmp_path), stem).key
    assert key is not None
    assert (key.digest, key.spki) == ("", None)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def a_directory(path: Path) -> None:
    path.mkdir()


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def shadow(path: Path) -> None:
    path.symlink_to("/etc/shadow")


def zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(8 << 30)


def large(path: Path) -> None:
    path.write_bytes(b"x" * ((1 << 20) + 1))
    path.chmod(0o644)


HOSTILE: list[Callable[[Path], None]] = [fifo, a_directory, a_socket, dangling, loop, shadow, zero, sparse, large]


@pytest.mark.parametrize("ending", ["crt", "key"])
@pytest.mark.parametrize("make", HOSTILE, ids=lambda f: f.__name__)
def test_scan_hostile_entries_are_reported(tmp_path: Path, make: Callable[[Path], None], ending: str) -> None:
    """Nothing blocks, nothing is followed or lost: the entry is reported, its neighbours are read."""
    filled(tmp_path, "node", "ui")
    (tmp_path / f"ui.{ending}").unlink()
    make(tmp_path / f"ui.{ending}")
    result = scan(tmp_path)
    fact = found(result, "ui").cert if ending == "crt" else found(result, "ui").key
    assert fact is not None
    assert (fact.problem_kind, bool(fact.problem)) == ("irregular", True)
    assert found(result, "node").matched


CONTENTS = [
    (b"", "empty"),
    (b" \n", "empty"),
    (b"garbage", "unparsable"),
    (b"-----BEGIN CERTIFICATE-----\nAA\n", "unparsable"),
]


@pytest.mark.parametrize(("content", "kind"), CONTENTS)
def test_scan_empty_or_unparsable_file_has_problem(tmp_path: Path, content: bytes, kind: str) -> None:
    """An empty file and one that does not parse have a problem each."""
    filled(tmp_path)
    (tmp_path / "node.crt").write_bytes(content)
    cert = found(scan(tmp_path), "node").cert
    assert cert is not None
    assert cert.problem_kind == kind


def test_scan_encrypted_key_has_problem(tmp_path: Path) -> None:
    """cockroach cannot load it: a problem, in words that never quote the file."""
    filled(tmp_path)
    (tmp_path / "node.key").write_text(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"
    )
    key = found(scan(tmp_path), "node").key
    assert key is not None
    assert "encrypted" in (key.problem or "")
    assert "MIIB" not in (key.problem or "")


@pytest.mark.parametrize("name", [b"\xff\xfe.crt", b"a\nb.crt", b"client.\xff.crt", b"client.\x1b[31m.key"])
def test_scan_undecodable_names_are_printable(tmp_path: Path, name: bytes) -> None:
    """Undecodable and multi-line names are facts that can be printed."""
    filled(tmp_path)
    (tmp_path / os.fsdecode(name)).write_text("x")
    result = scan(tmp_path)
    names = [f.name for f in result.unmanaged_files] + [f.file.name for p in result.pairs for f in (p.cert, p.key) if f]
    assert all(n.isprintable() for n in names)
    assert found(result, "node").matched


def test_scan_symlink_inside_directory_is_read(tmp_path: Path) -> None:
    """As cockroach reads it: the target's own mode counts."""
    filled(tmp_path)
    (tmp_path / "keys").mkdir()
    (tmp_path / "node.key").rename(tmp_path / "keys" / "node.key")
    (tmp_path / "node.key").symlink_to("keys/node.key")
    (tmp_path / "keys" / "node.key").chmod(0o644)
    key = found(scan(tmp_path), "node").key
    assert key is not None
    assert (key.problem, key.file.mode) == (None, 0o644)


def test_scan_kubernetes_symlinks_are_externally_managed(tmp_path: Path) -> None:
    """Links through ..data are externally managed: read, and never written."""
    real = tmp_path / "..2026"
    filled(real)
    (tmp_path / "..data").symlink_to("..2026")
    for name in ("ca.crt", "node.crt", "node.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    result = scan(tmp_path)
    assert result.directory.observe_only
    assert result.directory.observe_only.why is Why.KUBERNETES
    assert found(result, "node").matched


def test_scan_unchanged_file_is_cached(tmp_path: Path) -> None:
    """The same facts from the cache; a file that was rewritten is read again."""
    ca = filled(tmp_path, "node", "ui")
    scanner = Scanner()
    first = scanner.scan(str(tmp_path), now())
    again = scanner.scan(str(tmp_path), now())
    assert first == again
    assert found(first, "ui").cert is found(again, "ui").cert
    assert first.pairs is again.pairs
    put(tmp_path, "node", ca.pair())
    third = scanner.scan(str(tmp_path), now())
    assert found(third, "node") != found(first, "node")
    assert found(third, "ui").cert is found(first, "ui").cert


def test_scan_notices_each_kind_of_change(tmp_path: Path) -> None:
    """A key of another mode, a file that is gone, one more, and as many files by other names."""
    ca = filled(tmp_path, "node", "ui")
    scanner = Scanner()

    def names() -> list[str]:
        return [p.name.stem for p in scanner.scan(str(tmp_path), now()).pairs]

    assert names() == names() == ["ca", "node", "ui"]
    (tmp_path / "node.key").chmod(0o640)
    key = found(scanner.scan(str(tmp_path), now()), "node").key
    assert key is not None
    assert key.file.mode == 0o640
    (tmp_path / "ui.key").rename(tmp_path / "client.root.key")
    (tmp_path / "ui.crt").rename(tmp_path / "client.root.crt")
    assert names() == names() == ["ca", "client.root", "node"]
    put(tmp_path, "ui", ca.pair())
    assert names() == names() == ["ca", "client.root", "node", "ui"]
    (tmp_path / "ui.crt").unlink()
    (tmp_path / "ui.key").unlink()
    assert names() == ["ca", "client.root", "node"]


def test_scan_chain_follows_bundle(tmp_path: Path) -> None:
    """Another bundle: no chain; the old one again: a chain; past the CA's end: none."""
    ca = filled(tmp_path)
    scanner = Scanner()

    def problem(at: datetime | None = None) -> str | None:
        trust = found(scanner.scan(str(tmp_path), at or now()), "node").trust
        assert trust is not None
        return trust.problem

    assert problem() is None
    (tmp_path / "ca.crt").write_bytes(make_ca("another").cert)
    assert "is not in the bundle" in (problem() or "")
    (tmp_path / "ca.crt").write_bytes(ca.cert)
    assert problem() is None
    short = make_ca("short", days=10)
    (tmp_path / "ca.crt").write_bytes(short.cert)
    put(tmp_path, "node", short.pair(days=9))
    assert problem() is None
    put(tmp_path, "node", ca.pair())
    (tmp_path / "ca.crt").write_bytes(short.cert + ca.cert)
    assert problem(now() + timedelta(days=11)) is None, "an expired CA beside a valid one does no harm"


def test_scan_missing_directory_is_fact(tmp_path: Path) -> None:
    """A fact, not an error."""
    assert not scan(tmp_path / "nowhere").directory.exists
    (tmp_path / "file").write_text("x")
    found = scan(tmp_path / "file").directory
    assert (True, "Not a directory", True) == (found.exists, found.problem, found.not_directory), (
        "it is there: making it is no remedy"
    )


def test_scan_changed_keys_sees_mode_and_content(tmp_path: Path) -> None:
    """Between two scans scan_changed_keys shows the keys whose mode or content changed, and opens nothing."""
    filled(tmp_path, "node", "ui")
    scanner = Scanner()
    scanner.scan(str(tmp_path), now())
    assert scanner.scan_changed_keys(str(tmp_path)).pairs == ()
    (tmp_path / "ui.key").chmod(0o644)
    keys = [p.key for p in scanner.scan_changed_keys(str(tmp_path)).pairs]
    assert [("ui.key", 0o644)] == [(k.file.name, k.file.mode) for k in keys if k]
