"""`certagent config check`: report all mistakes of a configuration together."""

import argparse
import os

from certagent.cli.common import USAGE, Reply, config_option, json_option


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("config", help="`config check`: report all mistakes of the configuration")
    actions = parser.add_subparsers(dest="action", metavar="check", required=True)
    check = actions.add_parser("check", help="report all mistakes of the configuration")
    config_option(check)
    json_option(check)
    check.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """Exit 0 if the configuration is valid, 64 with all errors: on stderr, with --json in the document."""
    from certagent.agent.config_file import load_trusted
    from certagent.config import ConfigError

    try:
        config = load_trusted(arguments.config, os.path.realpath, checking=True)
    except ConfigError as error:
        document = {"version": 1, "ok": False, "errors": list(error.errors)}
        return Reply(USAGE, None, document, "" if arguments.json else "\n".join(error.errors))
    paths, names = ", ".join(p.path for p in config.policies), ", ".join(config.authorities) or "none"
    summary = f"{arguments.config}: ok: certs directories: {paths}; authorities: {names}"
    return Reply(0, summary, {"version": 1, "ok": True, "errors": []})
