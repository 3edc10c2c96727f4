"""What a reload would no longer verify, by real certificates: what is loaded, beside what lies there."""

from pathlib import Path

import pytest

from certagent.certs_dir import Scanner, read_live
from certagent.certs_dir.loaded import established, judge_loaded, loaded_files
from certagent.certs_dir.system_roots import Roots
from certagent.certs_dir.verify import store_of
from certagent.core.facts import Loaded, Snapshot
from certagent.core.serving import material
from tests.making import Ca, filled, make_ca, put
from tests.moments import now


def digest(directory: Path) -> str:
    scan = Scanner().scan(str(directory), now())
    return material(Snapshot(scan.directory, scan.pairs))


def judged(directory: Path, files: dict[str, bytes]) -> Loaded:
    scan = Scanner().scan(str(directory), now())

    def read(file: str) -> bytes:
        return read_live(str(directory), file)

    store = store_of(scan.pairs, read, roots=lambda: Roots((0, 0, 0, 0), b""), split=False)  # type: ignore[arg-type]
    return judge_loaded(established("m", files, store.roots, now()), scan.pairs, store, now=now(), read=read)


@pytest.fixture
def loaded(tmp_path: Path) -> tuple[Path, Ca, dict[str, bytes]]:
    ca = filled(tmp_path / "certs", "node", "client.root")
    files = loaded_files(str(tmp_path / "certs"), digest(tmp_path / "certs"))
    assert files is not None
    assert set(files) == {"ca", "node"}  # a client's pair is loaded by no server
    return tmp_path / "certs", ca, files


def test_loaded_files_changed_before_copy_are_not_recorded(loaded: tuple[Path, Ca, dict[str, bytes]]) -> None:
    """A change between the verification and the copy: nothing is recorded rather than other files."""
    directory, ca, _ = loaded
    before = digest(directory)
    put(directory, "node", ca.pair("node"))
    assert loaded_files(str(directory), before) is None
    assert loaded_files(str(directory / "none"), before) is None


def test_reload_onto_other_ca_would_break_loaded_pairs(loaded: tuple[Path, Ca, dict[str, bytes]]) -> None:
    """A bundle of another CA breaks the pairs on disk, a consistent swap the loaded ones, one with both roots none."""
    directory, ca, files = loaded
    other = make_ca()  # of the same subject
    assert (judged(directory, files).breaks, judged(directory, files).outdated) == ((), ())
    (directory / "ca.crt").write_bytes(other.cert + ca.cert)
    assert (judged(directory, files).breaks, judged(directory, files).outdated) == ((), ())
    (directory / "ca.crt").write_bytes(other.cert)
    assert (judged(directory, files).breaks, judged(directory, files).outdated) == (("client.root", "node"), ())
    put(directory, "node", other.pair("node"))
    assert (judged(directory, files).breaks, judged(directory, files).outdated) == (("client.root",), ("node",))


def test_reload_is_not_blocked_by_pair_that_never_verified(loaded: tuple[Path, Ca, dict[str, bytes]]) -> None:
    """A client's pair of another CA was there before, and blocks nothing."""
    directory, _, files = loaded
    put(directory, "client.app", make_ca().pair("client.app"))
    assert judged(directory, files).breaks == ()
