"""kill -9 at every system call of a swap, and of its recovery: a matched pair, no wide key, no spare key."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from certagent.certs_dir.swap import Store
from tests.making import filled, keyed, matched

pytestmark = pytest.mark.slow
CALLS = ("openat", "rename", "renameat", "renameat2", "fsync", "fchmod", "unlinkat", "mkdirat", "write", "close")
BOUNDARIES = ("rename", "renameat", "renameat2", "fsync", "fchmod", "unlinkat", "mkdirat", "openat")
SCRIPT = str(Path(__file__).with_name("swap_once.py"))
ROOT = str(Path(__file__).parent.parent.parent)


def strace(*words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("strace") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no strace here: apt-get install -y strace")
    environ = {**os.environ, "PYTHONPATH": ROOT, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        ["strace", "-qq", "-f", "--seccomp-bpf", *words], capture_output=True, text=True, check=False, env=environ
    )


def program(*words: str) -> list[str]:
    return [sys.executable, *words]


def boundaries(certs: Path, what: str, *more: str) -> list[tuple[str, int]]:
    """Each system call after the mark, by name and ordinal."""
    trace = strace("-e", f"trace={','.join(CALLS)}", *program(SCRIPT, str(certs), what))
    counts: dict[str, int] = {}
    found: list[tuple[str, int]] = []
    begun = False
    for call in re.finditer(r"^(\w+)\((.*)$", trace.stderr, re.MULTILINE):
        counts[call[1]] = counts.get(call[1], 0) + 1
        begun = begun or "BEGIN" in call[2]
        if begun and call[1] in {*BOUNDARIES, *more}:
            found.append((call[1], counts[call[1]]))
    assert begun, trace.stderr[-500:]
    return found[:-1]


def kill_at(certs: Path, what: str, call: str, ordinal: int) -> None:
    """Run it, and have the kernel kill it at the entry of that call."""
    inject = f"inject={call}:signal=KILL:when={ordinal}"
    strace("-e", f"trace={call}", "-e", inject, *program(SCRIPT, str(certs), what))


def keys(certs: Path) -> list[Path]:
    return [p for p in certs.rglob("*") if p.is_file() and (p.name == "key" or ".key" in p.name)]


def sound(certs: Path) -> None:
    """What must hold after recovery, whatever happened before."""
    assert matched((certs / "node.crt").read_bytes(), (certs / "node.key").read_bytes())
    assert {p.stat().st_mode & 0o777 for p in keys(certs)} == {0o600}
    staged = certs / ".certagent" / "staged"
    assert {p.stem for p in staged.glob("*.key")} <= {p.stem for p in staged.glob("*.crt")}
    assert not (certs / ".certagent" / "intent").exists()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certs-dir with a sound pair staged over a live one."""
    certs = tmp_path_factory.mktemp("swap") / "certs"
    ca = filled(certs)
    Store(str(certs)).stage("node", *keyed(ca.pair()))
    return certs


def fresh(template: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(template, place)
    return place


def test_swap_killed_at_every_call_recovers(template: Path, tmp_path: Path) -> None:
    """At each boundary: old and new are both whole after recovery, and no key was ever wider than 0600."""
    points = boundaries(fresh(template, tmp_path / "count"), "node")
    assert len(points) > 25
    for call, ordinal in points:
        certs = fresh(template, tmp_path / "certs")
        kill_at(certs, "node", call, ordinal)
        assert {p.stat().st_mode & 0o777 for p in keys(certs)} == {0o600}, (call, ordinal)
        Store(str(certs)).recover()
        sound(certs)


def test_recovery_killed_at_every_call_is_finished_by_next(template: Path, tmp_path: Path) -> None:
    """A recovery that is killed is finished by the next one."""
    torn = fresh(template, tmp_path / "torn")
    os.rename(torn / ".certagent" / "staged" / "node.key", torn / "node.key")
    (torn / ".certagent" / "intent").write_text("{}")
    points = boundaries(fresh(torn, tmp_path / "count"), "recover")
    assert len(points) > 5
    for call, ordinal in points:
        certs = fresh(torn, tmp_path / "certs")
        kill_at(certs, "recover", call, ordinal)
        Store(str(certs)).recover()
        sound(certs)
