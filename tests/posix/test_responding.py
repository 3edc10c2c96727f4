"""Whether a path answers: a child touches it first where it may not."""

import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from certagent.posix import responding
from certagent.posix.responding import Touchers
from tests.system.hanging import Deaf, Hung
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.root]


@pytest.fixture
def touchers() -> Iterator[Touchers]:
    made = Touchers()
    yield made
    made.end()


def children() -> list[str]:
    """The touchers that run as children of this process."""
    words = ["pgrep", "-P", str(os.getpid()), "-f", "toucher.py"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.split()


def test_local_path_needs_no_child(touchers: Touchers, tmp_path: Path) -> None:
    """A directory, a file and what does not exist, on a local file system: the answer is yes, by no process."""
    before = children()
    for path in (tmp_path, tmp_path / "missing", Path("/etc/passwd")):
        assert touchers.responds(str(path))
    assert children() == before


@pytest.mark.parametrize("kind", [Hung, Deaf])
def test_hung_mount_keeps_one_child_however_often_it_is_asked(
    touchers: Touchers, tmp_path: Path, kind: type[Hung]
) -> None:
    """The second answer comes at once; a second path of the mount starts none; it answers after the mount is gone."""
    before = len(children())
    with kind(tmp_path):
        assert not touchers.responds(str(tmp_path))
        assert not touchers.responds(str(tmp_path / "other"))
        assert not touchers.responds(str(tmp_path), fresh=60)
        assert len(children()) == before + 1
    assert touchers.responds(str(tmp_path))


def test_waiting_for_a_hung_mount_ends_with_it(touchers: Touchers, tmp_path: Path) -> None:
    """A background reading waits in this way, outside the kernel, and goes on by itself."""
    over = threading.Event()

    def wait() -> None:
        touchers.wait(str(tmp_path))
        over.set()

    with Deaf(tmp_path):
        threading.Thread(target=wait, daemon=True).start()
        wait_until(lambda: touchers._hung, "the child hangs")
        assert not over.is_set()
    assert over.wait(60)


def test_toucher_touches_files_and_leaves_them_alone(tmp_path: Path) -> None:
    """A directory of a hundred files, a FIFO, a dangling link: it answers, with signs of life, and changes nothing."""
    for number in range(120):
        (tmp_path / f"{number}.crt").write_text("x")
    os.mkfifo(tmp_path / "fifo.key")
    (tmp_path / "gone.key").symlink_to("nowhere")
    before = {p.name: p.lstat().st_mtime_ns for p in tmp_path.iterdir()}
    words = ["python3", "-I", "-S", responding.CHILD]
    asked = b"".join(os.fsencode(p).hex().encode() + b"\n" for p in (tmp_path, tmp_path / "missing", "/etc/passwd"))
    done = subprocess.run(words, input=asked, capture_output=True, check=True, timeout=60)
    assert done.stdout == b"..\n.\n\n"
    assert before == {p.name: p.lstat().st_mtime_ns for p in tmp_path.iterdir()}
    assert stat.S_ISFIFO((tmp_path / "fifo.key").stat().st_mode)


def test_process_whose_mounts_cannot_be_read_does_not_respond(tmp_path: Path) -> None:
    """Unknown is no: a process that is gone owns nothing."""
    assert not responding.responds_for(2**22 + 1, str(tmp_path))
    assert responding.responds_for(os.getpid(), str(tmp_path))
