"""decide for a host of five files, after three renewals, with a server that was asked: against its targets.

And a month of that host, simulated from one turning point to the next: the host answers every question at once, does
all that is decided, and the clock goes on to the moment that the plan names. That is every five minutes, when each port
is to be asked again, and whenever something is due. The search for processes every 30 s is no turning point.
"""

import os
import subprocess
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from bench.agents import certagent, daemon, prepared
from bench.figures import Figure
from certagent.agent.converge import look
from certagent.agent.directory import world_of
from certagent.authority.client import AuthorityCache
from certagent.config import load
from certagent.core.actions import Install
from certagent.core.bundles import certificates
from certagent.core.decide import decide
from certagent.core.facts import Authority, InFlight, Snapshot
from certagent.core.policy import Policy
from certagent.core.predict import predict
from certagent.demo.launch import StandIn
from certagent.events import Log
from certagent.posix.clock import clock
from certagent.state.ledger import Ledger

TARGET = 150.0
RENEWALS = 3
BATCH, BATCHES = 50, 40
MONTH, MONTHS = timedelta(days=30), 3
MOMENT = timedelta(milliseconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What a simulated month took of the processor, in seconds of decide alone."""

    took: float
    decisions: int
    renewals: int


def measure(base: Path) -> list[Figure]:
    """The fastest of forty batches, by processor time; each decision has a snapshot that nothing was asked of yet."""
    config = prepared(base, 'clients = ["root"]')
    (base / "server").mkdir()
    with StandIn(str(base / "certs"), str(base / "server")):
        with daemon(config):
            for _ in range(RENEWALS):
                subprocess.run(
                    certagent("renew", "node", "--force", "-c", str(config)), check=True, capture_output=True
                )
        policy, snapshot = _seen(config, base)
    took = min(_batch(policy, snapshot) for _ in range(BATCHES))
    months = [_month(policy, snapshot) for _ in range(MONTHS)]
    name = f"decide, a host-month of {months[0].decisions} decisions, {months[0].renewals} renewals"
    return [
        Figure(f"decide, {_files(snapshot)} files", 1e6 * took, TARGET, "us", 1.0),
        Figure(name, min(m.took for m in months), 1.0, "s", 1.0),
    ]


def _seen(config: Path, base: Path) -> tuple[Policy, Snapshot]:
    policy = load(str(config)).policies[0]
    with open(os.devnull, "w") as nowhere:
        log = Log(nowhere, "json", clock)
        ledger = Ledger.writing(str(base / "state" / "ledger.db"))
        cache = AuthorityCache({}, {}, lambda: None)
        world = world_of(policy, {}, cache, ledger=ledger, log=log, wake=lambda _reason: None)
        snapshot = look(world, clock)[0]
        known = Authority("house", "local", certificates(snapshot.pair("ca")))  # an agent reads it in the background
        return policy, replace(snapshot, authorities=(known,))


def _files(snapshot: Snapshot) -> int:
    return sum(file is not None for pair in snapshot.pairs for file in (pair.cert, pair.key))


def _batch(policy: Policy, snapshot: Snapshot) -> float:
    now, fresh = clock(), [replace(snapshot) for _ in range(BATCH)]
    begin = time.process_time()
    for each in fresh:
        decide(policy, each, now)
    return (time.process_time() - begin) / BATCH


def _month(policy: Policy, snapshot: Snapshot) -> Month:
    now = clock()
    took, decisions, renewals, end = 0.0, 0, 0, now + MONTH
    while now < end:
        snapshot = _answered(snapshot, now)
        begin = time.process_time()
        plan = decide(policy, snapshot, now)
        took, decisions = took + time.process_time() - begin, decisions + 1
        for action in plan.actions:
            snapshot = predict(snapshot, action, now)
        renewals += sum(isinstance(action, Install) for action in plan.actions)
        now = now + MOMENT if plan.actions or plan.wake_at is None else plan.wake_at
    return Month(took=took, decisions=decisions, renewals=renewals)


def _answered(snapshot: Snapshot, now: datetime) -> Snapshot:
    """The host as it is at that moment: whatever a port served when it was asked last, it serves now."""
    searching = (InFlight("scan", "", now),)
    served = tuple(replace(s, at=now) for s in snapshot.served)
    return replace(snapshot, processes_at=now, served=served, in_flight=searching)
