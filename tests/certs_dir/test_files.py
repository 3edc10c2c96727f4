"""Staging, the swap, generations, recovery, locks: on real files."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from certagent.certs_dir.swap import Store, restrict
from certagent.certs_dir.swap.files import digest
from certagent.certs_dir.swap.modes import refusal
from certagent.keys import Key
from certagent.posix.directory import SharedError
from certagent.posix.errors import HostError
from tests.making import Ca, filled, inside, keyed, matched, put
from tests.sandbox.test_worker import FEW

NOBODY = 65534


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    """Where the certs-dir goes."""
    return tmp_path / "certs"


def live(certs: Path, stem: str = "node") -> tuple[bytes, bytes]:
    return (certs / f"{stem}.crt").read_bytes(), (certs / f"{stem}.key").read_bytes()


def modes(certs: Path) -> set[int]:
    return {p.stat().st_mode & 0o777 for p in certs.rglob("*") if p.is_file() and "key" in p.name}


def swapped(store: Store, ca: Ca, stem: str = "node") -> tuple[bytes, bytes]:
    """One whole swap."""
    pair = ca.pair(stem)
    store.stage(stem, *keyed(pair))
    store.install(stem, (digest(pair[0]), digest(pair[1])), 0o600, (None, None))
    return pair


def test_swap_installs_staged_pair(certs: Path) -> None:
    """Staged, read back, installed: the new pair is live, nothing is left behind, no key is ever wider than 0600."""
    ca = filled(certs)
    store = Store(str(certs))
    before, pair = live(certs), ca.pair()
    store.stage("node", *keyed(pair))
    assert [("node", *pair)] == [(row.stem, row.cert, inside(row.key)) for row in store.staged()]
    assert live(certs) == before
    store.install("node", (digest(pair[0]), digest(pair[1])), 0o600, (None, None))
    assert live(certs) == pair
    assert store.staged() == ()
    assert modes(certs) == {0o600}
    assert (certs / ".certagent").stat().st_mode & 0o777 == 0o700
    assert sorted(p.name for p in certs.iterdir()) == [".certagent", "ca.crt", "node.crt", "node.key"]


def test_swap_installs_only_judged_bytes(certs: Path) -> None:
    """Bytes other than the judged ones are refused, and the live pair stays."""
    ca = filled(certs)
    store, before = Store(str(certs)), live(certs)
    judged, put_there = ca.pair(), ca.pair()
    store.stage("node", *keyed(put_there))
    with pytest.raises(HostError, match="staged files changed"):
        store.install("node", (digest(judged[0]), digest(judged[1])), 0o600, (None, None))
    assert live(certs) == before


@pytest.mark.slow
def test_swap_beside_staging_of_another_pair(certs: Path) -> None:
    """A job stages `ui` while `node` is swapped in: the recovery before a swap does not remove the staged pair."""
    ca = filled(certs, "node", "ui")
    pairs = [ca.pair(stem) for stem in ("node", "ui")]
    end, failures = threading.Event(), list[str]()

    def stage() -> None:
        while not end.is_set():
            try:
                Store(str(certs)).stage("ui", *keyed(pairs[1]))
                rows = Store(str(certs)).staged()
                assert [(row.cert, inside(row.key)) for row in rows if row.stem == "ui"] == [pairs[1]]
            except (OSError, AssertionError) as error:
                failures.append(str(error))

    job = threading.Thread(target=stage)
    job.start()
    store = Store(str(certs))
    for _ in range(40):
        store.stage("node", *keyed(pairs[0]))
        store.install("node", (digest(pairs[0][0]), digest(pairs[0][1])), 0o600, (None, None))
    end.set()
    job.join()
    assert failures == []


def test_swap_reuse_key_moves_certificate_only(certs: Path) -> None:
    """With the live key only the certificate moves."""
    ca = filled(certs)
    store, (_, key) = Store(str(certs)), live(certs)
    inode = (certs / "node.key").stat().st_ino
    from tests.x509.test_x509 import leaf_for

    cert = leaf_for(ca, key)
    store.stage("node", cert, None)
    store.install("node", (digest(cert), digest(key)), 0o600, (None, None))
    assert live(certs) == (cert, key)
    assert (certs / "node.key").stat().st_ino == inode


def test_discard_keeps_certificate_removes_key(certs: Path) -> None:
    """The certificate is kept in the staging area with the reason, the key is removed."""
    ca = filled(certs)
    store = Store(str(certs))
    store.stage("node", *keyed(ca.pair()))
    store.discard("node", "it is bad")
    assert store.staged() == ()
    kept = certs / ".certagent" / "refused"
    assert {"node.crt", "node.reason"} == {p.name for p in kept.iterdir()}
    assert (kept / "node.reason").read_text() == "it is bad"


def test_generations_are_kept_and_rolled_back(certs: Path) -> None:
    """As many earlier pairs as configured are kept; a rollback restores one of them."""
    ca = filled(certs)
    store = Store(str(certs), keep=3)
    pairs = [live(certs), *(swapped(store, ca) for _ in range(5))]
    kept = store.generations()
    assert [3, 4, 5] == sorted(row.number for row in kept)
    assert {row.cert for row in kept} == {pair[0] for pair in pairs[2:5]}
    store.rollback("node", 4, 0o600, (None, None))
    assert live(certs) == pairs[3]
    assert modes(certs) == {0o600}
    with pytest.raises(HostError, match="no generation 99"):
        store.rollback("node", 99, 0o600, (None, None))


def test_generation_mismatched_pair_is_not_kept(certs: Path) -> None:
    """A pair that does not match is not kept for a rollback."""
    ca = filled(certs)
    (certs / "node.key").write_bytes(ca.pair()[1])
    store = Store(str(certs))
    swapped(store, ca)
    assert store.generations() == ()


def torn(certs: Path, ca: Ca) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    """A swap that stopped after the key: (old, new)."""
    old, new = live(certs), ca.pair()
    Store(str(certs)).stage("node", *keyed(new))
    os.rename(certs / ".certagent" / "staged" / "node.key", certs / "node.key")
    (certs / ".certagent" / "intent").write_text("{}")
    return old, new


def test_recovery_staged_certificate_of_live_key_goes_forward(certs: Path) -> None:
    """The staged certificate belongs to the live key: it is installed."""
    ca = filled(certs)
    _, new = torn(certs, ca)
    assert "rolled forward" in (Store(str(certs)).recover() or "")
    assert live(certs) == new
    assert not (certs / ".certagent" / "intent").exists()
    assert Store(str(certs)).recover() is None


def test_recovery_staged_certificate_gone_goes_back(certs: Path) -> None:
    """The staged certificate is gone: the kept generation's key is restored."""
    ca = filled(certs)
    swapped(Store(str(certs)), ca)
    old = live(certs)
    swapped(Store(str(certs)), ca)
    put(certs, "node", old)
    torn(certs, ca)
    (certs / ".certagent" / "staged" / "node.crt").unlink()
    (certs / ".certagent" / "old" / "node" / "9").mkdir()
    (certs / ".certagent" / "old" / "node" / "9" / "crt").write_bytes(old[0])
    (certs / ".certagent" / "old" / "node" / "9" / "key").write_bytes(old[1])
    assert "rolled back to generation 9" in (Store(str(certs)).recover() or "")
    assert live(certs) == old


