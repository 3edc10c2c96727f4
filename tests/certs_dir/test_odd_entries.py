"""Whatever stands in a certs-dir or in its staging area: everything else there goes on, and no descriptor leaks."""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from certagent.certs_dir import Scanner
from certagent.certs_dir.loaded import loaded_files
from certagent.certs_dir.lock import DirectoryLock
from certagent.certs_dir.swap import Store, pending
from certagent.certs_dir.swap.files import digest
from certagent.certs_dir.swap.stored import Draft
from certagent.certs_dir.verdicts import Verdicts
from certagent.certs_dir.verify import store_of
from certagent.core.facts import Trust
from certagent.keys import Key
from certagent.posix.errors import HostError
from tests.making import Ca, filled, inside, keyed
from tests.moments import now


def full(path: str) -> None:
    """A directory with something in it."""
    os.makedirs(f"{path}/inner")
    Path(path, "inner", "file").write_text("somebody's")


def unreadable(path: str) -> None:
    Path(path).write_text("x")
    Path(path).chmod(0)


KINDS: dict[str, Callable[[str], None]] = {
    "directory": os.mkdir,
    "full directory": full,
    "FIFO": os.mkfifo,
    "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
    "device": lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3)),
    "dangling link": lambda path: os.symlink("nowhere", path),
    "link loop": lambda path: os.symlink(os.path.basename(path), path),
    "link out": lambda path: os.symlink("/etc/passwd", path),
    "link to a directory": lambda path: os.symlink("/etc", path),
    "unreadable file": unreadable,
    "garbage": lambda path: Path(path).write_bytes(os.urandom(100)),
    "empty file": lambda path: Path(path).touch(),
}


def gone(path: bytes) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


AREA = ".certagent"
PLACES = [
    *("old.crt", "old.key", "client.app.crt", "client.app.key", "ui.crt", "ui.key", "ca-ui.crt"),
    *(b"\xff.crt", b"\xff.key", "a\n.crt"),
    *(f"{AREA}/{name}" for name in ("staged", "old", "pending", "refused", "taking", "intent", ".intent.new", "x")),
    *(f"{AREA}/staged/{name}" for name in ("ui.crt", "ui.key", ".node.crt.new", ".node.key.new", "x", b"\xff.crt")),
    *(f"{AREA}/old/{name}" for name in ("ui", "node", b"\xff", "node/7", "node/x", "node/" + "9" * 255)),
    *(f"{AREA}/old/node/7/{name}" for name in ("crt", "key", ".crt.new", "x")),
    *(f"{AREA}/pending/{name}" for name in ("ui.csr", "ui.key", "app.key", ".ui.key.new")),
    *(f"{AREA}/refused/{name}" for name in ("node.crt", "node.reason", ".node.crt.new")),
]  # fmt: skip


def staged(store: Store, ca: Ca) -> tuple[str, str]:
    pair = ca.pair()
    store.stage("node", *keyed(pair))
    return digest(pair[0]), digest(pair[1])


