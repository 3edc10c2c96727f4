"""The kernel answers one call with an error, or each call of a kind for as long as an agent runs.

The agent says so and ends well: nothing is torn, no way back is lost, no descriptor leaks; without the error the next
agent does what was left to do. The default form gives each call one error of the list in turn, and some opens EMFILE;
the long form gives each call each error.
"""

import errno
from collections import Counter
from itertools import cycle, product
from pathlib import Path

import pytest

from tests.faults.bench import Bench, of_ledger
from tests.faults.calls import Call, Do, Plan
from tests.faults.conftest import Counted
from tests.faults.forms import EVERY, LONG, sample
from tests.faults.trees import holds_at_once

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE)
FAULTY = ("rotation", "first start", "recovery forward", "recovery back")
STAYING = ("rotation", "first start")
EACH = [pytest.param(n, marks=pytest.mark.xdist_group(f"errors {n}")) for n in FAULTY]
PLACES = {
    "area": "/certs/.certagent*",
    "live": "/certs/[!.]*",
    "ledger": "/state/ledger*",
    "authorities' state": "/state/authority*",
    "CA": "/ca*",
    "log": "/agent.log",
}
CALLS = ("create", "write", "rename", "unlink", "mkdir", "fsync fdatasync", "truncate", "chmod chown")
OPENED = 0.12  # the share of the opens that fail in the default form
WELL = {0, 1, 2, 3, 64}  # the exit codes of an agent that says what is wrong


class Faulty(Bench):
    """A scenario under errors."""

    def begin(self) -> list[Call]:
        """The same; which files are open at the end of an agent without a fault."""
        calls = super().begin()
        self.descriptors = self.open()
        return calls

    def open(self) -> Counter[str]:
        """Which files of the host the agent had open at its end; of the ledger each thread may have it."""
        found = next(e["open"] for e in self.events() if e["event"] == "descriptors")
        return Counter(p for p in found if p.startswith(str(self.tree.base)) and "/ledger.db" not in p)

    def refuse(self, plan: Plan, what: object) -> None:
        """An agent under errors, and one without."""
        self.tree.restore()
        code = self.run(plan)
        if not self.nursery.page.fired:
            return
        self.points += 1
        try:
            assert code in WELL
            holds_at_once(self.tree)
            assert {} == self.ways_back - self.tree.ways_back()
            if not plan.root:
                assert {} == self.open() - self.descriptors
            self.recovered()
        except AssertionError as error:
            error.add_note(f"{errno.errorcode[plan.error]} at {what}: {self.said_last()}")
            raise

    def said_last(self) -> str:
        return self.nursery.log.read_text()[-500:]


def points(bench: Bench, calls: list[Call]) -> list[int]:
    """The ordinals of the calls to refuse; of the ledger's own only some in the default form."""
    thin = {n for n, call in enumerate(calls, 1) if of_ledger(call) and (n % EVERY or not bench.scenario.ledger)}
    return [n for n in range(1, len(calls) + 1) if LONG or n not in thin]


@pytest.mark.parametrize("name", EACH)
def test_error_at_each_call_costs_nothing_but_time(name: str, tmp_path: Path, counted: Counted) -> None:
    """At each call that changes a file an error of its kind; no descriptor left at each that opens one."""
    bench = Faulty(tmp_path, name)
    try:
        calls, turn = bench.begin(), cycle(ERRORS)
        for at in points(bench, calls):
            for error in ERRORS if LONG else (next(turn),):
                bench.refuse(Plan(do=Do.ERROR, at=at, error=error), calls[at - 1])
        bench.tree.restore()
        bench.run(Plan(opens=True))
        opened = [n for n, call in enumerate(bench.nursery.page.calls(), 1) if call.name in {"open", "create"}]
        for at in sample(opened, OPENED):
            bench.refuse(Plan(do=Do.ERROR, at=at, error=errno.EMFILE, opens=True), f"open {at}")
    finally:
        bench.nursery.stop()
    counted(f"one error, {name}: {bench.points}")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.xdist_group(f"stays {n}")) for n in STAYING])
def test_error_that_stays_ends_with_its_cause(name: str, tmp_path: Path, counted: Counted) -> None:
    """Each kind of call on each kind of file fails for as long as one agent runs; the next one is not hindered."""
    bench = Faulty(tmp_path, name)
    try:
        bench.begin()
        for place, path in PLACES.items():
            for names, error in product(CALLS, ERRORS if LONG else (errno.ENOSPC,)):
                root = str(tmp_path) if place == "log" else ""
                plan = Plan(do=Do.ERROR, names=names, path=path, error=error, root=root)
                bench.refuse(plan, f"{names} of {place}")
    finally:
        bench.nursery.stop()
    counted(f"an error that stays, {name}: {bench.points}")