INTENTS = [b"", b"garbage", b'{"stem": "../../etc/passwd"}', b"{" * 10_000, b"\xff" * 100]


@pytest.mark.parametrize("intent", INTENTS, ids=["empty", "garbage", "hostile", "nested", "binary"])
def test_recovery_ignores_content_of_intent(certs: Path, intent: bytes) -> None:
    """Whatever the intent file says, recovery compares keys and certificates."""
    filled(certs)
    store, before = Store(str(certs)), live(certs)
    store.lock()
    (certs / ".certagent" / "intent").write_bytes(intent)
    assert "every pair matches" in (store.recover() or "")
    assert live(certs) == before
    assert not (certs / ".certagent" / "intent").exists()


def test_recovery_removes_spare_staged_key(certs: Path) -> None:
    """A staged key without a certificate is removed by recovery."""
    filled(certs)
    store = Store(str(certs))
    store.stage("node", b"x", Key.of(b"y"))
    (certs / ".certagent" / "staged" / "node.crt").unlink()
    (certs / ".certagent" / "staged" / ".node.key.new").write_text("half")
    store.recover()
    assert list((certs / ".certagent" / "staged").iterdir()) == []


HOLD = """
import sys
from certagent.certs_dir.swap import Store
held = Store(sys.argv[1]).lock()
print("held", flush=True)
input()
"""


def test_directory_lock_second_agent_is_refused(certs: Path) -> None:
    """A second process is refused and told who has the lock; the end of the first one frees it, however it ended."""
    filled(certs)
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(certs)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert first.stdout is not None
    first.stdout.readline()
    with pytest.raises(HostError, match=f"pid {first.pid}"):
        Store(str(certs)).lock()
    first.kill()
    first.communicate()
    os.close(Store(str(certs)).lock())


