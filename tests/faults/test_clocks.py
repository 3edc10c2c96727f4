"""The clock steps, and steps back: the live pair is valid by a right clock within a minute."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from certagent import x509
from tests.faults.calls import Nursery
from tests.faults.conftest import Counted
from tests.faults.scenarios import settle
from tests.faults.trees import STEMS, Tree, holds_after_start
from tests.moments import now

DAY = 86400
STEPS = {"3 days ahead": 3 * DAY, "9 years ahead": 9 * 366 * DAY, "3 days behind": -3 * DAY, "1970": None}
DUE = {"due": "4d", "not due": "90d"}  # lifetimes: three days ahead, only the first one is due


class Timed:
    """An agent whose clock the test sets."""

    def __init__(self, base: Path, lifetime: str) -> None:
        self.tree = Tree(base)
        self.nursery = Nursery(base, self.tree.base)
        self.tree.host.write(house=f"lifetime = '{lifetime}'")
        self.at(0)

    def at(self, offset: float, *, synchronised: bool = True) -> None:
        """An agent that is started at the right time plus so many seconds."""
        self.nursery.set_clock(offset, synchronised=synchronised)
        settle(self.tree, self.nursery)

    def valid(self, at: datetime) -> bool:
        """Whether every live certificate is valid then."""
        files = [self.tree.certs / f"{stem}.crt" for stem in STEMS]
        leaves = [x509.parse_certificates(p.read_bytes())[0] for p in files]
        return all(leaf.not_before <= at < leaf.not_after for leaf in leaves)


@pytest.fixture
def timed(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Timed]:
    """Healthy, with leaves of that lifetime."""
    made = Timed(tmp_path, request.param)
    yield made
    made.nursery.stop()


@pytest.mark.parametrize("synchronised", [True, False])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("timed", DUE.values(), ids=DUE, indirect=True)
def test_clock_step_and_back_leaves_valid_pairs(timed: Timed, step: str, synchronised: bool) -> None:
    """Whatever was done by the wrong clock, a minute by the right one is enough."""
    offset = STEPS[step]
    for _ in range(2):  # an agent that starts then, and one more
        timed.at(-now().timestamp() if offset is None else offset, synchronised=synchronised)
    timed.at(0)
    if not timed.valid(now()):
        timed.at(60)
    assert timed.valid(now())
    holds_after_start(timed.tree, timed.tree.ways_back())


@pytest.mark.parametrize("timed", ["4d"], indirect=True)
def test_expired_pair_is_renewed_within_minute_of_ca(timed: Timed, counted: Counted) -> None:
    """A CA that is away until after the expiry, and a day longer: once it is back, a minute is enough."""
    away = timed.tree.base / "away"
    (timed.tree.base / "ca").rename(away)
    end = 0
    for end in range(2 * DAY, 6 * DAY, DAY // 4):
        timed.at(end)
    assert not timed.valid(now() + timedelta(seconds=end))
    away.rename(timed.tree.base / "ca")
    timed.at(end + 60)
    assert timed.valid(now() + timedelta(seconds=end + 60))
    counted(f"an outage beyond the expiry: {timed.tree.rows().asked['node']} issuances asked for")
