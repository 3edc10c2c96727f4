"""What is read aside: nobody waits for it, one reading at a time, and what came meanwhile is read after it."""

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

from certagent.posix.background import BackgroundReader
from tests.waiting import wait_until

NOW = datetime(2026, 11, 25, tzinfo=UTC)


class Slow:
    """A path whose content is `value`; it answers when it may."""

    def __init__(self) -> None:
        self.value, self.reads, self.changes = 0, 0, 0
        self.go, self.inside = threading.Event(), threading.Event()

    def read(self) -> int:
        self.reads += 1
        value = self.value
        self.inside.set()
        self.go.wait(60)
        return value

    def changed(self) -> None:
        self.changes += 1


def test_background_reader_first_reading_blocks_nobody() -> None:
    """Nothing is known while the first reading runs, and since when it runs; then its result."""
    slow = Slow()
    reading = BackgroundReader("it", slow.read, slow.changed)
    assert (reading.found, reading.since, reading.ended) == (None, None, False)
    reading.begin(NOW)
    assert slow.inside.wait(60)
    assert (reading.found, reading.since, reading.ended) == (None, NOW, False)
    reading.wait(0.01)
    slow.go.set()
    reading.wait(60)
    assert (reading.found, reading.ended) == (0, True)
    wait_until(lambda: slow.changes == 1, "its end is told")


def test_background_reader_runs_one_reading_at_a_time() -> None:
    """However often it is started while it hangs: one more reading follows, which sees later changes."""
    slow = Slow()
    reading = BackgroundReader("it", slow.read, slow.changed)
    reading.begin(NOW)
    assert slow.inside.wait(60)
    slow.value = 1
    for minute in range(5):
        reading.begin(NOW + timedelta(minutes=minute))
    assert (slow.reads, reading.since) == (1, NOW)
    slow.go.set()
    wait_until(lambda: reading.since is None, "both ended")
    assert (slow.reads, reading.found, slow.changes) == (2, 1, 2)


def test_background_reader_same_result_wakes_nobody() -> None:
    """Only a different result wakes the loop."""
    slow = Slow()
    slow.go.set()
    reading = BackgroundReader("it", slow.read, slow.changed)
    for _ in range(3):
        reading.begin(NOW)
        wait_until(lambda: reading.since is None, "it ended")
    assert (slow.reads, slow.changes) == (3, 1)


def test_background_reader_second_reading_is_timed_from_its_start() -> None:
    """The wait for the first one does not count: a slow server is not a hung mount."""
    first, second, inside = threading.Event(), threading.Event(), threading.Event()
    gates = [first, second]

    def read() -> None:
        gate = gates.pop(0)
        if gate is second:
            inside.set()
        gate.wait(60)

    reading = BackgroundReader("it", read, lambda: None)
    reading.begin(NOW)
    reading.begin(NOW)
    ended = datetime.now(UTC)
    first.set()
    assert inside.wait(60)
    since = reading.since
    second.set()
    assert since is not None
    assert since >= ended


BROKEN = """
from datetime import UTC, datetime
from certagent.posix.background import BackgroundReader
ways = [True, False]
def read():
    if ways.pop(0):
        raise MemoryError
    return 7
reading = BackgroundReader("it", read, lambda: None)
reading.begin(datetime.now(UTC))
while reading.since is not None or len(ways) > 1:
    pass
reading.begin(datetime.now(UTC))
reading.wait(60)
print(reading.found)
"""


@pytest.mark.slow
def test_background_reader_continues_after_an_exception() -> None:
    """A reading should not raise; if it does, the next one runs anyway."""
    ran = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, check=True)
    assert ran.stdout == "7\n"
