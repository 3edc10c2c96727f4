"""The loop: wait, observe, decide, act, until nothing is left to do. It contains no policy.

The monotonic timeout of the wait guarantees that the loop runs; watchdog and APScheduler only make it run sooner.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from certagent.agent.config_file import Reloading
from certagent.agent.service import Service
from certagent.agent.systemd import Notifier
from certagent.agent.wake import ClockWatch, Wake
from certagent.authority.client import inboxes, prepare
from certagent.config import Config
from certagent.events import Log
from certagent.posix.clock import clock


def run_once(service: Service, wake: Wake, clock: Callable[[], datetime], deadline: float) -> None:
    """Turn until everything is settled or the deadline (seconds) is over."""
    end = clock() + timedelta(seconds=deadline)
    service.turn()
    while not service.settled() and clock() < end:
        wake.wait(service.pause())
        service.turn()


def run(service: Service, *, file: Reloading, wake: Wake, notifier: Notifier, log: Log) -> None:
    """The loop of the agent; returns when it is stopped."""
    jumps = ClockWatch()
    _watch(service.config, file.path, wake)
    while True:
        service.turn(tuple(wake.problems()))
        notifier.turned(service.summary())
        wake.at(service.wake_at())
        reasons = wake.wait(min(service.pause(), notifier.watchdog_interval or float("inf")))
        if "stop" in reasons:
            notifier.stopping()
            return
        if "config" in reasons:
            file.force(clock())
        if (fresh := file.fresh()) is not None:
            notifier.reloading()
            service.reload(fresh)
            _watch(service.config, file.path, wake)
        for reason in wake.rearm_if_changed():
            log.emit("watch.rearmed", reason=reason)
        if (jump := jumps.jumped()) is not None:
            service.shift(timedelta(seconds=jump))
            log.emit("clock.jumped", reason=f"the wall clock jumped by {jump:.0f} s")


def _watch(config: Config, file: str, wake: Wake) -> None:
    """The certs-dirs; and what may be on a network mount: where people bring answers, our file."""
    wake.watch(policy.path for policy in config.policies)
    wake.watch_remote(inboxes(config), file, lambda: prepare(config))
