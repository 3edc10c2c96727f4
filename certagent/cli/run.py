"""`certagent run`: the daemon; `--once` converges once and exits as `status` does."""

import argparse
import sys

from certagent.cli.common import USAGE, config_option, read_config


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("run", help="run the agent; --once converges once and exits")
    config_option(parser)
    parser.add_argument("--once", action="store_true", help="converge once and exit as `status` does")
    parser.add_argument("--deadline", type=float, default=120.0, metavar="SECONDS", help="with --once: how long to wait (default 120)")
    parser.add_argument("--log", choices=("auto", "json", "text"), default=None, help="form of the log (default: as configured)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Start, converge, and unless --once keep going until SIGTERM."""
    from certagent.events import Log, log_form
    from certagent.host.errors import HostError
    from certagent.host.wake import Wake
    from certagent.service import Service, clock

    config = read_config(arguments.config)
    if config is None:
        return USAGE
    form = arguments.log or config.settings.log
    log = Log(sys.stdout, log_form(sys.stdout) if form == "auto" else form, clock)
    wake = Wake(config.settings.rescan.total_seconds())
    try:
        service = Service(config, log, wake.put)
        service.locks()
        return _once(service, wake, arguments.deadline) if arguments.once else _forever(service, wake, arguments.config)
    except (HostError, OSError) as error:
        print(f"certagent: {error}", file=sys.stderr)
        return 3
    finally:
        wake.stop()


def _once(service: "Service", wake: "Wake", deadline: float) -> int:  # type: ignore[name-defined]  # noqa: F821
    from certagent.core.status import EXITS
    from certagent.service import run_once

    run_once(service, wake.wait, deadline)
    code = EXITS[service.status(None)["severity"]]
    service.stop()
    return code


def _forever(service: "Service", wake: "Wake", path: str) -> int:  # type: ignore[name-defined]  # noqa: F821
    import os

    from certagent.host.control import Control
    from certagent.host.systemd import Notifier
    from certagent.service import answer, run_forever

    settings = service.config.settings
    control = Control(settings.socket, others=settings.socket_others, answer=lambda c, a, p: answer(service, c, a, p))
    control.start()
    wake.signals()
    service.log.emit("agent.started", reason=f"{len(service.worlds)} certs-dirs, configuration {path}")
    try:
        run_forever(service, wake, Notifier(os.environ), path)
    finally:
        service.log.emit("agent.stopping", reason="told to stop")
        control.stop()
        service.stop()
    return 0
