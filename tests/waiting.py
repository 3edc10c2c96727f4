"""Waiting for a condition, with a deadline: the only place where a test passes time."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
DEADLINE = 60.0  # generous: the machine is shared


def wait_until(condition: Callable[[], T], what: str = "", deadline: float = DEADLINE) -> T:
    """Return the condition's value once it is true; AssertionError with `what` after the deadline (seconds)."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {deadline:g} s in vain: {what}"
        threading.Event().wait(0.01)
