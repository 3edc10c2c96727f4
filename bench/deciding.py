"""decide for a host of five files, after three renewals, with a server that was asked: against its target."""

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from bench.agents import certagent, daemon, prepared
from bench.figures import Figure
from certagent.agent.converge import look
from certagent.agent.directory import world_of
from certagent.authority.client import AuthorityCache
from certagent.config import load
from certagent.core.decide import decide
from certagent.core.facts import Snapshot
from certagent.core.policy import Policy
from certagent.demo.launch import StandIn
from certagent.events import Log
from certagent.posix.clock import clock
from certagent.state.ledger import Ledger

TARGET = 150.0
RENEWALS = 3
BATCH, BATCHES = 50, 40


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
    return [Figure(f"decide, {_files(snapshot)} files", 1e6 * took, TARGET, "us", 1.0)]


def _seen(config: Path, base: Path) -> tuple[Policy, Snapshot]:
    policy = load(str(config)).policies[0]
    with open(os.devnull, "w") as nowhere:
        log = Log(nowhere, "json", clock)
        ledger = Ledger.writing(str(base / "state" / "ledger.db"))
        cache = AuthorityCache({}, {}, lambda: None)
        world = world_of(policy, {}, cache, ledger=ledger, log=log, wake=lambda _reason: None)
        return policy, look(world, clock)[0]


def _files(snapshot: Snapshot) -> int:
    return sum(file is not None for pair in snapshot.pairs for file in (pair.cert, pair.key))


def _batch(policy: Policy, snapshot: Snapshot) -> float:
    now, fresh = clock(), [replace(snapshot) for _ in range(BATCH)]
    begin = time.process_time()
    for each in fresh:
        decide(policy, each, now)
    return (time.process_time() - begin) / BATCH
