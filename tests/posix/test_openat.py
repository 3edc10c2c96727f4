"""A path that may not leave a directory, resolved by the kernel and, where it cannot, by hand: the same answers."""

import errno
import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from certagent.posix.openat import BENEATH, IN_ROOT, NO_MAGICLINKS, open_within, walk

Resolve = Callable[[int, str, int], int]
WAYS: dict[str, Resolve] = {
    "kernel, in root": lambda fd, path, flags: open_within(fd, path, flags, IN_ROOT),
    "by hand, in root": lambda fd, path, flags: walk(fd, path, flags, in_root=True),
    "kernel, beneath": lambda fd, path, flags: open_within(fd, path, flags, BENEATH | NO_MAGICLINKS),
    "by hand, beneath": lambda fd, path, flags: walk(fd, path, flags, in_root=False),
}
PATHS = {  # path: what it leads to below the root, in a root of its own and beneath
    "a/file": ("a/file", "a/file"),
    "./a//file": ("a/file", "a/file"),
    "/a/file": ("a/file", errno.EXDEV),
    "a/../a/file": ("a/file", "a/file"),
    "../../a/file": ("a/file", errno.EXDEV),
    "inside": ("a/file", "a/file"),
    "absolute": ("etc/shadow", errno.EXDEV),
    "upwards": ("etc/shadow", errno.EXDEV),
    "chain": ("a/file", "a/file"),
    "loop": (errno.ELOOP, errno.ELOOP),
    "nothing": (errno.ENOENT, errno.ENOENT),
    "a/file/x": (errno.ENOTDIR, errno.ENOTDIR),
    "directory/file": ("a/file", "a/file"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with an etc/shadow of its own, and links of every kind."""
    for name in ("a/file", "etc/shadow"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    links = {"inside": "a/file", "absolute": "/etc/shadow", "upwards": "../../../../etc/shadow", "chain": "inside"}
    for name, target in {**links, "loop": "loop", "directory": "a"}.items():
        (tmp_path / name).symlink_to(target)
    return tmp_path


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("way", WAYS)
def test_openat2_never_leaves_the_directory(root: Path, way: str, path: str) -> None:
    """Never out of the directory: an absolute link leads to the root's own file, or is refused; no fd is left open."""
    expected = PATHS[path][way.endswith("beneath")]
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    gc.collect()  # what tests before left to the collector must not be closed while we count
    before = len(os.listdir("/proc/self/fd"))
    try:
        if isinstance(expected, int):
            with pytest.raises(OSError, match=r".") as refused:
                WAYS[way](fd, path, os.O_RDONLY)
            assert refused.value.errno == expected
        else:
            with os.fdopen(WAYS[way](fd, path, os.O_RDONLY)) as file:
                assert file.read() == expected
            only_path = WAYS[way](fd, path, os.O_PATH)
            assert os.fstat(only_path).st_ino == (root / expected).stat().st_ino
            os.close(only_path)
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        os.close(fd)
