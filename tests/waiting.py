"""Waiting for a condition, with a deadline: the only place where a test passes time."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
DEADLINE = 120.0  # generous: the machine is shared; only a failure ever takes it


def wait_until(condition: Callable[[], T], what: str | Callable[[], str] = "", deadline: float = DEADLINE) -> T:
    """Return the condition's value once it is true; AssertionError with `what` after the deadline (seconds).

    `what` may be a function: then it says what is seen at the end.
    """
    begin = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - begin
        assert waited < deadline, f"waited {deadline:g} s in vain: {what if isinstance(what, str) else what()}"
        threading.Event().wait(min(max(0.01, waited / 20), 0.05))  # each question costs processor time that others need


def in_time(attempt: Callable[[float], T], *deadlines: float) -> T:
    """What an attempt returns under the first deadline (seconds) that this machine is fast enough for.

    It fails as the attempt under the last one does.
    """
    for deadline in deadlines[:-1]:
        with suppress(AssertionError):
            return attempt(deadline)
    return attempt(deadlines[-1])
