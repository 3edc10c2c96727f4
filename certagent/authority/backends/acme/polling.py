"""How long to wait for a CA that takes its time: the pauses between two looks, and the end of one request's patience.

Pauses grow from short (a laboratory's CA answers in milliseconds) to long (a real one is not to be asked all the time).
"""

import time
from collections.abc import Iterator

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0


def pauses() -> Iterator[float]:
    """Seconds between two looks, for ever."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)


class Patience:
    """So many seconds from now, by a clock that nobody sets."""

    def __init__(self, seconds: float) -> None:
        """It begins."""
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until it is over; below zero when it was."""
        return self._end - time.monotonic()

    def wait(self, seconds: float) -> bool:
        """Whether it lasted that long; where it would be over before, return at once."""
        if seconds > self.left():
            return False
        time.sleep(seconds)
        return True

    def rest(self, seconds: float) -> None:
        """Wait that long, or until it is over."""
        time.sleep(max(0.0, min(seconds, self.left())))
