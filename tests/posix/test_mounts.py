"""Which paths are on a file system that may not answer."""

import os
import subprocess
from pathlib import Path

import pytest

from certagent.posix.mounts import Mounts, hanging_point, hanging_points

TABLE = r"""
21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
22 21 0:5 / /dev rw - devtmpfs none rw
30 21 0:40 / /mnt/nfs rw shared:3 master:1 - nfs4 server:/x rw
31 21 0:41 / /home/me/with\040space rw - fuse.sshfs me@there rw
32 21 0:42 / /srv/auto rw - autofs systemd-1 rw
33 21 0:43 / /srv/odd rw - neverheardof none rw
34 21 0:44 / /mnt/over rw - nfs server:/y rw
35 34 0:45 / /mnt/over rw - tmpfs none rw
""".strip()
POINTS = frozenset({"/mnt/nfs", "/home/me/with space", "/srv/auto", "/srv/odd"})


def test_hanging_points_are_those_not_known_to_be_local() -> None:
    """A network's, FUSE, autofs and what nobody has heard of; of two at one place the one that covers the other."""
    assert hanging_points(TABLE) == POINTS


@pytest.mark.parametrize(("path", "point"), [
    ("/mnt/nfs", "/mnt/nfs"),
    ("/mnt/nfs/certs/x", "/mnt/nfs"),
    ("/mnt/nfs/../local", "/mnt/nfs"),
    ("/mnt/nfsx", None),
    ("/mnt", "/mnt/nfs"),
    ("/etc", None),
    ("//home/me/./with space/certs", "/home/me/with space"),
])  # fmt: skip
def test_hanging_point_of_path(path: str, point: str | None) -> None:
    """The first on its way, or one below it; the kernel looks into the mount before it goes back by `..`."""
    assert hanging_point(path, POINTS) == point


def test_hanging_point_everything_is_remote_where_the_root_is() -> None:
    """A host that has booted from a network."""
    assert hanging_point("/etc/x", frozenset({"/"})) == "/"


def test_hanging_point_follows_links_and_touches_nothing_below(tmp_path: Path) -> None:
    """Relative and absolute links, links to links and `..`; a loop ends; below the mount nothing is read."""
    real, mount = tmp_path / "real", tmp_path / "mount"
    (real / "below").mkdir(parents=True)
    (tmp_path / "absolute").symlink_to(mount / "certs")
    (tmp_path / "relative").symlink_to("real/../absolute")
    (tmp_path / "harmless").symlink_to("real/below")
    (tmp_path / "loop").symlink_to("loop")
    points = frozenset({str(mount)})
    assert hanging_point(f"{tmp_path}/absolute", points) == str(mount)
    assert hanging_point(f"{tmp_path}/relative/x", points) == str(mount)
    assert hanging_point(f"{tmp_path}/harmless", points) is None
    assert hanging_point(f"{tmp_path}/loop/x", points) is None


def test_hanging_point_of_another_root(tmp_path: Path) -> None:
    """A path of a process in a container: its links are read below its root."""
    (tmp_path / "certs").symlink_to("/net/certs")
    assert hanging_point("/certs", frozenset({"/net"}), str(tmp_path)) == "/net"
    assert hanging_point("/certs", frozenset({"/net"})) is None


@pytest.mark.root
def test_mounts_sees_a_mount_that_comes_and_goes(tmp_path: Path) -> None:
    """The table is read again when it changed, and only then. A 9p of nothing stands for a network's file system."""
    mounts = Mounts()
    assert mounts.hanging(str(tmp_path)) is None
    place = tmp_path / "place"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "ramfs", "none", place], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("cannot mount here")
    try:
        assert mounts.hanging(str(place)) is None
    finally:
        subprocess.run(["umount", place], check=True)
    assert os.listdir(place) == []
