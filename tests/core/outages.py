"""A year with outages of the CA, by the core's own timing: renew_at and retry_at, nothing else.

`python -m tests.core.outages` prints the figures for each lifetime.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from certagent.core.facts import Attempt, Leaf
from certagent.core.timing import lifetime, renew_at, retry_at
from tests.core.building import DAY, NOW, leaf, want

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
YEAR = 365 * DAY
LIVES = (20 * MINUTE, HOUR, DAY, 7 * DAY, 30 * DAY, 90 * DAY)
KEPT = 30  # attempts of a kind that the ledger returns
Outage = tuple[datetime, datetime]


@dataclass(kw_only=True)
class Figures:
    """What a year showed."""

    asked: int = 0
    issued: int = 0
    expired: int = 0  # how often
    slowest: timedelta = timedelta(0)  # from the end of an outage to the new leaf, where the old one had expired
    fewest: int | None = None  # attempts in the last third of a leaf that no attempt could save
    busiest: int = 0  # attempts in any hour

    def add(self, tried: list[datetime], old: Leaf, outages: list[Outage]) -> None:
        """A renewal: when the CA was asked, at last with success."""
        self.asked, self.issued = self.asked + len(tried), self.issued + 1
        late = [at for at in tried if old.not_after - lifetime(old) / 3 <= at < old.not_after]
        if tried[-1] < old.not_after:
            return
        self.expired += 1
        back = max(end for _, end in outages if end <= tried[-1])
        self.slowest = max(self.slowest, tried[-1] - max(back, old.not_after))
        if any(a <= old.not_after - lifetime(old) / 3 and old.not_after <= b for a, b in outages):
            self.fewest = min(len(late), self.fewest if self.fewest is not None else len(late))


def outages(random: Random) -> Iterator[Outage]:
    """A dozen a year, from seconds to weeks."""
    at = NOW
    while at < NOW + YEAR:
        at += random.expovariate(12) * YEAR
        end = at + min(10 ** random.uniform(0, 6.3) * SECOND, 20 * DAY)
        yield at, end
        at = end


def year(life: timedelta, seed: int) -> Figures:
    """One host and one pair, whose CA is down now and then."""
    found, down, rule = Figures(), list(outages(Random(seed))), want()
    now, old, every = NOW, leaf(not_before=NOW, not_after=NOW + life), list[datetime]()
    while now < NOW + YEAR:
        now = max(now, renew_at(rule, old, f"db{seed}"))
        failed, tried = tuple[Attempt, ...](), [now]
        while any(a <= now < b for a, b in down):
            failed = (*failed, Attempt("issue", "node", now, "failed", "unreachable"))[-KEPT:]
            at = retry_at(failed, rule, old, f"db{seed}")
            assert at is not None
            now = at
            tried.append(now)
        found.add(tried, old, down)
        every += tried
        old = leaf(not_before=now, not_after=now + life)
    found.busiest = max(b - a for a, b in _hours(every))
    return found


def _hours(every: list[datetime]) -> Iterator[tuple[int, int]]:
    """For each attempt, how many come in the hour from it on."""
    end = 0
    for start, at in enumerate(every):
        while end < len(every) and every[end] < at + HOUR:
            end += 1
        yield start, end


if __name__ == "__main__":
    for span in LIVES:
        for number in range(3):
            print(f"{span!s:>18} seed {number}: {year(span, number)}")
