"""The loop: wait, look, decide, act, until nothing is left to do. It holds no policy.

The wait's own monotonic timeout is the guarantee that the loop turns; watchdog and APScheduler only make it turn
sooner.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from certagent.authorities import inboxes, prepare
from certagent.core.actions import Action, Plan
from certagent.core.decide import decide, modes
from certagent.core.facts import Snapshot
from certagent.core.policy import Policy
from certagent.core.timing import PROOF_WAIT
from certagent.host.systemd import Notifier
from certagent.host.wake import ClockWatch, Wake
from certagent.wallclock import clock
from certagent.world import World

if TYPE_CHECKING:
    from certagent.service import Service

ROUNDS = 40
AT_LEAST = timedelta(milliseconds=2)


def converge(world: World, clock: Callable[[], datetime]) -> tuple[Snapshot, Plan, list[Action]]:
    """Observe, decide and act until a plan holds no action; return the last snapshot, its plan, and what was done."""
    done: list[Action] = list(urgent(world, clock))
    before: tuple[Action, ...] = ()
    for _ in range(ROUNDS):
        snapshot = world.observe(clock())
        plan = decide(world.policy, snapshot, clock())
        if plan.actions == before:  # nothing, or what was just done in vain: wait until something wakes us
            break
        for action in plan.actions:
            world.act(action, clock())
        done += plan.actions
        before = plan.actions
    return snapshot, plan, done


def urgent(world: World, clock: Callable[[], datetime]) -> tuple[Action, ...]:
    """Repair the modes of keys that changed before anything else is read: others may read them meanwhile."""
    actions = modes.part(world.policy, world.glance(), clock()).actions
    for action in actions:
        world.act(action, clock())
    return actions


def settled(policy: Policy, snapshot: Snapshot, now: datetime) -> bool:
    """Whether nothing is in flight, nothing is to do and no signal still waits for its proof."""
    signals = {a.subject: a for a in snapshot.attempts if a.kind == "reload"}
    waiting = [a for a in signals.values() if a.outcome in {"asked", "unproven"} and now - a.at < PROOF_WAIT]
    return not snapshot.in_flight and not waiting and not decide(policy, snapshot, now).actions


def pause(wakes: Iterable[datetime | None], now: datetime, rescan: timedelta) -> float:
    """Given when each certs-dir wants to be looked at, return the seconds to wait: one rescan at most."""
    nearest = min((at for at in wakes if at is not None), default=now + rescan)
    return max(min(nearest - now, rescan), AT_LEAST).total_seconds()


def run_once(service: "Service", wake: Wake, clock: Callable[[], datetime], deadline: float) -> None:
    """Turn until everything is settled or the deadline (seconds) is over."""
    end = clock() + timedelta(seconds=deadline)
    service.turn()
    while not service.settled() and clock() < end:
        wake.wait(service.pause())
        service.turn()


def run(service: "Service", wake: Wake, notifier: Notifier) -> None:
    """The daemon's loop; returns when told to stop."""
    jumps = ClockWatch()
    _watch(service, wake)
    while True:
        service.degraded = tuple(wake.problems())
        service.turn()
        notifier.turned(service.summary())
        wake.at(service.wake_at())
        reasons = wake.wait(min(service.pause(), notifier.watchdog_interval or float("inf")))
        if "stop" in reasons:
            notifier.stopping()
            return
        if "config" in reasons:
            service.file.force(clock())
        if (fresh := service.file.fresh()) is not None:
            notifier.reloading()
            service.reload(fresh)
            _watch(service, wake)
        for reason in wake.rearm_if_changed():
            service.log.emit("watch.rearmed", reason=reason)
        if (jump := jumps.jumped()) is not None:
            service.shift(timedelta(seconds=jump))
            service.log.emit("clock.jumped", reason=f"the wall clock moved by {jump:.0f} s against the boot clock")


def _watch(service: "Service", wake: Wake) -> None:
    """The certs-dirs, and beside them what may lie on another machine: where people bring answers, our file."""
    config = service.config
    wake.watch(service.worlds)
    wake.beside(inboxes(config), service.path, lambda: prepare(config))
