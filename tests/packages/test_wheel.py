"""The wheel, by pip and by pipx."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from certagent import __version__
from tests.servers.process import ROOT, program

pytestmark = [pytest.mark.slow, pytest.mark.real]


def run(*words: str | Path, **more: str) -> str:
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=False, cwd="/", env={**os.environ, **more}
    )
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make wheel` does, by the pip of the tests: that of the checkout would be installed first."""
    clone = tmp_path_factory.mktemp("clone") / "certagent"
    run("git", "clone", "--quiet", ROOT, clone)
    (clone / ".venv").symlink_to(Path(sys.prefix))
    run(clone / "deploy" / "wheel", Path(sys.prefix) / "bin" / "pip", clone / "dist")
    return next((clone / "dist").iterdir())


def test_wheel_in_clean_environment_works_with_locked_distributions(wheel: Path, tmp_path: Path) -> None:
    """As docs/install.md says; the program needs nothing of the checkout."""
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    pip = (tmp_path / "venv" / "bin" / "pip", "install", "--quiet")
    run(*pip, "--require-hashes", "-r", ROOT / "requirements" / "host.txt")
    run(*pip, "--no-deps", wheel)
    assert run(tmp_path / "venv" / "bin" / "certagent", "--version") == f"certagent {__version__}\n"
    assert "fish" in run(tmp_path / "venv" / "bin" / "certagent", "completion", "fish")


def test_wheel_is_installed_by_pipx(wheel: Path, tmp_path: Path) -> None:
    """With an extra, from the file."""
    places = {"PIPX_HOME": str(tmp_path / "home"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    run(program("pipx", "tests/install"), "install", f"{wheel}[completion]", **places)
    assert run(tmp_path / "bin" / "certagent", "--version") == f"certagent {__version__}\n"
    assert "certagent" in run(tmp_path / "bin" / "certagent", "completion", "bash")
