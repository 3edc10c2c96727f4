"""`certagent authority account NAME rollover|deactivate`: what becomes of the account with a CA."""

import argparse
import sys
from typing import Any

from certagent.cli.common import UNKNOWN, USAGE, config_option, emit, json_option, read_config, socket_of

LONGEST = 300.0
REFUSED = 1


def add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register it below `authority`."""
    parser = actions.add_parser("account", help="give the ACME account a new key, or end it for good")
    parser.add_argument("name", help="of the [authority.NAME]")
    parser.add_argument("operation", choices=("rollover", "deactivate"))
    config_option(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 where it was done, 1 where not. The daemon does it; without one, we do."""
    from certagent.host.control_client import DaemonSilent, ask

    about = {"name": arguments.name, "operation": arguments.operation}
    try:
        answer = ask(socket_of(arguments.config), "authority-account", about, LONGEST)
    except DaemonSilent:
        found = _by_ourselves(arguments)
        if found is None:
            return USAGE
        answer = found
    if not answer["ok"]:
        print(f"certagent: {answer['error']}", file=sys.stderr)
        return UNKNOWN if answer.get("code") == "forbidden" else REFUSED
    emit({"version": 1, "done": answer["note"]}) if arguments.json else print(answer["note"])
    return 0


def _by_ourselves(arguments: argparse.Namespace) -> dict[str, Any] | None:
    from certagent.accounts import change
    from certagent.host.errors import HostError
    from certagent.host.worker import Workers
    from certagent.wallclock import clock

    config = read_config(arguments.config)
    if config is None:
        return None
    user = config.settings.worker_user
    try:
        workers = Workers((user.uid, user.gid))
        return {"ok": True, "note": change(config, workers, arguments.name, arguments.operation, clock())}
    except HostError as error:
        return {"ok": False, "error": str(error), "code": "refused"}
