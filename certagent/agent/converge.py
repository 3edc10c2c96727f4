"""Observe, decide and act until nothing is left to do, and say how long to wait then. It contains no policy."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from certagent.agent.directory import World
from certagent.core.actions import Action, AskRevocation, AskWindow, LookAt, Plan, Probe, Scan
from certagent.core.decide import decide, modes
from certagent.core.facts import Snapshot
from certagent.core.policy import Policy
from certagent.core.proof import awaited
from certagent.core.view import View

ROUNDS = 40
ASKED = (Scan, Probe, AskWindow, AskRevocation, LookAt)
LOOKS = 2
AT_LEAST = timedelta(milliseconds=2)


def converge(
    world: World, clock: Callable[[], datetime], *, noticed: bool = True
) -> tuple[Snapshot, Plan, list[Action]]:
    """Observe, decide and act until a plan holds no action; return the last snapshot, its plan, and what was done.

    `noticed`: something may have changed; else it is a rescan, and keys are looked at with everything else.
    """
    done: list[Action] = list(urgent(world, clock)) if noticed else []
    before: tuple[Action, ...] = ()
    for _ in range(ROUNDS):
        snapshot = world.observe(clock())
        plan = decide(world.policy, snapshot, clock())
        if plan.actions == before:  # nothing, or the same actions that had no effect: wait for the next wake-up
            break
        for action in plan.actions:
            world.act(action, clock())
        done += plan.actions
        before = plan.actions
        if all(isinstance(action, ASKED) for action in before):  # the end of these jobs is another reason to check
            break
    return snapshot, plan, done


def look(world: World, clock: Callable[[], datetime]) -> tuple[Snapshot, Plan]:
    """Observe and decide, and ask the owning processes and the responders in this thread; change nothing.

    One observation may require another: a port that was found is then asked which pairs it accepts.
    """
    world.ask(Scan("a first observation"))
    for _ in range(LOOKS):
        for action in decide(world.policy, world.observe(clock()), clock()).actions:
            if isinstance(action, Probe | AskRevocation):
                world.ask(action)
    snapshot = world.observe(clock())
    return snapshot, decide(world.policy, snapshot, clock())


def urgent(world: World, clock: Callable[[], datetime]) -> tuple[Action, ...]:
    """Repair the modes of keys that changed before anything else is read: others may read them meanwhile."""
    actions = modes.part(View(policy=world.policy, snapshot=world.scan_changed_keys(), now=clock())).actions
    for action in actions:
        world.act(action, clock())
    return actions


def settled(policy: Policy, snapshot: Snapshot, now: datetime) -> bool:
    """Whether nothing is in flight, nothing is to do and no signal was sent that may still be verified."""
    return not snapshot.in_flight and not awaited(snapshot, now) and not decide(policy, snapshot, now).actions


def pause(wakes: Iterable[datetime | None], now: datetime, rescan: timedelta) -> float:
    """Given when each certs-dir wants to be looked at, return the seconds to wait: one rescan at most."""
    nearest = min((at for at in wakes if at is not None), default=now + rescan)
    return max(min(nearest - now, rescan), AT_LEAST).total_seconds()
