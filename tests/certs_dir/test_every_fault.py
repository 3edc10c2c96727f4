"""Each call of each operation on a certs-dir fails, or is where the agent is killed; faulty.py says what must hold."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.process import missing

pytestmark = pytest.mark.slow
SOURCE = Path(__file__).with_name("faulty.c")
ROOT = Path(__file__).parent.parent.parent
MEMORY = Path("/dev/shm")


@pytest.mark.parametrize(("how", "least"), [("fail", 3500), ("kill", 700)])
def test_every_call_may_fail_or_be_the_last(how: str, least: int, memory: Path, tmp_path: Path) -> None:
    """No descriptor leaks, no pair is torn, no spare key and no intent stays, no way back is lost.

    A rename that fails is undone at once, and what is staged stays whole; what a kill leaves is gone after the start.
    """
    if shutil.which("gcc") is None:
        missing("C compiler", "apt-get install -y gcc libc6-dev")
    library = tmp_path / "faulty.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE], check=True)
    environ = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.certs_dir.faulty", str(memory), how]
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    points, wrong = json.loads(done.stdout)
    assert wrong == []
    assert sum(points.values()) > least
    assert {name for name, count in points.items() if count == 0} == ({"check"} if how == "kill" else set())
