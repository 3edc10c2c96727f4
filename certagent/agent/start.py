"""Assemble the agent: for `run` and `run --once`, and for the verbs that only read."""

import atexit
import gc
import io
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, NoReturn, TextIO

from certagent.agent.commands import Commands
from certagent.agent.config_file import Reloading
from certagent.agent.directories import Directories, aside, wait_for
from certagent.agent.loop import run, run_once
from certagent.agent.outer import Inner, divided
from certagent.agent.reconciler import Common
from certagent.agent.service import Service
from certagent.agent.steady import Clocks
from certagent.agent.systemd import Notifier
from certagent.agent.textfile import Textfile
from certagent.agent.wake import Wake
from certagent.agent.watch import Events, RemoteWatch
from certagent.authority.client import authorities_of
from certagent.certs_dir.lock import barred_to
from certagent.config import Config
from certagent.config.expand import Settings
from certagent.control.server import Control
from certagent.control.standing import silence
from certagent.core.catalogue import AGENT_DOWN
from certagent.core.exits import exit_code
from certagent.core.findings import Finding
from certagent.core.metrics import agent_label
from certagent.core.spread import begun
from certagent.events import Form, Log, log_form
from certagent.keys import KEEPER
from certagent.posix.clock import clock
from certagent.posix.owner import uids_of
from certagent.posix.prctl import close_memory
from certagent.posix.responding import required
from certagent.sandbox.user import choose, unprivileged
from certagent.sandbox.worker_process import Workers, adopt_orphans
from certagent.state.authority_state import AuthorityState
from certagent.state.directory import StateDirectory
from certagent.state.ledger import Ledger
from certagent.state.ownership import LEDGER, agent_there

CLOSED_WITHIN = 2.0
STANDARD = (0, 1, 2)  # descriptors
WRITTEN_WITHIN = 2.0
FOREIGN = 5.0  # seconds that a single observation waits for files that may be on another machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One agent, put together; nothing of the host was touched yet."""

    service: Service
    directories: Directories
    commands: Commands
    file: Reloading
    log: Log
    events: Events


def put_together(
    config: Config, path: str, ledger: Ledger, log: Log, wake: Callable[[str], None], others: tuple[int, ...] = ()
) -> Agent:
    """Given a configuration and the file that it was read from, return an agent; `wake` only puts.

    `others`: whose files are believed by an agent that only looks, besides root's and its own.
    """
    settings = config.settings
    choose((settings.worker_user.uid, settings.worker_user.gid))
    workers = Workers(unprivileged())
    state = AuthorityState(os.path.join(settings.state_dir, "authority"), others=others)
    file, events = Reloading(path, wake), Events(settings.rescan.total_seconds())
    textfile = Textfile(agent_label(path), lambda: commands.metrics(), wake)  # noqa: PLW0108 - they are made below
    common = _common(Clocks(ledger), log, wake, lambda: service)
    directories = Directories(
        authorities=lambda config: authorities_of(config, workers, state),
        ledger=ledger,
        common=common,
        events=events,
        wake=wake,
    )
    service = Service(
        config,
        file=file,
        directories=directories,
        workers=workers,
        ledger=ledger,
        common=common,
        remote=RemoteWatch(events, wake),
        textfile=textfile,
    )
    commands = Commands(
        service=service,
        directories=directories,
        path=path,
        workers=workers,
        ledger=ledger,
        log=log,
        started=clock(),
    )
    return Agent(service=service, directories=directories, commands=commands, file=file, log=log, events=events)


def _common(clocks: Clocks, log: Log, wake: Callable[[str], None], service: Callable[[], Service]) -> Common:
    """What the directories need of the service, which is made after them."""
    return Common(
        clocks=clocks,
        log=log,
        findings=lambda: service().findings,
        rescan=lambda: service().config.settings.rescan,
        read=lambda: service().read(),
        progress=wake,
        go=threading.Event(),
    )


