"""Power cuts in one scenario, in a mount namespace of its own: argv is the order as JSON, stdout a report as JSON.

One directory of the host (certs, state or ca) is a file system in a file; the rest stands for another disk, which has
lost nothing. At each call below that directory the agent is stopped. What is in the file then is what a power cut
leaves: it is copied, mounted over the host, and an agent is started there. With `unrelated` somebody else syncs a file
of that file system just before each cut, as happens all the time: names are durable then, contents are not.
"""

import json
import os
import shutil
import signal
import sys
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from certagent import x509
from tests.faults.bench import Bench
from tests.faults.calls import Call, Do, Nursery, Plan
from tests.faults.disks import Disk, copied, put_over, unmount
from tests.faults.scenarios import settle
from tests.faults.trees import Tree, holds_after_start, holds_at_once, matched_at
from tests.waiting import wait_until

UNRELATED = "unrelated"  # a file of somebody else


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to do. `omitted`: a pattern of the paths whose syncs do nothing. `before`: the call of the only cut.

    "": a cut before each call below the directory, and at the end; "end": at the end alone.
    """

    scenario: str
    kind: str
    part: str
    base: str
    unrelated: bool
    omitted: str = ""
    before: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """How many cuts; the syncs of that directory; the first cut after which something did not hold, and what."""

    cuts: int
    syncs: tuple[str, ...]
    failed: str = ""


class Power:
    """One scenario on one file system."""

    def __init__(self, order: Order) -> None:
        self.order, base = order, Path(order.base)
        self.bench = Bench(base, order.scenario)
        self.tree, self.nursery = self.bench.tree, self.bench.nursery
        self.after = base / "after"
        (base / "second").mkdir()
        self.second = Nursery(base / "second", self.tree.base)
        self.disk = Disk(kind=order.kind, image=base / "disk.img")
        self.part = self.tree.base / order.part
        self.cuts = 0

    def stop(self) -> None:
        """End the nurseries."""
        self.nursery.stop()
        self.second.stop()

    def begin(self) -> None:
        """The files of the beginning; then the directory is on the disk, synced."""
        self.bench.begin()
        self.tree.restore()
        self.disk.make()
        kept = self.tree.kept / self.order.part
        self.part.mkdir(mode=0o700, exist_ok=True)
        self.disk.mount(self.part)
        if kept.exists():
            shutil.copytree(kept, self.part, symlinks=True, dirs_exist_ok=True)
        self.part.chmod(0o700)
        with suppress(FileNotFoundError):
            (self.part / "lost+found").rmdir()
        os.sync()

    def run(self) -> Report:
        """One agent, stopped at each call; a cut at each stop, and one at its end."""
        name, _, path = (self.order.before or f" /{self.order.part}*").partition(" ")
        at = 1 if name else 0
        plan = Plan(do=Do.STOP, at=at, names=name, path=path, unsynced=False, omitted=self.order.omitted)
        pid = self.nursery.begin(plan, *self.bench.command)
        failed, stops = "", 0
        while not failed and not self.nursery.has_ended():
            if stopped(pid) and self.nursery.page.fired > stops:
                stops = self.nursery.page.fired
                failed = self.cut(self.nursery.page.calls()[-1])
                os.kill(pid, signal.SIGCONT)
            else:
                wait_until(lambda: self.nursery.has_ended() or stopped(pid), "the agent stops, or ends")
        if failed:
            os.kill(pid, signal.SIGKILL)
        self.nursery.ended()
        if not path or not name:
            failed = failed or self.cut(Call(name="end", path=""))
        names = [c.path for c in self.nursery.page.calls() if c.name in {"fsync", "fdatasync"}]
        mine = tuple(dict.fromkeys(n for n in names if n.startswith(f"/{self.order.part}")))
        return Report(cuts=self.cuts, syncs=mine, failed=failed)

    def cut(self, call: Call) -> str:
        """The power goes before this call: what does not hold afterwards, "" for nothing."""
        self.cuts += 1
        if self.order.unrelated:
            with open(self.part / UNRELATED, "w") as file:
                file.write(str(self.cuts))
                file.flush()
                os.fsync(file.fileno())
        promised = Promised.of(self)
        lost = self.disk.cut(Path(self.order.base) / "cut.img")
        copied(self.tree.base, self.order.part, self.after)
        lost.mount(self.after / self.order.part)
        (self.after / self.order.part / UNRELATED).unlink(missing_ok=True)
        try:
            with put_over(self.after, self.tree.base):
                self.recovered(promised)
        except (AssertionError, x509.X509Error) as error:
            *_, last = traceback.extract_tb(error.__traceback__)
            return f"before {call.name} {call.path}: {last.line} {str(error)[:300]}"
        finally:
            unmount(self.after / self.order.part)
        return ""

    def recovered(self, promised: "Promised") -> None:
        """What has to hold when the power is back."""
        holds_at_once(self.tree)
        promised.at_once(self.tree)
        settle(self.tree, self.second)
        holds_after_start(self.tree, self.bench.ways_back)
        promised.after_start(self.tree)
        self.bench.later(self.second)


@dataclass(frozen=True, kw_only=True)
class Promised:
    """What the agent had told others before the power went."""

    live: dict[str, bytes]  # by stem: of what the log says that it was installed
    asked: Counter[str]  # issuances that had begun

    @staticmethod
    def of(power: Power) -> "Promised":
        events = power.bench.events()
        installed = {e["file"] for e in events if e["event"] == "pair.installed"}
        began = [e["file"] for e in events if e["event"] == "issue.started"]
        live = {stem: (power.tree.certs / f"{stem}.crt").read_bytes() for stem in installed}
        return Promised(live=live, asked=power.bench.asked + Counter(began))

    def at_once(self, tree: Tree) -> None:
        """It is so when the power is back: cockroach, a CA and people may go by it before the agent has started."""
        for stem, data in self.live.items():
            assert data == (tree.certs / f"{stem}.crt").read_bytes(), f"{stem} was installed"
        assert {} == self.asked - tree.rows().asked, "each issuance was recorded before it was made"
        for document in (tree.base / "state/authority").glob("*.json"):
            assert document.read_bytes(), "a document of the authorities' state is whole"
        for csr in (tree.base / "outbox").glob("*.csr"):
            key, kept = (tree.area / f"pending/node.{end}" for end in ("key", "csr"))
            assert key.exists(), "the key of a request"
            assert kept.exists(), "a request that others have"
            asked = {x509.parse_request(p.read_bytes()).spki for p in (csr, kept)}
            assert asked == {x509.parse_key(key.read_bytes())[0]}

    def after_start(self, tree: Tree) -> None:
        """What the agent needs for itself is there."""
        before, now = tree.kept / "certs/node.crt", tree.certs / "node.crt"
        if before.exists() and before.read_bytes() != now.read_bytes():
            whole = [p.read_bytes() for p in tree.area.glob("old/node/*/crt") if matched_at(p.parent)]
            assert before.read_bytes() in whole, "the way back"
        ca, bundle = tree.base / "ca/ca.crt", tree.certs / "ca.crt"
        if ca.exists() and bundle.exists():
            assert ca.read_bytes() in bundle.read_bytes(), "the CA that the bundle names"


def stopped(pid: int) -> bool:
    """Whether a process is stopped."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


if __name__ == "__main__":
    power = Power(Order(**json.loads(sys.argv[1])))
    try:
        power.begin()
        print(json.dumps(asdict(power.run())))
    finally:
        power.stop()
