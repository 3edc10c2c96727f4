"""Building the packages from a clean clone."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.process import ROOT

INSTALL = "tests/install"


def run(*words: str | Path, **more: Any) -> str:
    """What a program prints; its stderr with a failure."""
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@dataclass(frozen=True, kw_only=True)
class Clone:
    """A clean clone, and what was built in it."""

    path: Path

    def make(self, what: str, **more: Any) -> Path:
        run("make", "-C", self.path, what, **more)
        suffix = {"deb": ".deb", "rpm": ".rpm"}[what]
        return next(p for p in (self.path / "dist").iterdir() if p.suffix == suffix)


def cloned(path: Path) -> Clone:
    run("git", "clone", "--quiet", ROOT, path)
    return Clone(path=path)
