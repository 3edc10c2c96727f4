"""The main loop: what all directories share, the configuration and systemd. It contains no policy.

Each directory has a loop of its own (reconciler.py), which waits, observes, decides and acts. The monotonic timeout of
each wait guarantees that it goes on; watchdog and APScheduler only make it run sooner.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from certagent.agent.config_file import Reloading
from certagent.agent.reconciler import PROGRESS
from certagent.agent.service import Service
from certagent.agent.systemd import Notifier
from certagent.agent.textfile import CHANGED
from certagent.agent.wake import ClockWatch, Wake
from certagent.events import Log
from certagent.posix.clock import clock

READY_AGAIN = 1.0  # seconds between two looks at whether all directories were checked
SETTLED_AGAIN = 0.05
OBSERVED_WITHIN = 5.0
OWN = frozenset({PROGRESS, "due", "authorities read", "configuration read", CHANGED})  # nothing has to be read again


def run_once(service: Service, wake: Wake, clock: Callable[[], datetime], deadline: float) -> None:
    """Let the directories be checked until everything is settled or the deadline (seconds) is over."""
    end = clock() + timedelta(seconds=deadline)
    service.go()
    service.wait_until_looked(deadline)
    while not service.settled(OBSERVED_WITHIN) and clock() < end:
        reasons = wake.wait(SETTLED_AGAIN)
        service.check(read=not OWN.issuperset(reasons))
        if "authorities read" in reasons:
            service.wake("authorities read")


def run(service: Service, *, file: Reloading, wake: Wake, notifier: Notifier, log: Log) -> None:
    """The loop of the agent; returns when it is stopped."""
    jumps = ClockWatch()
    service.go()
    reasons: list[str] = []
    while "stop" not in reasons:
        ready = service.ready()
        notifier.turned(service.summary(), ready=ready, alive=service.alive())
        if ready:
            service.textfile.turned(service.config.metrics.textfile, clock())
        wake.at(service.wake_at())
        longest = service.config.settings.rescan.total_seconds() if ready else READY_AGAIN
        reasons = wake.wait(min(longest, notifier.watchdog_interval or float("inf")))
        if "config" in reasons:
            file.force(clock())
        if (fresh := file.fresh()) is not None:
            notifier.reloading()
            service.reload(fresh)
        service.check(read=not reasons or not OWN.issuperset(reasons))
        log.settle()
        _wake(service, reasons)
        if (jump := jumps.jumped()) is not None:
            log.emit("clock.jumped", reason=f"the wall clock jumped by {jump:.0f} s")
            service.wake("clock jumped")
    notifier.stopping()


def concerning_all(reasons: Iterable[str]) -> list[str]:
    """Given why the loop turned, return for which of it every directory is checked.

    A configuration that was read may be a broken one: its finding is a part of what each directory shows.
    """
    causes = ("authorities read", "configuration read", "files changed", CHANGED)
    return [cause for cause in causes if cause in reasons]


def _wake(service: Service, reasons: list[str]) -> None:
    """Have the directories checked that a reason concerns."""
    for cause in concerning_all(reasons):
        service.wake(cause)
    if "due" in reasons:
        service.wake_due()
