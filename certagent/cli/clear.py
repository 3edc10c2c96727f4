"""`certagent clear FILE`: a person says that nobody can have read a key that others could read.

Exit 0 done, 1 refused, 3 without a daemon.
"""

import argparse

from certagent.cli.commands import SEVERAL, declined
from certagent.cli.common import Reply, ask, config_option, stem_of


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("clear", help="end key.exposed for a key that nobody can have read")
    parser.add_argument("file", help="the pair: node, ui, client.root; node.key means node")
    parser.add_argument("--certs-dir", default="", metavar="DIR", help=SEVERAL)
    config_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """Send the command; it takes effect immediately."""
    file = stem_of(arguments.file)
    answer = ask(arguments.config, "clear", file=file, certs_dir=arguments.certs_dir)
    if answer is None or not answer["ok"]:
        return declined(answer, arguments.config)
    return Reply(text=f"clear {file}: done; five more undone repairs of its mode would report it again")
