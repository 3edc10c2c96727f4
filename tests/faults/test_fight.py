"""Another program keeps opening a key: how long others can read it, and the alarm outlives the fight."""

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bench import Bench
from tests.faults.calls import Do, Plan
from tests.faults.conftest import Counted
from tests.waiting import wait_until

FIGHT = 12.0  # seconds
WIDE, NARROW = 0o644, 0o600


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A healthy host, and the daemon that runs on it."""
    made = Bench(tmp_path, "rotation")
    made.scenario.begin(made.tree, made.nursery)
    made.tree.host.write(names='["localhost", "127.0.0.1"]')
    try:
        made.daemon()
        yield made
    finally:
        made.nursery.stop()


def fought(key: Path, after: float) -> float:
    """Open a key whenever it is closed, so many seconds after; the share of the time in which it can be read."""
    begin = time.monotonic()
    last, readable, undone = begin, 0.0, 0
    while (at := time.monotonic()) - begin < FIGHT:
        wide = os.stat(key).st_mode & 0o777 != NARROW
        readable += at - last if wide else 0.0
        last = at
        if not wide:
            threading.Event().wait(after)
            last = time.monotonic()
            key.chmod(WIDE)
            undone += 1
    assert undone > 5
    return readable / (time.monotonic() - begin)


@pytest.mark.parametrize(("after", "most"), [(0.3, 0.5), (0.0, 1.0)], ids=["after 0.3 s", "at once"])
def test_fight_over_mode_leaves_alarm(bench: Bench, after: float, most: float, counted: Counted) -> None:
    """Undone after 0.3 s: others can read the key for less than half of the time. The alarm stays when it ends."""
    key = bench.tree.certs / "node.key"
    share = fought(key, after)
    wait_until(lambda: key.stat().st_mode & 0o777 == NARROW, "the last repair")
    assert share <= most
    wait_until(lambda: "key.exposed" in bench.tree.host.codes(), "the alarm")
    counted(f"the fight over a mode, undone after {after:g} s: readable {share:.1%} of the time")


def test_repair_that_fails_once_is_tried_again_soon(bench: Bench, counted: Counted) -> None:
    """One EIO of chmod costs a moment, not the pause after a fight."""
    key = bench.tree.certs / "node.key"
    pid = bench.running
    bench.nursery.page.set(Plan(do=Do.ERROR, at=1, names="chmod", path="/certs/node.key", error=errno.EIO), pid)
    begin = time.monotonic()
    key.chmod(WIDE)
    wait_until(lambda: key.stat().st_mode & 0o777 == NARROW, "the repair")
    took = time.monotonic() - begin
    assert bench.nursery.page.fired == 1
    assert took < 5
    counted(f"a repair that failed once: readable for {took:.1f} s")
