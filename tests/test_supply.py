"""The lock: every distribution that pip may install on a host has a pinned version and hashes."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).parents[1]
EXTRAS = {"program": (), "host": ("acme", "completion"), "developer": ("acme", "completion", "dev")}
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;]+)")


def wanted(extras: tuple[str, ...]) -> list[Requirement]:
    """What pyproject.toml asks for, itself left out."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    rows = [*project["dependencies"], *(row for extra in extras for row in project["optional-dependencies"][extra])]
    return [found for row in rows if (found := Requirement(row)).name != "certagent"]


def entries(lock: str) -> list[str]:
    """The lines of a lock, each with the hashes that belong to it."""
    text = (TOP / "requirements" / f"{lock}.txt").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def pinned(lock: str) -> dict[str, str]:
    found = [PINNED.match(entry) for entry in entries(lock)]
    assert all(found), f"{lock}.txt has a line that pins nothing"
    return {canonicalize_name(match[1]): match[2] for match in found if match}


@pytest.mark.parametrize("lock", [*EXTRAS, "release"])
def test_lock_has_hashes_for_every_distribution(lock: str) -> None:
    """pip --require-hashes takes each line: a name, one version, at least one SHA-256."""
    assert entries(lock)
    assert [entry for entry in entries(lock) if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("lock", EXTRAS)
def test_lock_is_within_ranges_of_pyproject(lock: str) -> None:
    """A range that pyproject.toml changes is locked anew: `make lock`."""
    versions = pinned(lock)
    outside = [str(w) for w in wanted(EXTRAS[lock]) if versions.get(canonicalize_name(w.name), "-") not in w.specifier]
    assert outside == []


def test_locks_agree_on_versions() -> None:
    """What the tests run with is what a host gets."""
    developer = pinned("developer")
    for lock in ("program", "host"):
        assert pinned(lock).items() <= developer.items()


@pytest.mark.parametrize(("made", "old"), [("2020-02-29", True), ("2099-01-01", False)])
def test_lock_age_is_told(tmp_path: Path, made: str, old: bool) -> None:
    """CI says how old the lock is, and warns after 90 days: a lock by itself never makes a day's build fail."""
    shutil.copy(TOP / "requirements" / "age", tmp_path)
    (tmp_path / "host.txt").write_text(f"# Made on {made} by `make lock`; not edited by hand.\n")
    told = subprocess.run([tmp_path / "age"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"the lock of the dependencies is -?\d+ days old\n", told.stdout)
    assert ("make lock" in told.stderr) == old


def test_lock_without_a_date_fails(tmp_path: Path) -> None:
    """A lock whose age cannot be told is an error of CI: nobody wrote it by `make lock`."""
    shutil.copy(TOP / "requirements" / "age", tmp_path)
    (tmp_path / "host.txt").write_text("certifi==1\n")
    assert subprocess.run([tmp_path / "age"], capture_output=True, check=False).returncode != 0
