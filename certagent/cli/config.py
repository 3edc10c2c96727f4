"""`certagent config check`: report all mistakes of a configuration together, and what it names and the host lacks."""

import argparse
import os
from typing import TYPE_CHECKING

from certagent.cli.common import USAGE, Reply, config_option, json_option

if TYPE_CHECKING:
    from certagent.config import Config

INCOMPLETE = 1


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("config", help="`config check`: report all mistakes of the configuration")
    actions = parser.add_subparsers(dest="action", metavar="check", required=True)
    check = actions.add_parser("check", help="report all mistakes of the configuration")
    config_option(check)
    json_option(check)
    check.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """Exit 0 if the configuration is valid, 1 if the host lacks what it names, 64 with all errors.

    Both go to stderr, with --json into the document. A directory that does not exist yet is a warning and exit 0: a
    configuration may be installed, and checked by Ansible's `validate`, before cockroach's certs directory is made.
    """
    from certagent.agent.config_file import load_trusted
    from certagent.config import ConfigError

    try:
        config = load_trusted(arguments.config, os.path.realpath, checking=True)
    except ConfigError as error:
        document = {"version": 1, "ok": False, "errors": list(error.errors), "warnings": []}
        return Reply(USAGE, None, document, "" if arguments.json else "\n".join(error.errors))
    paths, names = ", ".join(p.path for p in config.policies), ", ".join(config.authorities) or "none"
    lacking, later, widely = lacked(config, arguments.config)
    warnings = [*lacking, *later, *widely]
    about = {"this host lacks something that it names": lacking, "not all of it exists yet": later}
    about["any CA of this system may vouch for an authority"] = widely
    summary = f"{arguments.config}: {'valid' if lacking else 'ok'}: certs directories: {paths}; authorities: {names}"
    summary += "".join(f"\n  {what}: {_count(each)}" for what, each in about.items() if each)
    document = {"version": 1, "ok": True, "errors": [], "warnings": warnings}
    told = "" if arguments.json else "\n".join(warnings)
    return Reply(INCOMPLETE if lacking else 0, summary, document, told)


def _count(warnings: list[str]) -> str:
    return f"{len(warnings)} warning{'s' * (len(warnings) > 1)}"


def lacked(config: "Config", path: str) -> tuple[list[str], list[str], list[str]]:
    """What the host lacks, which directories do not exist yet, which CA is trusted widely: by lines of the file."""
    from certagent.config.lines import lines_of, placed
    from certagent.operations.incomplete import awaited, missing, widely_trusted
    from certagent.posix.clock import clock

    with open(path, encoding="utf-8-sig") as file:
        lines = lines_of(file.read())
    found = missing(config, os.environ, clock()), awaited(config), widely_trusted(config)
    lacking, later, widely = ([placed(path, each, lines) for each in said] for said in found)
    return lacking, later, widely
