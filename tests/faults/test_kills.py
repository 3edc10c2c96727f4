"""kill -9 before and after every call that changes a file, by ordinal and by name, through the whole agent.

A killed process loses no page cache, so syncs do nothing here. The default form kills before each call by its ordinal;
of the ledger's own calls, which are most, before each seventh, in the scenarios that say so. To be killed after a call
is to be killed before the next one, unless threads run in another order: so after the first call of each name on each
file it kills at some of them alone. Nothing is different before and after a sync that does nothing. The long form
kills before and after each call.
"""

from pathlib import Path

import pytest

from tests.faults.bench import Bench, of_ledger
from tests.faults.calls import Call, Do, Plan, literally
from tests.faults.conftest import Counted
from tests.faults.forms import EVERY, LONG, sample
from tests.faults.scenarios import SCENARIOS

NAMED = 0.3
EACH = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in SCENARIOS]


def counts(call: Call) -> bool:
    """Whether the default form kills before each such call."""
    return not of_ledger(call) and call.name not in {"fsync", "fdatasync"}


@pytest.mark.parametrize("name", EACH)
def test_agent_killed_at_each_call_goes_on_at_next_start(name: str, tmp_path: Path, counted: Counted) -> None:
    """At each point: no wide key at once; after the next start no torn pair, no spare key, no way back fewer.

    Nothing that was staged whole is asked for again, and in the end everything is as without a fault.
    """
    bench = Bench(tmp_path, name)
    try:
        calls = bench.begin()
        for at, call in enumerate(calls, 1):
            if LONG or (at % EVERY == 0 and bench.scenario.ledger) or counts(call):
                for do in (Do.BEFORE, Do.AFTER) if LONG else (Do.BEFORE,):
                    bench.kill(Plan(do=do, at=at), call)
        named = dict.fromkeys(c for c in calls if LONG or bench.scenario.ledger or counts(c))
        for call in sample(named, NAMED):
            for do in (Do.BEFORE, Do.AFTER) if LONG else (Do.AFTER,):
                bench.kill(Plan(do=do, at=1, names=call.name, path=literally(call.path)), call)
    finally:
        bench.nursery.stop()
    counted(f"kills, {name}: {bench.points} at {len(calls)} calls; {bench.torn} left a pair that the next start mended")
