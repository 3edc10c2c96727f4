"""`certagent config check`: every error of a configuration at once."""

import argparse
import sys

from certagent.cli.common import USAGE, config_option, emit, json_option


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("config", help="`config check`: is the configuration sound?")
    actions = parser.add_subparsers(dest="action", metavar="check", required=True)
    check = actions.add_parser("check", help="report every error of the configuration")
    config_option(check)
    json_option(check)
    check.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Exit 0 when sound, 64 with all errors on stderr."""
    from certagent.config import ConfigError, load

    errors: tuple[str, ...] = ()
    summary = ""
    try:
        config = load(arguments.config)
        paths, names = ", ".join(p.path for p in config.policies), ", ".join(config.authorities) or "none"
        summary = f"{arguments.config}: ok: certs-dirs: {paths}; authorities: {names}"
    except ConfigError as error:
        errors = error.errors
    if arguments.json:
        emit({"version": 1, "ok": not errors, "errors": list(errors)})
    elif errors:
        print("\n".join(errors), file=sys.stderr)
    else:
        print(summary)
    return USAGE if errors else 0
