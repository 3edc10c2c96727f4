"""A scenario that is put back and run again for each point of a test, and what holds afterwards."""

import json
import os
import signal
import socket
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from certagent.control.client import DaemonSilent, ask
from tests.faults.calls import Call, Nursery, Plan
from tests.faults.scenarios import ONCE, SCENARIOS, settle
from tests.faults.trees import Tree, holds_after_start, holds_at_once
from tests.waiting import DEADLINE, wait_until

LATER = 4 * 3600  # every pause after a failure is over by then


class Bench:
    """One scenario, put back and run again for each point."""

    def __init__(self, base: Path, name: str) -> None:
        self.tree, self.scenario = Tree(base), SCENARIOS[name]
        self.nursery = Nursery(base, self.tree.base)
        words = (str(self.tree.certs) if word == "DIR" else word for word in self.scenario.verb or ONCE)
        self.command = (*words, str(self.tree.host.config))
        self.points, self.torn, self.running = 0, 0, 0

    def begin(self) -> list[Call]:
        """The files of the beginning; the calls of a run without a fault, and what it leaves."""
        self.scenario.begin(self.tree, self.nursery)
        self.tree.keep()
        self.ways_back, self.asked = self.tree.ways_back(), self.tree.rows().asked
        self.run(Plan())
        calls = self.nursery.page.calls()
        if self.scenario.verb:
            self.ways_back = Counter()
            assert self.retired()
        self.nursery.set_clock(
            LATER if self.scenario.verb else 0, passed=True
        )  # a certificate without its key may be half a copy
        self.code = settle(self.tree, self.nursery)
        self.nursery.set_clock(0)
        self.left, self.most = self.names(), max(1, *(self.tree.rows().asked - self.asked).values(), self.scenario.most)
        holds_after_start(self.tree, self.ways_back)
        assert len(calls) >= self.scenario.least
        return calls

    def run(self, plan: Plan) -> int:
        """The agent under a plan, to its end; a daemon is given the scenario's command, and its calls count from then.

        The exit code, or the negative signal.
        """
        if not self.scenario.command:
            return self.nursery.run(plan, *self.command)
        pid = self.daemon()
        self.nursery.page.set(plan, pid)
        command, file = self.scenario.command.split()
        with suppress(DaemonSilent):
            ask(str(self.tree.base / "control.sock"), command, {"file": file})
        wait_until(lambda: self.nursery.has_ended() or self.said(self.scenario.event), self.scenario.event)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        return self.nursery.ended()

    def said(self, event: str) -> bool:
        """Whether the agent has logged that."""
        return any(e["event"] == event for e in self.events())

    def events(self) -> list[dict[str, Any]]:
        """The log of the agent that was begun last; whole lines only."""
        lines = self.nursery.log.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def names(self) -> set[str]:
        """The files of the certs-dir and of its area.

        Not those of generations, of which a retry may add one, nor what was refused, which is kept where that works.
        """
        files = (str(p.relative_to(self.tree.certs)) for p in self.tree.certs.rglob("*") if p.is_file())
        return {name for name in files if not name.startswith((".certagent/old/", ".certagent/refused/"))}

    def kill(self, plan: Plan, call: Call) -> None:
        """Kill the agent there; threads may run in another order, so that there are fewer calls once in a while."""
        self.tree.restore()
        if self.run(plan) != -signal.SIGKILL:
            assert self.nursery.page.fired == 0
            return
        self.points += 1
        try:
            self.recovered()
        except AssertionError as error:
            error.add_note(f"killed {plan.do.name} call {plan.at} ({plan.names or 'any'}), such as {call}")
            raise

    def recovered(self) -> None:
        """What has to hold at once, and after the next starts, holds."""
        holds_at_once(self.tree)
        asked, staged = self.tree.rows().asked, self.tree.staged()
        if self.scenario.verb and self.points % 2:  # it is given again, or an agent is started first
            assert 0 == self.nursery.run(Plan(), *self.command)
            assert self.retired()
        if self.tree.torn():
            self.torn += 1
            os.kill(self.daemon(), signal.SIGTERM)
            assert 0 == self.nursery.ended()
        code = settle(self.tree, self.nursery)
        holds_after_start(self.tree, self.ways_back)
        if not self.scenario.command and (code, self.names()) != (self.code, self.left):
            self.later()
        more = self.tree.rows().asked - asked
        assert [] == [stem for stem in staged if stem in more], "what was staged whole is not asked for again"
        assert max(more.values(), default=0) <= self.most, more

    def retired(self) -> bool:
        """Nothing of an agent is left in the certs-dir: no area, no key."""
        return not self.tree.area.exists() and not any(self.tree.certs.glob("*.key"))

    def daemon(self) -> int:
        """Start one; return its pid once it says that it is ready. What was torn is recovered by then."""
        path = self.tree.base.parent / "notify"
        path.unlink(missing_ok=True)
        words = ("run", "--log", "json", "-c", str(self.tree.host.config))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
            heard.bind(str(path))
            heard.settimeout(DEADLINE)
            pid = self.nursery.begin(Plan(), *words, environ={"NOTIFY_SOCKET": str(path)})
            while b"READY=1" not in heard.recv(4096):
                pass
            assert [] == self.tree.torn()
        self.running = pid
        return pid

    def later(self, nursery: Nursery | None = None) -> None:
        """Once the pauses are over, everything is as it is without a fault."""
        nursery = nursery or self.nursery
        nursery.set_clock(LATER, passed=True)
        try:
            code = settle(self.tree, nursery)
        finally:
            nursery.set_clock(0)
        holds_after_start(self.tree, self.ways_back)
        assert (self.code, self.left) == (code, self.names())


def of_ledger(call: Call) -> bool:
    return call.path.startswith("/state/ledger.db")
