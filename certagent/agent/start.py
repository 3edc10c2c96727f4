"""Putting the agent together: for `run` and `run --once`, and for the verbs that only look."""

import errno
import io
import os
from typing import TextIO

from certagent.agent.commands import answer
from certagent.agent.loop import run, run_once
from certagent.agent.service import Last, Service
from certagent.agent.systemd import Notifier
from certagent.agent.wake import Wake
from certagent.config import Config
from certagent.control.server import Control
from certagent.core.actions import AskRevocation, Probe
from certagent.core.decide import decide
from certagent.core.status import EXITS
from certagent.events import Log, log_form
from certagent.posix.clock import clock
from certagent.posix.errors import HostError
from certagent.state.ledger import LEDGER, Ledger

LOOKS = 2
FOREIGN = 5.0  # seconds that a look waits for files that may lie on another machine


def agent(config: Config, path: str, stream: TextIO, form: str, *, once: float | None) -> int:
    """Run the agent, or with `once` (seconds) converge once; return the exit code. Raises HostError, OSError."""
    log = Log(stream, log_form(stream) if form == "auto" else "json" if form == "json" else "text", clock)
    wake = Wake(config.settings.rescan.total_seconds())
    _make(config.settings.state_dir)
    ledger = Ledger.writing(os.path.join(config.settings.state_dir, LEDGER))
    service = Service(config, path, ledger, log, wake.put)
    try:
        service.take_locks()
        service.look_at_workers()
        if once is not None:
            run_once(service, wake, clock, once)
            return EXITS[service.status(None)["severity"]]
        return _forever(service, wake)
    finally:
        service.stop()
        wake.stop()


def _make(state_dir: str) -> None:
    try:
        os.makedirs(state_dir, mode=0o700, exist_ok=True)
    except OSError as error:
        remedy = "give it to the agent's user, or set agent.state_dir"
        raise HostError(f"cannot make {state_dir}: {error.strerror}; {remedy}", error.errno) from error
    if os.statvfs(state_dir).f_flag & os.ST_RDONLY:
        remedy = "mount it writable (ReadWritePaths= of the unit), or set agent.state_dir"
        raise HostError(f"cannot write to {state_dir}: its file system is mounted read-only; {remedy}", errno.EROFS)


def _forever(service: Service, wake: Wake) -> int:
    settings = service.config.settings
    control = Control(settings.socket, others=settings.socket_others, answer=lambda c, a, p: answer(service, c, a, p))
    control.start()
    wake.signals()
    service.log.emit("agent.started", reason=f"{len(service.worlds)} certs-dirs, configuration {service.path}")
    try:
        run(service, wake, Notifier(os.environ))
    finally:
        service.log.emit("agent.stopping", reason="told to stop")
        control.stop()
    return 0


def look(config: Config, path: str) -> Service:
    """Observe and decide for every certs-dir, processes and what they serve included; change and log nothing.

    What a look shows may ask for another: a port that is found, for the pairs that it should accept. Raises HostError.
    """
    ledger = Ledger.looking(os.path.join(config.settings.state_dir, LEDGER))
    service = Service(config, path, ledger, Log(io.StringIO(), "text", clock), lambda _reason: None)
    service.look_at_workers()
    service.read(clock(), FOREIGN)
    for world in service.worlds.values():
        world.memory.degraded = (*service.unconfined, *service.hung(clock()))
        world.inbox.put(world.work.scan())
        for _ in range(LOOKS):
            for action in decide(world.policy, world.observe(clock()), clock()).actions:
                if isinstance(action, Probe):
                    world.inbox.put(world.work.probe(action))
                elif isinstance(action, AskRevocation):
                    world.inbox.put(world.work.revocation(action))
        snapshot = world.observe(clock())
        service.last[world.policy.path] = Last(world.policy, snapshot, decide(world.policy, snapshot, clock()))
    return service