def everything(certs: Path, ca: Ca) -> None:
    """Everything that is done in a certs-dir."""
    path = str(certs)
    store, lock, scanner = Store(path), DirectoryLock(Store(path)), Scanner()
    lock.take()
    try:
        scanner.scan(path, now())
        scanner.scan_changed_keys(path)
        loaded_files(path, "")
        store.recover()
        digests = staged(store, ca)
        assert "node" in [row.stem for row in store.staged()]
        store.install("node", digests, 0o600, (None, None))
        assert digest((certs / "node.crt").read_bytes()) == digests[0]
        number = max(row.number for row in store.generations() if row.stem == "node")
        assert store.generation_marks()
        store.rollback("node", number, 0o600, (None, None))
        assert digest((certs / "node.crt").read_bytes()) != digests[0]
        staged(store, ca)
        store.discard("node", "it is bad")
        pending.keep(path, "ui", "mark", Draft(csr=b"a CSR", key=Key.of(b"a key")))
        draft = pending.kept(path, "ui", "mark")
        assert draft is not None
        assert (draft.csr, inside(draft.key)) == (b"a CSR", b"a key")
        pending.only(path, frozenset({"ui"}))
        pending.forget(path, "ui")
    finally:
        lock.release()


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.parametrize("kind", KINDS)
def test_odd_entry_anywhere_stops_nothing(memory: Path, kind: str) -> None:
    """In each place in turn: swaps, rollbacks, recoveries, scans, requests go on, and all is closed again."""
    certs = memory / "certs"
    ca = filled(certs)
    Store(str(certs)).install("node", staged(Store(str(certs)), ca), 0o600, (None, None))
    for place in PLACES:
        path = os.path.join(os.fsencode(certs), os.fsencode(place))
        gone(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        KINDS[kind](os.fsdecode(path))
        before = os.listdir("/proc/self/fd")
        everything(certs, ca)
        assert os.listdir("/proc/self/fd") == before, place
    assert "x" in Store(str(certs)).odd()


def test_odd_entries_of_staging_area_are_named(tmp_path: Path) -> None:
    """What certagent makes itself is not odd, at any moment of a swap; what stands beside it is named, escaped."""
    certs, path = tmp_path / "certs", str(tmp_path / "certs")
    ca = filled(certs)
    store, area = Store(path), certs / AREA
    assert store.odd() == ()
    os.close(store.lock())
    store.install("node", staged(store, ca), 0o600, (None, None))
    staged(store, ca)
    store.discard("node", "it is bad")
    staged(store, ca)
    pending.keep(path, "ui", "mark", Draft(csr=b"a CSR", key=Key.of(b"a key")))
    for ours in ("intent", ".intent.new", "staged/.ui.key.new", "pending/.ui.csr.new", "refused/.ui.reason.new"):
        (area / ours).write_text("")
    (area / "taking").mkdir()
    assert store.odd() == ()
    for file in ("x", "staged/x", "staged/\n.x", "pending/x.crt", "refused/node.key", "old/x", "old/node/x"):
        (area / file).write_text("")
    (area / "staged" / "ui.crt").mkdir()
    (area / "lock").unlink()
    (area / "lock").mkdir()
    assert store.odd() == (
        *("lock", "old/node/x", "old/x", "pending/x.crt", "refused/node.key"),
        *("staged/\\n.x", "staged/ui.crt", "staged/x", "x"),
    )


def test_staging_area_directory_in_place_of_file_gets_another_name(tmp_path: Path) -> None:
    """Directories in the place of our files are renamed, never emptied, and each is odd from then on."""
    certs = tmp_path / "certs"
    ca = filled(certs)
    store, area = Store(str(certs)), certs / AREA
    staged(store, ca)
    for _ in range(2):
        (area / "staged" / "ui.crt").unlink(missing_ok=True)
        full(str(area / "staged" / "ui.crt"))
        store.stage("ui", *keyed(ca.pair("ui")))
    assert store.odd() == ("staged/ui.crt.odd", "staged/ui.crt1.odd")
    assert (area / "staged" / "ui.crt.odd" / "inner" / "file").read_text() == "somebody's"


def test_retirement_leaves_what_is_not_ours(tmp_path: Path) -> None:
    """A directory that somebody put into the staging area is not removed with it; the error names it."""
    certs = tmp_path / "certs"
    filled(certs)
    full_place = certs / AREA / "backup"
    (certs / AREA).mkdir(mode=0o700)
    full(str(full_place))
    with pytest.raises(HostError, match=r"backup\.odd is not certagent's; remove it"):
        Store(str(certs)).remove_all(("node",))
    assert (certs / AREA / "backup.odd" / "inner" / "file").exists()
    assert not (certs / "node.key").exists()


def test_file_that_vanishes_between_two_reads_is_not_judged(tmp_path: Path) -> None:
    """A bundle or a certificate that is gone by then: there is no verdict yet; the next scan reads them."""
    certs = tmp_path / "certs"
    filled(certs)
    scan, verdicts = Scanner().scan(str(certs), now()), Verdicts()
    fd = os.open(certs, os.O_RDONLY)
    try:
        [ca, node] = verdicts.of(fd, scan.pairs, scan.pairs, now())
        assert (ca.trust, node.trust is not None, verdicts.hold(now())) == (None, True, True)
        kept = (certs / "node.crt").read_bytes()
        (certs / "node.crt").unlink()
        verdicts = Verdicts()
        [_, node] = verdicts.of(fd, scan.pairs, scan.pairs, now())
        assert node.trust == Trust("ca", unread=True)
        assert not verdicts.hold(now())
    finally:
        os.close(fd)
    store = store_of(scan.pairs, lambda file: (certs / "gone" / file).read_bytes(), roots=lambda: None, split=False)
    assert (dict(store.bundles), store.gone) == ({"ca": None}, {"ca"})
    (certs / "ca.crt").unlink()
    (certs / "node.crt").write_bytes(kept)
    verdicts, fd = Verdicts(), os.open(certs, os.O_RDONLY)
    try:
        [_, node] = verdicts.of(fd, scan.pairs, scan.pairs, now())
        assert (node.trust, verdicts.hold(now())) == (Trust("ca", unread=True), False)
    finally:
        os.close(fd)
