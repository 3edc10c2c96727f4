"""`python -m bench.fleet [--hosts N] [--json]`: what a fleet asks of its CA, by the timing of the core in arrays.

Each row has the figure of the version before (0.1, without the grid), the bound, and what is measured now. The moments
of renewal follow from the hashes of the core. A retry would need a hash for each attempt of each host, minutes in all:
its draw is mixed from the host's own hash and the number of the attempt instead.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from hashlib import sha256

import numpy as np

from bench import arrays
from bench.arrays import Draws, Moments, micros
from bench.named import busiest_hour
from certagent.core import timing
from certagent.core.timing import unit

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
START = micros(timedelta(days=20_000))  # since 1970
OUTAGES = {  # of the CA, by lifetime: each ends while most leaves of those who wait are valid
    HOUR: (5 * MINUTE, 10 * MINUTE),
    DAY: (HOUR, 6 * HOUR),
    7 * DAY: (6 * HOUR, DAY, 2 * DAY),
    30 * DAY: (6 * HOUR, DAY, 7 * DAY),
    90 * DAY: (6 * HOUR, DAY, 7 * DAY, 14 * DAY),
}
SLICES, WIDE = 200, 20  # of a cycle, of the time after an outage


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. `before`: of version 0.1; `bound`: None where the row only reports."""

    name: str
    before: float | None
    bound: float | None
    measured: float
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Hosts by the hash of each, and one lifetime of their leaves."""

    draw: Draws
    life: timedelta

    @property
    def cycle(self) -> timedelta:
        return self.life * float(timing._fraction(self.life))

    @property
    def mean(self) -> float:
        """Requests in a second."""
        return len(self.draw) / self.cycle.total_seconds()

    def due(self, not_before: Moments) -> Moments:
        return arrays.renew_at(self.life, not_before, not_before, self.draw)

    def drawn(self, number: int) -> Draws:
        """A draw of each host for its attempt of that number: splitmix64 of its hash."""
        mixed = (self.draw * 2.0**48).astype(np.uint64) * np.uint64(2**16) + np.uint64(number)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(16)) / 2.0**48

    def some(self, chosen: np.ndarray) -> "Fleet":
        return replace(self, draw=self.draw[chosen])


def draws(hosts: int) -> Draws:
    """The hash of each host and its node.crt."""
    return np.array([unit(f"{sha256(b'%d' % n).hexdigest()[:32]}\ndb{n}\n/certs", "node") for n in range(hosts)])


def peak(at: Moments, begin: int, end: int, slices: int = SLICES) -> float:
    """Requests in the fullest slice of a span."""
    return float(np.histogram(at, bins=slices, range=(begin, end))[0].max())


def noisy(most: float, hosts: float) -> float:
    """A bound in multiples of so many hosts, with the noise of the fullest of many slices: five deviations."""
    return most * (1 + 5 / math.sqrt(most * hosts))


def second(at: Moments) -> float:
    """The share of them in the fullest second."""
    return float(np.bincount((at - at.min()) // micros(SECOND)).max()) / len(at)


def together(fleet: Fleet) -> Iterator[Row]:
    """Every leaf issued at one moment: `cockroach cert`, or a new cluster."""
    name, at = f"{told(fleet.life)} leaves issued together", np.full(len(fleet.draw), START)
    length, before = micros(fleet.cycle), 20 * float(timing._fraction(fleet.life))
    renewals = []
    for number in ("first", "second", "third"):
        begin, at = int(at.min()) if number == "first" else START + length * len(renewals), fleet.due(at)
        whole = peak(at, begin, begin + length) * SLICES / len(at)
        yield Row(
            name=f"{name}: peak/mean, {number} cycle", before=before, bound=noisy(2, len(at) / SLICES), measured=whole
        )
        renewals.append(at)
    period = float(np.abs(renewals[2] - renewals[1] - length).max()) / micros(fleet.life)
    yield Row(
        name=f"{name}: a later cycle against {timing._fraction(fleet.life)}", before=0.05, bound=1e-6, measured=period
    )


def away(fleet: Fleet, length: timedelta) -> Iterator[Row]:
    """A fleet that grew over time, whose CA is away for a while."""
    hosts, cycle, end = len(fleet.draw), micros(fleet.cycle), START + micros(length)
    issued, due = grown(fleet)
    ends, name = issued + micros(fleet.life), f"{told(fleet.life)} leaves, CA away for {told(length)}"
    asked = waited(fleet, due, ends, end)
    before = None
    if length > DAY:  # only then the pauses were others
        before = rate(fleet, waited(fleet, due, ends, end, growing=False), end, length)
    most = rate(fleet, asked, end, length)
    bound = noisy(expected(fleet, length), fleet.mean * length.total_seconds() / WIDE)
    yield Row(name=f"{name}: peak/mean after it", before=before, bound=bound, measured=most)
    again = fleet.due(np.where(asked < end + cycle, asked, issued))
    echo = peak(again, end + cycle, end + 2 * cycle, 20) * 20 / hosts
    yield Row(name=f"{name}: peak/mean one cycle later", before=None, bound=2.0, measured=echo)


def rate(fleet: Fleet, asked: Moments, end: int, length: timedelta) -> float:
    """Requests in the fullest 20th of the time after an outage that was as long, against the mean."""
    return peak(asked, end, end + micros(length), WIDE) / (length.total_seconds() / WIDE) / fleet.mean


def expected(fleet: Fleet, length: timedelta) -> float:
    """The same by the rule: 1 + D/W, where W is the pause of a host that has waited for part of D.

    While it doubles, a pause is 1/ln 4 of the wait in the mean. A host asks once in a slice at most.
    """
    wait = np.linspace(0, length / SECOND, 10_000)
    left = (fleet.life - fleet.cycle) / SECOND - wait
    pause = np.minimum(np.maximum(timing.CEILING / SECOND, wait / 4), np.maximum(left, 1) / 20)
    pause = np.minimum(np.maximum(wait / np.log(4), timing.FLOOR / SECOND), pause)
    return float(1 + (1 / np.maximum(pause, length / SECOND / WIDE)).mean() * (length / SECOND))


def grown(fleet: Fleet) -> tuple[Moments, Moments]:
    """When the live leaf of each host was issued, and when it is due, from START on: renewed for three cycles."""
    hosts, cycle = len(fleet.draw), micros(fleet.cycle)
    issued = START - 3 * cycle + np.arange(hosts) * cycle // hosts
    due = fleet.due(issued)
    while (early := due < START).any():
        issued = np.where(early, due, issued)
        due = fleet.due(issued)
    return issued, due


def waited(fleet: Fleet, due: Moments, ends: Moments, back: int, *, growing: bool = True) -> Moments:
    """When each host asks with success, given when it asks first and when the CA is back.

    Without `growing` by the pauses of the version before, which ended at six hours.
    """
    at, number = due.copy(), 1
    waiting = np.flatnonzero(at < back)
    while len(waiting):
        part = fleet.some(waiting)
        at[waiting] = arrays.retry_at(
            fleet.life,
            ends[waiting],
            due[waiting] if growing else at[waiting],
            at[waiting],
            number,
            part.drawn(number),
        )
        waiting = waiting[at[waiting] < back]
        number += 1
    return at


def expired(fleet: Fleet) -> Iterator[Row]:
    """Leaves of an hour whose CA is away until all have expired."""
    due = fleet.due(np.full(len(fleet.draw), START))
    back = START + micros(fleet.life + 20 * MINUTE)
    dark = (waited(fleet, due, np.full(len(due), START + micros(fleet.life)), back) - back) / 1e6
    name = f"{told(fleet.life)} leaves expired, CA back"
    yield Row(name=f"{name}: dark, p99", before=840, bound=81, measured=float(np.quantile(dark, 0.99)), unit="s")
    yield Row(
        name=f"{name}: share in the busiest second",
        before=None,
        bound=noisy(1 / 40, len(due)),
        measured=second((dark * 1e6).astype(np.int64)),
    )


def at_once(fleet: Fleet) -> Iterator[Row]:
    """What happens to all hosts in one second."""
    now = np.full(len(fleet.draw), START)
    ends, draw = now + micros(fleet.life) // 3, fleet.drawn(1)
    share = noisy(1 / min(15.0, fleet.life / 200 / SECOND), len(now))
    retried = arrays.retry_at(fleet.life, ends, now, now, 1, draw)
    named = arrays.retry_after(fleet.life, ends, now, now + micros(HOUR), draw)
    changed = arrays.spread_until(fleet.life, now, fleet.drawn(0))
    wide = min(fleet.life / 20, 15 * MINUTE) / SECOND
    name = f"{told(fleet.life)} leaves: share in the busiest second"
    yield Row(name=f"{name}, first retry", before=1, bound=share, measured=second(retried))
    yield Row(name=f"{name}, Retry-After", before=1, bound=share, measured=second(named))
    yield Row(name=f"{name}, changed setting", before=1, bound=noisy(1 / wide, len(now)), measured=second(changed))


def alike(life: timedelta, hosts: int) -> Iterator[Row]:
    """Hosts of one image, with one name, that differ by their machine-id."""
    found = np.array([unit(f"{n:032x}\ndb\n/certs", "node") for n in range(hosts)])
    at = Fleet(draw=found, life=life).due(np.full(hosts, START))
    largest = float(np.unique(at, return_counts=True)[1].max())
    yield Row(name="hosts of one name that renew in one microsecond", before=float(hosts), bound=2, measured=largest)


def told(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    size, word = next((n, w) for n, w in ((86400, "d"), (3600, "h"), (60, "min")) if seconds % n == 0)
    return f"{seconds // size} {word}"


def measure(hosts: int) -> list[Row]:
    """Every row of the table."""
    found, hashes = list[Row](), draws(hosts)
    for life, outages in OUTAGES.items():
        fleet = Fleet(draw=hashes, life=life)
        found += [*together(fleet), *at_once(fleet)]
        for length in outages:
            found += away(fleet, length)
    found += expired(Fleet(draw=hashes[: max(hosts // 10, 10_000)], life=HOUR))
    found += alike(30 * DAY, min(hosts, 10_000))
    found.append(Row(name="failed validations of a name in the worst hour", before=9, bound=5, measured=busiest_hour()))
    return found


def stands(rows: list[Row], hosts: int) -> list[dict[str, object]]:
    """What a CA must stand, in requests a second."""
    found: list[dict[str, object]] = []
    for life, outages in OUTAGES.items():
        mean = Fleet(draw=np.empty(hosts), life=life).mean
        name = f"{told(life)} leaves, CA away for "
        worst = {r.name: r.measured * mean for r in rows if r.name.startswith(name) and "after" in r.name}
        longest = worst[f"{name}{told(outages[-1])}: peak/mean after it"]
        found.append(
            {"lifetime": told(life), "mean": mean, "together": 2 * mean, "outage": told(outages[-1]), "after": longest}
        )
    return found


def table(rows: list[Row], needs: list[dict[str, object]], head: str) -> str:
    def shown(value: float | None) -> str:
        return "" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"

    lines = [head, "", f"{'figure':<72}{'before':>9}{'bound':>9}{'measured':>10}"]
    for row in rows:
        over = "  over its bound" if row.bound is not None and row.measured > row.bound else ""
        lines.append(
            f"{row.name:<72}{shown(row.before):>9}{shown(row.bound):>9}{shown(row.measured):>10} {row.unit}{over}"
        )
    lines += ["", f"{'requests a second':<20}{'mean':>10}{'issued together':>18}{'after an outage':>20}"]
    for need in needs:
        after = f"{need['after']:.3g} ({need['outage']})"
        lines.append(f"{need['lifetime']:<20}{need['mean']:>10.3g}{need['together']:>18.3g}{after:>20}")
    return "\n".join(lines)


def main() -> int:
    """Measure and print; the exit code is 1 where a row is over its bound."""
    parser = argparse.ArgumentParser(prog="bench.fleet")
    parser.add_argument("--hosts", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    rows = measure(arguments.hosts)
    needs, took, used = stands(rows, arguments.hosts), time.perf_counter() - begin, time.process_time()
    if arguments.json:
        shown = {
            "hosts": arguments.hosts,
            "seconds": took,
            "processor_seconds": used,
            "figures": [asdict(r) for r in rows],
            "requests": needs,
        }
        print(json.dumps(shown, indent=2))
    else:
        print(table(rows, needs, f"{arguments.hosts} hosts, {took:.0f} s, of a processor {used:.0f} s"))
    return int(any(r.bound is not None and r.measured > r.bound for r in rows))


if __name__ == "__main__":
    raise SystemExit(main())
