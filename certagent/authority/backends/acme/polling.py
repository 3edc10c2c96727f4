"""How long to wait for a slow CA: the pauses between two polls, and the end of one request's patience.

Pauses grow from short (a CA in a lab answers in milliseconds) to long (a public one must not be polled too often).
"""

import time
from collections.abc import Iterator

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0


def pauses() -> Iterator[float]:
    """Seconds between two polls, without an end."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)


class Patience:
    """So many seconds from now, by a monotonic clock."""

    def __init__(self, seconds: float) -> None:
        """It begins."""
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until it is over; below zero when it was."""
        return self._end - time.monotonic()

    def wait(self, seconds: float) -> bool:
        """Wait; return whether the patience lasted that long. If it would end before, return immediately."""
        if seconds > self.left():
            return False
        time.sleep(seconds)
        return True

    def rest(self, seconds: float) -> None:
        """Wait that long, or until it is over."""
        time.sleep(max(0.0, min(seconds, self.left())))
