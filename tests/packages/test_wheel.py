"""The wheel, by pip and by pipx: the blocks of docs/install.md, in a clean clone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from certagent import __version__
from tests.documented import all_blocks
from tests.servers.process import ROOT, program

pytestmark = [pytest.mark.slow, pytest.mark.real]
PAGE = [b.commands for b in all_blocks() if b.page == "docs/install.md"]
SAID = f"certagent {__version__}\n"


def run(script: str | Path, at: Path, **more: str) -> str:
    """What a script prints, in a directory."""
    words = ["bash", "-euo", "pipefail", "-c", str(script)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=at, env={**os.environ, **more})
    assert done.returncode == 0, f"{script}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def block(first: str) -> str:
    """The block that begins like this."""
    (found,) = [b for b in PAGE if b.startswith(first)]
    return found


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After `make wheel`, with the virtual environment of the tests in the place of one of its own."""
    base = tmp_path_factory.mktemp("clone")
    run(f"git clone --quiet '{ROOT}' certagent", base)
    (base / "certagent" / ".venv").symlink_to(sys.prefix)
    (base / "certagent" / ".venv" / ".program").touch()
    run(block("make wheel"), base / "certagent")
    return base / "certagent"


def test_wheel_with_locked_distributions(clone: Path, tmp_path: Path) -> None:
    """The program needs nothing of the checkout then."""
    run(block("python3 -m venv"), clone)
    certagent = clone / "venv" / "bin" / "certagent"
    assert run(f"'{certagent}' --version", tmp_path) == SAID
    assert "certagent" in run(f"'{certagent}' completion fish", tmp_path)


def test_wheel_by_pipx(clone: Path, tmp_path: Path) -> None:
    """From the file; the directory that is checked has nothing, which `check` says with 2."""
    program("pipx", "tests/install")
    (clone / "certs").mkdir()
    places = {"PIPX_HOME": str(tmp_path / "home"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    said = run(f"{block('pipx install').rstrip()} || test $? = 2", clone, PATH=path, **places)
    assert "node.crt is missing" in said
    assert run(f"'{tmp_path}/bin/certagent' --version", tmp_path) == SAID


def test_wheel_takes_extras(clone: Path) -> None:
    """The name of the file with the extras behind it, as the text says."""
    wheel = next((clone / "dist").iterdir()).name
    page = (ROOT / "docs" / "install.md").read_text()
    assert f"`./dist/{wheel}[acme,completion]`" in page
    words = f"-m pip install --quiet --dry-run --no-deps './dist/{wheel}[acme,completion]'"
    run(f"'{sys.executable}' {words}", clone)
