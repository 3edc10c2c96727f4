"""One run of a scenario, and what it counted."""

import random
import time
from dataclasses import dataclass

from tests.streams.dialing import PAUSE
from tests.streams.fleet import Fleet, removed
from tests.streams.host import Member
from tests.streams.rows import Row
from tests.system.running import open_tmp


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one run of a scenario counted."""

    scenario: str
    seed: int
    failed: int
    unreached: int
    total: int
    seconds: float
    note: str
    problem: str
    texts: str


def ran(row: Row, seed: int, member: type[Member] = Member, *, pause: float = PAUSE) -> Outcome:
    """Run one scenario with three hosts, each of which lists the others. `pause`: between two connections.

    `problem` is which condition was not met in the end, "" if all were.
    """
    begin, problem, note = time.monotonic(), "", ""
    base = open_tmp()
    try:
        with Fleet(base, member=member, pause=pause) as fleet:
            fleet.know(words=False)
            try:
                note = row.run(fleet, random.Random(seed))
            except AssertionError as error:
                problem = f"{error}\n{fleet.logs()}"
            counts, texts = fleet.counts().values(), fleet.told()
    finally:
        removed(base)
    failed, unreached, total = (sum(getattr(c, n) for c in counts) for n in ("failed", "unreached", "total"))
    return Outcome(
        scenario=row.name,
        seed=seed,
        failed=failed,
        unreached=unreached,
        total=total,
        seconds=round(time.monotonic() - begin, 1),
        note=note,
        problem=problem,
        texts=texts,
    )
