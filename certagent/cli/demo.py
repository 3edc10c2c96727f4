"""`certagent demo`: issuing, rotating and repairing in a temporary directory, with measured figures and next steps."""

import argparse
import sys

from certagent.cli.common import Reply

NEXT = """now try:
  {program} check --certs-dir DIR --user NAME   check an existing certs directory; changes nothing
  {program} explain key.mode                    what a finding means, and its remedy
then read {manual}docs/install.md to install the service, and {manual}config.example.toml for every setting"""


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        "demo", help="show a CA, a first pair, a server and verified rotations in under 20 s"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """Tell the story in a temporary directory on loopback; exit 0 when every step held."""
    del arguments
    from certagent.demo.story import tell
    from certagent.posix.manual import manual

    return reply_of(tell(), sys.argv[0], manual())


def reply_of(code: int, program: str, place: str = "") -> Reply:
    """Given how the story ended, how this program was called and where the manual is, return what is said last."""
    return Reply(code) if code else Reply(text=NEXT.format(program=program, manual=place))
