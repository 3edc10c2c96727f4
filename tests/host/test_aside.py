"""What is read aside: nobody waits for it, one reading at a time, and what came meanwhile is read after it."""

import threading
from datetime import UTC, datetime, timedelta

from certagent.host.aside import Aside
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


def test_nobody_waits() -> None:
    """Nothing is known while the first reading runs, and since when it runs; then what it found."""
    slow = Slow()
    reading = Aside("it", slow.read, slow.changed)
    assert (reading.found, reading.since, reading.ended) == (None, None, False)
    reading.begin(NOW)
    assert slow.inside.wait(60)
    assert (reading.found, reading.since, reading.ended) == (None, NOW, False)
    reading.wait(0.01)
    slow.go.set()
    reading.wait(60)
    assert (reading.found, reading.ended) == (0, True)
    wait_until(lambda: slow.changes == 1, "its end is told")


def test_once_at_a_time() -> None:
    """However often it is begun while it hangs: one more reading follows, which sees what came since."""
    slow = Slow()
    reading = Aside("it", slow.read, slow.changed)
    reading.begin(NOW)
    assert slow.inside.wait(60)
    slow.value = 1
    for minute in range(5):
        reading.begin(NOW + timedelta(minutes=minute))
    assert (slow.reads, reading.since) == (1, NOW)
    slow.go.set()
    wait_until(lambda: reading.since is None, "both ended")
    assert (slow.reads, reading.found, slow.changes) == (2, 1, 2)


def test_the_same_again_is_no_news() -> None:
    """Only what is different wakes anybody."""
    slow = Slow()
    slow.go.set()
    reading = Aside("it", slow.read, slow.changed)
    for _ in range(3):
        reading.begin(NOW)
        wait_until(lambda: reading.since is None, "it ended")
    assert (slow.reads, slow.changes) == (3, 1)
