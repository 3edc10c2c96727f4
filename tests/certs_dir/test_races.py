"""Races that a hostile writer, or cockroach's own loader, would have to win."""

import subprocess
import sys
import time
from pathlib import Path
from select import select

import pytest

from certagent.certs_dir.swap import Store
from certagent.certs_dir.swap.files import digest
from tests.making import filled, keyed
from tests.waiting import DEADLINE

pytestmark = pytest.mark.slow
SECONDS, SWAPS, NOBODY = 3.0, 200, 65534


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
        store.stage("node", *keyed(pair))
        store.install("node", (digest(pair[0]), digest(pair[1])), 0o600, (None, None))
        swaps += 1
    assert loader.communicate(b"end\n")[0] == b"enough\n0\n"