def test_retire_removes_staging_and_named_keys(certs: Path) -> None:
    """The staging area is removed; live keys only if named."""
    ca = filled(certs, "node", "ui")
    store = Store(str(certs))
    swapped(store, ca)
    store.remove_all(("ui",))
    assert sorted(p.name for p in certs.iterdir()) == ["ca.crt", "node.crt", "node.key", "ui.crt"]


def given(certs: Path) -> Path:
    os.chown(certs, NOBODY, NOBODY)
    return certs


def writable(certs: Path) -> Path:
    certs.chmod(0o777)
    return certs


def below(certs: Path) -> Path:
    os.chown(certs.parent, NOBODY, NOBODY)
    return certs


def linked(certs: Path) -> Path:
    os.symlink(certs, certs.parent / "link")
    os.lchown(certs.parent / "link", NOBODY, NOBODY)
    return certs.parent / "link"


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "lock": Store.lock,
    "stage": lambda store: store.stage("node", b"x", Key.of(b"y")),
    "recover": Store.recover,
    "remove": lambda store: store.remove_all(("node",)),
    "restrict": lambda store: restrict(store.path, "node.key", 0o600),
}


@pytest.mark.root
@pytest.mark.usefixtures("usual_umask")
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("others", [given, writable, below, linked])
def test_root_changes_nothing_where_others_may_write(
    certs: Path, others: Callable[[Path], Path], operation: Callable[[Store], object]
) -> None:
    """The directory is another user's, or writable, or below one, or behind a link that another user made."""
    filled(certs)
    (certs / "node.key").chmod(0o644)
    os.close(Store(str(certs)).lock())
    (certs / ".certagent" / "lock").unlink()
    before = {path: path.lstat().st_ctime_ns for path in certs.iterdir()}
    store = Store(str(others(certs)))
    with pytest.raises(SharedError, match="root changes nothing in"):
        operation(store)
    assert {path: path.lstat().st_ctime_ns for path in certs.iterdir()} == before


GIVE = """
import sys
from certagent.certs_dir.swap import Store
from certagent.posix.as_user import join
join([65534])
store = Store(sys.argv[1])
store.lock()
store.rollback("node", 1, 0o640, (0, 65534))
"""


@pytest.mark.root
@pytest.mark.usefixtures("usual_umask")
def test_swap_gives_root_key_to_group_without_cap_chown(certs: Path) -> None:
    """With the capabilities of the root unit: it is in the group itself, and so may give its own files to it."""
    swapped(Store(str(certs)), filled(certs))
    command = ["setpriv", f"--bounding-set={FEW}", f"--inh-caps={FEW}", sys.executable, "-c", GIVE, str(certs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    info = (certs / "node.key").stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o777) == (0, 65534, 0o640), done.stderr


def test_staging_area_symlink_is_refused(certs: Path) -> None:
    """A symlink in place of the staging area is refused: nothing is written through it."""
    filled(certs)
    elsewhere = certs.parent / "elsewhere"
    elsewhere.mkdir()
    (certs / ".certagent").symlink_to(elsewhere)
    with pytest.raises(HostError, match="cannot use"):
        Store(str(certs)).stage("node", b"x", Key.of(b"y"))
    assert list(elsewhere.iterdir()) == []


def test_restrict_regular_file_only(certs: Path) -> None:
    """A regular file gets its mode; a symlink, a FIFO, a hard link are refused and their targets untouched."""
    filled(certs)
    (certs / "node.key").chmod(0o644)
    restrict(str(certs), "node.key", 0o600)
    assert (certs / "node.key").stat().st_mode & 0o777 == 0o600
    victim = certs.parent / "victim"
    victim.write_text("x")
    victim.chmod(0o644)
    (certs / "ui.key").symlink_to(victim)
    os.mkfifo(certs / "a.key")
    for name in ("ui.key", "a.key"):
        with pytest.raises((HostError, OSError)):
            restrict(str(certs), name, 0o600)
    assert victim.stat().st_mode & 0o777 == 0o644
    assert matched(*live(certs))


REFUSED = [
    ("regular, one name", True, 1, True, None),
    ("a link, a FIFO, a device", False, 1, True, "cannot restrict node.key: it is not a regular file"),
    ("two names, as root", True, 2, True, "cannot restrict node.key as root: it has 2 hard links; remove the others"),
    ("two names, as the owner", True, 2, False, None),
]


@pytest.mark.parametrize(
    ("regular", "names", "as_root", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_restrict_hard_link_is_refused_for_root(regular: bool, names: int, as_root: bool, why: str | None) -> None:
    """Root does not change a file that another user may have hard-linked; an owner can do no more than that."""
    assert refusal("node.key", regular=regular, names=names, as_root=as_root) == why
