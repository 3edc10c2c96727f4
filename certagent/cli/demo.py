"""`certagent demo`: the story, with the figures it measured."""

import argparse

from certagent.cli.common import Reply


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("demo", help="CA, first pair, a server, live rotation, proof: in under 20 s")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """Tell the story in a temporary directory on loopback; exit 0 when every step held."""
    del arguments
    from certagent.demo.story import tell

    return Reply(tell())
