"""`certagent run`: the agent; `--once` does what is due now and exits as `status` does."""

import argparse
import sys

from certagent.cli.common import UNKNOWN, Reply, complaint, config_option, read_config, seconds


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("run", help="run the agent; with --once do what is due now and exit")
    config_option(parser)
    parser.add_argument("--once", action="store_true", help="do what is due now, then exit with the code of `status`")
    parser.add_argument(
        "--deadline", type=seconds, default=120.0, metavar="TIME", help="with --once: how long to wait (default 120s)"
    )
    forms, about = ("auto", "journal", "json", "text"), "format of the log (default: as configured)"
    parser.add_argument("--log", choices=forms, default=None, help=about)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """Start, converge, and unless --once keep going until SIGTERM."""
    from certagent.agent.start import start
    from certagent.posix.errors import HostError

    config = read_config(arguments.config, trusted=True)
    form = arguments.log or config.settings.log
    once = arguments.deadline if arguments.once else None
    try:
        return Reply(start(config, arguments.config, sys.stdout, form, once=once))
    except (HostError, OSError) as error:
        return complaint(error, UNKNOWN)
