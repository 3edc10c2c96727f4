"""A certs-dir by its path, as root: links are followed as the kernel would, but not those that others made."""

import errno
import os
from pathlib import Path

import pytest

from certagent.posix.directory import open_directory

pytestmark = pytest.mark.root
NOBODY = 65534
LEADS = ["real", "./real/", "real/../real", "link", "absolute", "chain", "link/../real", "up/real"]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A directory, and links to it of every kind."""
    (tmp_path / "real").mkdir()
    links = {"link": "real", "absolute": str(tmp_path / "real"), "chain": "link", "up": "real/..", "loop": "loop"}
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    return tmp_path


@pytest.mark.parametrize("path", LEADS)
def test_path_walk_follows_links_as_the_kernel(base: Path, path: str) -> None:
    """Relative, absolute and chained links, and `..` behind a link, lead where the kernel says; no fd is left open."""
    before = len(os.listdir("/proc/self/fd"))
    fd = open_directory(f"{base}/{path}")
    assert os.fstat(fd).st_ino == (base / "real").stat().st_ino
    os.close(fd)
    assert before == len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize(("path", "code"), [("loop", errno.ELOOP), ("nothing", errno.ENOENT)])
def test_path_walk_error_is_the_kernels(base: Path, path: str, code: int) -> None:
    """The kernel's own error, and no fd is left open."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r".") as refused:
        open_directory(f"{base}/{path}")
    assert code == refused.value.errno
    assert before == len(os.listdir("/proc/self/fd"))


def test_path_walk_symlink_of_other_user_is_restricted(base: Path) -> None:
    """It is followed to its owner's own directory, and nowhere else; one of root's may lead anywhere."""
    os.chown(base / "link", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(OSError, match="a link owned by uid 65534 leads to a directory of uid 0"):
        open_directory(f"{base}/link")
    os.chown(base / "real", NOBODY, NOBODY)
    for path in ("link", "absolute"):
        os.close(open_directory(f"{base}/{path}"))
