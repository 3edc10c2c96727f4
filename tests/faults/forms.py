"""The default form of the suite, which CI runs, and the long one: CERTAGENT_FAULTS=long."""

import os
import random
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")
LONG = os.environ.get("CERTAGENT_FAULTS") == "long"
EVERY = 1 if LONG else 7  # of the ledger's own calls, which are most of all
SEED = 11  # of the samples: each run of the default form has the same points


def sample(points: Iterable[T], share: float) -> list[T]:
    """Given the points, in order, return so many of them at random, in order; all in the long form."""
    listed = list(points)
    if LONG or not listed:
        return listed
    chosen = random.Random(SEED).sample(range(len(listed)), max(1, round(share * len(listed))))
    return [listed[n] for n in sorted(chosen)]
