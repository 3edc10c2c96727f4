"""core/timing.py for a whole fleet at once: the same renewal points and pauses, in numpy arrays of microseconds.

tests/test_fleet.py holds each function to its original, to the microsecond. What all hosts of a fleet share, such as
the lifetime, is a number; what each has of its own is an array.
"""

from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from certagent.core import spread, timing

Moments = NDArray[np.int64]  # microseconds since 1970
Draws = NDArray[np.float64]  # from 0 to 1: `timing.unit`
MICROSECOND = timedelta(microseconds=1)


def micros(span: timedelta) -> int:
    return span // MICROSECOND


def renew_at(life: timedelta, not_before: Moments, known: Moments, draw: Draws) -> Moments:
    """`timing.renew_at` of leaves without a window, by the default rule."""
    fraction = timing._fraction(life)
    step = micros(life * fraction.numerator / (2 * fraction.denominator))
    early = not_before + np.clip(known - not_before, 0, micros(life / timing.BACKDATED)) + step
    since = np.maximum(early, known)
    point = since + step - np.mod(since - _times(step, draw), step)
    latest = not_before + 2 * step - _times(micros(life / 20), draw)
    emergency = not_before + micros(life) - micros(life / 20)
    found: Moments = np.minimum(np.where(since == early, point, np.minimum(point, latest)), emergency)
    return found


def retry_at(life: timedelta, not_after: Moments, first: Moments, last: Moments, failures: int, draw: Draws) -> Moments:
    """`timing.retry_at` after so many failures in a row, the first and the last of them at these moments."""
    pause, part = _pause(life, not_after, first, last, failures), draw
    found: Moments = last + _times(pause, 0.5 + part)
    return found


def retry_after(life: timedelta, not_after: Moments, last: Moments, named: Moments, draw: Draws) -> Moments:
    """The same after one failure for which the CA named a moment."""
    pause = _pause(life, not_after, last, last, 1)
    found: Moments = np.maximum(last + _times(pause, 0.5 + draw), named + _times(pause, draw))
    return found


def spread_until(life: timedelta, since: Moments, draw: Draws) -> Moments:
    """`spread.spread_until` of hosts that go by a changed setting."""
    found: Moments = since + _times(micros(min(life / 20, spread.LONGEST)), draw)
    return found


def _pause(life: timedelta, not_after: Moments, first: Moments, last: Moments, failures: int) -> Moments:
    floor, left = micros(min(timing.FLOOR, life / 200)), not_after - last
    grown = np.maximum(micros(timing.CEILING), _divided(last - first, 4))
    cap = np.where(left > 0, np.minimum(grown, _divided(left, 20)), micros(timing.ONCE_EXPIRED))
    found: Moments = np.minimum(floor * 2 ** min(failures - 1, 30), np.maximum(cap, floor))
    return found


def _divided(span: Moments, by: int) -> Moments:
    """As a timedelta is divided: to the nearest microsecond, to the even one of two."""
    whole, rest = np.divmod(span, by)
    found: Moments = whole + ((2 * rest > by) | ((2 * rest == by) & (whole % 2 == 1)))
    return found


def _times(span: Moments | int, by: Draws) -> Moments:
    """As a timedelta is multiplied: exact, then to the nearest microsecond."""
    found: Moments = np.rint(np.asarray(span).astype(np.longdouble) * by.astype(np.longdouble)).astype(np.int64)
    return found
