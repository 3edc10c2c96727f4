"""`certagent completion SHELL`: a completion script, made from the command line itself."""

import argparse

from certagent.cli.common import USAGE


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("completion", help="print a completion script for a shell")
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the script; `certagent completion bash > /etc/bash_completion.d/certagent` installs it."""
    import sys

    from certagent.cli import parser

    try:
        import shtab
    except ImportError:
        print(
            "certagent: cannot make a completion: shtab is missing; pip install 'certagent[completion]'",
            file=sys.stderr,
        )
        return USAGE
    print(shtab.complete(parser(), arguments.shell))
    return 0
