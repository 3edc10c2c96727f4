"""`certagent authority account NAME rollover|deactivate`: change the account with an ACME CA."""

import argparse
import os
from typing import Any

from certagent.cli.common import UNKNOWN, Reply, ask, complaint, config_option, json_option, read_config

LONGEST = 300.0
REFUSED = 1


def add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register it below `authority`."""
    parser = actions.add_parser("account", help="give the ACME account a new key, or deactivate it permanently")
    parser.add_argument("name", help="NAME of the table [authority.NAME]")
    parser.add_argument("operation", choices=("rollover", "deactivate"))
    config_option(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """Exit 0 where it was done, 1 where not. The daemon does it; without one, we do."""
    return reply_of(_done(arguments))


def reply_of(answer: dict[str, Any]) -> Reply:
    """Given what became of it, return what is said, and the exit code."""
    if answer["ok"]:
        return Reply(0, answer["note"], {"version": 1, "done": answer["note"]})
    return complaint(answer["error"], UNKNOWN if answer.get("code") == "forbidden" else REFUSED)


def _done(arguments: argparse.Namespace) -> dict[str, Any]:
    """By the agent, which refuses where it runs with another configuration; without one, by this process."""
    about = {"name": arguments.name, "operation": arguments.operation, "config": os.path.realpath(arguments.config)}
    return ask(arguments.config, "authority-account", patience=LONGEST, **about) or _by_ourselves(arguments)


def _by_ourselves(arguments: argparse.Namespace) -> dict[str, Any]:
    from certagent.operations.acme_account import change
    from certagent.posix.clock import clock
    from certagent.posix.errors import HostError
    from certagent.sandbox.worker_process import Workers

    config = read_config(arguments.config)
    user = config.settings.worker_user
    try:
        workers = Workers((user.uid, user.gid))
        return {"ok": True, "note": change(config, workers, arguments.name, arguments.operation, clock())}
    except HostError as error:
        return {"ok": False, "error": str(error), "code": "refused"}
