"""The loop: wait, look, decide, act, until nothing is left to do. It holds no policy.

The wait's own monotonic timeout is the guarantee that the loop turns; watchdog and APScheduler only make it turn sooner.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from certagent.core.actions import Plan
from certagent.core.decide import decide
from certagent.core.facts import Snapshot
from certagent.core.timing import PROOF_WAIT
from certagent.world import World

ROUNDS = 40
SOON = timedelta(seconds=6)


def converge(world: World, clock: Callable[[], datetime]) -> tuple[Snapshot, Plan]:
    """Observe, decide and act until a plan holds no action (or 40 rounds are over); return the last snapshot and plan."""
    for _ in range(ROUNDS):
        snapshot = world.observe(clock())
        plan = decide(world.policy, snapshot, clock())
        for action in plan.actions:
            world.act(action, clock())
        if not plan.actions:
            break
    return snapshot, plan


def settled(snapshot: Snapshot, now: datetime) -> bool:
    """Whether nothing is in flight and no signal still waits for its proof: when `run --once` may end."""
    waiting = [a for a in snapshot.attempts if a.kind == "reload" and a.outcome in {"asked", "unproven"} and now - a.at < PROOF_WAIT]
    return not snapshot.in_flight and not waiting


def pause(plans: list[Plan], snapshots: list[Snapshot], now: datetime, rescan: timedelta) -> float:
    """Given the last plans, return for how many seconds to wait unless woken: until the nearest wake, at most one rescan."""
    nearest = min((p.wake_at for p in plans if p.wake_at), default=now + rescan)
    wait = min(nearest - now, rescan)
    return max(wait.total_seconds(), 0.01)
