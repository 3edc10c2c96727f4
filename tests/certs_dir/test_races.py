"""Races that a hostile writer, or cockroach's own loader, would have to win."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from select import select

import pytest

from certagent.certs_dir.swap import Store, restrict
from certagent.certs_dir.swap.files import digest
from certagent.posix.errors import HostError
from tests.making import filled
from tests.system.running import open_tmp
from tests.waiting import DEADLINE

pytestmark = pytest.mark.slow
SECONDS, SWAPS, NOBODY = 3.0, 200, 65534


ATTACK = """
import os, select, sys
certs, victim = sys.argv[1:3]
os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.chdir(certs)
rounds = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    with open("wide", "w") as file:
        file.write("x")
    os.chmod("wide", 0o644)
    os.rename("wide", "node.key")
    for make in (os.symlink, os.link):
        try:
            make(victim, "link")
            os.rename("link", "node.key")
        except PermissionError:
            continue
    rounds += 1
    if rounds == 50:
        print("enough", flush=True)
"""


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that every user reaches, wherever pytest has its own."""
    made = open_tmp()
    yield made
    shutil.rmtree(made)


@pytest.mark.root
def test_restrict_key_swapped_for_root_file_leaves_it_alone(reachable: Path) -> None:
    """While root's agent repairs a key of `nobody`, `nobody` swaps it for a file of root's: that file never changes."""
    certs, victim = reachable / "certs", reachable / "shadow"
    filled(certs)
    for path in (certs, *certs.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    victim.write_text("root:secret")
    victim.chmod(0o604)
    words = [sys.executable, "-c", ATTACK, str(certs), str(victim)]
    attacker = subprocess.Popen(words, stdin=-1, stdout=-1, text=True)
    assert attacker.stdout is not None
    until, repaired, enough = time.monotonic() + SECONDS, 0, False
    while time.monotonic() < until or repaired < 50 or not enough:
        assert time.monotonic() < until + DEADLINE, (repaired, enough)
        enough = enough or bool(select([attacker.stdout], [], [], 0)[0])
        with suppress(HostError, OSError):
            restrict(str(certs), "node.key", 0o600)
            repaired += 1
        info = victim.stat()
        assert (info.st_mode & 0o777, info.st_uid, info.st_gid) == (0o604, 0, 0)
    assert attacker.communicate("end\n")[0] == "enough\n"


LOADER = """
import os, select, sys
loads = missed = 0
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for name in os.listdir(sys.argv[1]):
        try:
            os.stat(f"{sys.argv[1]}/{name}")
        except FileNotFoundError:
            missed += 1
    loads += 1
    if loads == 200:
        print("enough", flush=True)
print(missed)
"""


def test_swap_never_removes_a_name_from_the_directory(tmp_path: Path) -> None:
    """cockroach lists the directory and then stats each name: in hundreds of swaps no name vanishes in between."""
    certs = tmp_path / "certs"
    ca = filled(certs)
    pairs = [ca.pair() for _ in range(2)]
    store = Store(str(certs), keep=2)
    # Unbuffered: a reader that takes "enough" together with "ready" would leave nothing for select to see.
    loader = subprocess.Popen([sys.executable, "-c", LOADER, str(certs)], stdin=-1, stdout=-1, bufsize=0)
    assert loader.stdout is not None
    assert loader.stdout.readline() == b"ready\n"
    swaps, enough, until = 0, False, time.monotonic() + DEADLINE
    while swaps < SWAPS or not enough:
        assert time.monotonic() < until, (swaps, enough)
        enough = enough or bool(select([loader.stdout], [], [], 0)[0])
        pair = pairs[swaps % 2]
        store.stage("node", *pair)
        store.install("node", (digest(pair[0]), digest(pair[1])), 0o600, (None, None))
        swaps += 1
    assert loader.communicate(b"end\n")[0] == b"enough\n0\n"
