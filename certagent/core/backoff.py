"""Pauses that double: after a CA, a swap or a signal that did not help."""

from dataclasses import dataclass
from datetime import timedelta

DOUBLINGS = 30  # a power of two that no timedelta overflows by


@dataclass(frozen=True, slots=True)
class Backoff:
    """From `first` on, twice as long after each failure, `cap` at most."""

    first: timedelta
    cap: timedelta

    def after(self, failures: int) -> timedelta:
        """The pause after so many failures, one at least."""
        return min(self.first * 2.0 ** min(failures - 1, DOUBLINGS), self.cap)
