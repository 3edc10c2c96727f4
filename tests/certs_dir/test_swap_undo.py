"""A swap whose second rename cannot be made changes nothing; the flags that forbid it are seen before the first one."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certagent.certs_dir import Scanner
from certagent.certs_dir.lock import DirectoryLock
from certagent.certs_dir.swap import Store
from certagent.certs_dir.swap.files import digest
from certagent.posix.errors import HostError
from certagent.posix.flags import fixed
from tests.making import filled, inside, keyed
from tests.moments import now

Pair = tuple[bytes, bytes]


def run(*words: str | Path) -> None:
    subprocess.run(words, check=True, capture_output=True)


@contextmanager
def held(certs: Path, how: str, name: str) -> Iterator[None]:
    """A file, or "" for the directory, with a flag, or with a mount over it."""
    path, copy = certs / name, certs.parent / "copy"
    flag = {"immutable": "i", "append-only": "a"}.get(how)
    if flag is None:
        copy.write_bytes(path.read_bytes())
        run("mount", "--bind", copy, path)
    else:
        run("chattr", f"+{flag}", path)
    try:
        yield
    finally:
        run(*(("umount", path) if flag is None else ("chattr", f"-{flag}", path)))


def live(certs: Path) -> Pair:
    return (certs / "node.crt").read_bytes(), (certs / "node.key").read_bytes()


def waiting(tmp_path: Path) -> tuple[Path, Pair, Pair]:
    """A certs-dir with a pair that is staged: (path, old, new)."""
    certs = tmp_path / "certs"
    ca = filled(certs)
    new = ca.pair()
    Store(str(certs)).stage("node", *keyed(new))
    return certs, live(certs), new


def install(certs: Path, new: Pair) -> None:
    Store(str(certs)).install("node", (digest(new[0]), digest(new[1])), 0o600, (None, None))


CASES = [
    ("immutable", "node.crt", "chattr -i {}/node.crt"),
    ("append-only", "node.crt", "chattr -a {}/node.crt"),
    ("immutable", "node.key", "chattr -i {}/node.key"),
    ("immutable", "", "chattr -i {}"),
    ("append-only", "", "chattr -a {}"),
    ("mount point", "node.crt", "umount {}/node.crt"),
]


@pytest.mark.root
@pytest.mark.parametrize(
    ("how", "name", "remedy"), CASES, ids=[f"{name or 'directory'}-{how}" for how, name, _ in CASES]
)
def test_swap_of_file_that_cannot_be_replaced_changes_nothing(tmp_path: Path, how: str, name: str, remedy: str) -> None:
    """The error names the file, the cause and the remedy; nothing was renamed, and the same pair is installed later."""
    certs, old, new = waiting(tmp_path)
    with held(certs, how, name):
        with pytest.raises(HostError, match=how) as raised:
            install(certs, new)
        assert remedy.format(certs) in str(raised.value)
        assert live(certs) == old
        assert [(row.cert, inside(row.key)) for row in Store(str(certs)).staged()] == [new]
        assert not (certs / ".certagent" / "intent").exists()
        assert Store(str(certs)).generations() == ()
    install(certs, new)
    assert live(certs) == new


@pytest.mark.root
@pytest.mark.parametrize("how", ["immutable", "append-only"])
def test_scan_sees_flags(tmp_path: Path, how: str) -> None:
    """A flag is a fact of the file, and of the directory, and is gone with the next scan after it was taken away."""
    certs, scanner = tmp_path / "certs", Scanner()
    filled(certs)

    def seen() -> tuple[str, str, str]:
        scan = scanner.scan(str(certs), now())
        [pair] = [p for p in scan.pairs if p.name.stem == "node"]
        assert pair.cert is not None
        assert pair.key is not None
        return scan.directory.fixed, pair.cert.file.fixed, pair.key.file.fixed

    assert seen() == ("", "", "")
    with held(certs, how, "node.crt"):
        assert seen() == ("", how, "")
    with held(certs, how, "node.key"), held(certs, how, ""):
        assert seen() == (how, "", how)
    assert seen() == ("", "", "")


@pytest.mark.root
def test_recovery_goes_back_where_certificate_cannot_be_replaced(tmp_path: Path) -> None:
    """A swap was killed after the key, and the certificate is immutable: the previous key comes back."""
    certs, old, new = waiting(tmp_path)
    staged = certs / ".certagent" / "staged"
    (certs / "aside").write_bytes(old[1])
    (certs / "aside").chmod(0o600)
    os.rename(staged / "node.key", certs / "node.key")
    os.rename(certs / "aside", staged / "node.key")
    (certs / ".certagent" / "intent").write_text('{"stem": "node"}')
    with held(certs, "immutable", "node.crt"):
        assert "rolled back" in (Store(str(certs)).recover() or "")
        assert live(certs) == old
        assert not (certs / ".certagent" / "intent").exists()
    install(certs, new)
    assert live(certs) == new


@pytest.mark.parametrize("name", ["node.crt", "node.key"])
def test_swap_over_directory_changes_nothing(tmp_path: Path, name: str) -> None:
    """A directory in the place of a live file is not replaced: the other file stays what it is."""
    certs, old, new = waiting(tmp_path)
    (certs / name).unlink()
    (certs / name).mkdir()
    with pytest.raises(HostError, match=f"{name} is a directory, so it cannot be replaced; move it away"):
        install(certs, new)
    other = "node.key" if name == "node.crt" else "node.crt"
    assert (certs / other).read_bytes() in old
    (certs / name).rmdir()
    install(certs, new)
    assert live(certs) == new


def test_flags_of_what_is_not_there_are_unknown(tmp_path: Path) -> None:
    """Nothing is said of a file that is missing."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert fixed(fd, "node.crt") == ""
    finally:
        os.close(fd)


@pytest.mark.root
def test_lock_of_immutable_directory_names_flag(tmp_path: Path) -> None:
    """`chattr -R +i` on a certs-dir: it is observed only, and the remedy is the command that ends that."""
    certs = tmp_path / "certs"
    filled(certs)
    os.close(Store(str(certs)).lock())
    lock = DirectoryLock(Store(str(certs)))
    run("chattr", "-R", "+i", certs)
    try:
        lock.retry()
        assert lock.problem is not None
        assert (lock.problem.cause, lock.problem.remedy) == (f"{certs} is immutable", f"chattr -R -i {certs}")
    finally:
        run("chattr", "-R", "-i", certs)
    lock.retry()
    assert lock.problem is None
    lock.release()