def start(
    config: Config,
    path: str,
    stream: TextIO,
    form: Form | Literal["auto"],
    *,
    once: float | None,
    judge: Callable[[Directories], int] | None = None,
) -> int:
    """Run the agent, or with `once` (seconds) converge once; return the exit code. Raises HostError, OSError.

    `judge`: makes another exit code than that of the status of what was seen then.
    """
    inner = divided(config, path)
    if isinstance(inner, int):
        return inner
    log = Log(stream, log_form(stream, os.environ) if form == "auto" else form, clock)
    wake = Wake(config.settings.rescan.total_seconds())
    if once is None:
        close_memory()
        KEEPER.apart()
        config = replace(config, policies=begun(config.policies, (), clock()))
    state = StateDirectory(config.settings.state_dir)
    state.open()
    ledger = state.ledger
    atexit.register(ledger.close)  # a job that still runs records its end first
    agent = put_together(config, path, ledger, log, wake.put)
    try:
        code = _started(agent, wake, once, inner, judge)
    finally:
        ended = agent.service.stop()
        agent.events.stop()
        wake.stop()
    if not ended or inner is not None:  # a thread may wait in the kernel for a mount that hangs: nobody waits for it
        wait_for([aside(ledger.close), aside(state.unlock)], CLOSED_WITHIN)
        _leave(stream, code, inner)
    return code


def _leave(stream: TextIO, code: int, inner: Inner | None) -> NoReturn:
    """End, or let go of what others wait for where this process cannot end before the mount does."""
    stream.flush()
    if inner is not None:
        inner.stopped(code)
    for fd in STANDARD:
        with suppress(OSError):
            os.close(fd)
    os._exit(code)


def _started(
    agent: Agent, wake: Wake, once: float | None, inner: Inner | None, judge: Callable[[Directories], int] | None
) -> int:
    agent.service.take_locks()
    agent.service.try_workers()
    if once is not None:
        run_once(agent.service, wake, clock, once)
        agent.service.textfile.turned(agent.service.config.metrics.textfile, clock())
        agent.service.textfile.wait(WRITTEN_WITHIN)
        return judge(agent.directories) if judge else exit_code(agent.service.status(None))
    return _forever(agent, wake, Notifier(os.environ, inner.notify if inner else None))


def _forever(agent: Agent, wake: Wake, notifier: Notifier) -> int:
    settle_memory()
    adopt_orphans()
    settings, log = agent.service.config.settings, agent.log
    control = Control(settings.socket, others=settings.socket_others, answer=agent.commands.answer)
    control.start()
    wake.signals()
    agent.service.starts.begin(clock())  # from here on SIGTERM is a stop
    log.emit("agent.started", reason=f"configuration {agent.file.path}, certs directories: {len(agent.directories)}")
    try:
        run(agent.service, file=agent.file, wake=wake, notifier=notifier, log=log)
        agent.service.starts.end()
    finally:
        log.emit("agent.stopping", reason="received a request to stop")
        control.stop()
    return 0


def settle_memory() -> None:
    """Leave out of every garbage collection what the programs consist of: it is there until the end.

    The collector looks at everything once what is new comes to a quarter of what is there. Without what was imported
    that is often and cheap; with it, garbage of days may wait.
    """
    gc.collect()
    gc.freeze()
    gc.collect()


def look(config: Config, path: str, *, silent: bool = False) -> Service:
    """Observe and decide for every certs-dir, processes and what they serve included; change and log nothing.

    `silent`: no agent answers at its socket, which is a finding where one should run. Raises HostError, OSError.
    """
    from certagent.operations.systemd import user_reading

    required(config.settings.state_dir)
    ledger = Ledger.looking(os.path.join(config.settings.state_dir, LEDGER))
    agent = agent_there(config.settings.state_dir)
    others = tuple(uids_of(user_reading(path))) if agent is None else (agent,)
    log = Log(io.StringIO(), "text", clock)
    may_not = {p.path: only for p in config.policies if agent is not None and (only := barred_to(agent, p.path))}
    made = put_together(config, path, ledger, log, lambda _reason: None, others)
    for place, only in may_not.items():
        made.directories.worlds[place].presume(only)
    service = made.service
    service.try_workers()
    service.look(FOREIGN, *down(config.settings, silent=silent))
    return service


def down(settings: Settings, *, silent: bool) -> tuple[Finding, ...]:
    """The finding that no agent runs, where none answers and the configuration expects one."""
    told = silence(settings.socket, agent_there(settings.state_dir)) if silent else ""
    message = f"{told}: nothing is renewed, reloaded or verified"
    return (AGENT_DOWN.found("", message),) if silent and settings.resident else ()
