"""File systems in a file, whose content at any moment is what a power cut would leave of them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MAKE = {
    "ext4": (12, ("mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4"), "loop,commit=600"),
    "xfs": (24, ("mkfs.xfs", "-q", "-f", "-m", "reflink=0,rmapbt=0"), "loop,nouuid"),
}
SMALL = {"TEST_DIR": "1", "TEST_DEV": "1", "QA_CHECK_FS": "1"}  # without it mkfs.xfs makes nothing under 300 MB


@dataclass(frozen=True, kw_only=True)
class Disk:
    """One of them. Everything written and not synced is in the page cache of the mounted file system alone."""

    kind: str
    image: Path

    def make(self) -> None:
        size, command, _ = MAKE[self.kind]
        with open(self.image, "wb") as file:
            file.truncate(size << 20)
        subprocess.run([*command, self.image], check=True, env={**os.environ, **SMALL})

    def mount(self, at: Path) -> None:
        subprocess.run(["mount", "-t", self.kind, "-o", MAKE[self.kind][2], self.image, at], check=True)

    def cut(self, image: Path) -> "Disk":
        """The disk as it is after a power cut now."""
        subprocess.run(["cp", "--sparse=always", self.image, image], check=True)
        return Disk(kind=self.kind, image=image)


def unmount(at: Path) -> None:
    """Now for everybody who looks; whoever has a file open there keeps it."""
    subprocess.run(["umount", "--lazy", at], check=True)


@contextmanager
def put_over(real: Path, place: Path) -> Iterator[None]:
    """Within the block a directory is seen at the path of another one, by whoever looks it up now."""
    subprocess.run(["mount", "--rbind", real, place], check=True)
    try:
        yield
    finally:
        unmount(place)


def copied(host: Path, without: str, to: Path) -> None:
    """A host's files as they are now, but for one directory, which is empty."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(host, to, symlinks=True, ignore=lambda where, _: [without] if Path(where) == host else [])
    (to / without).mkdir()
