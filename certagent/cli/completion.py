"""`certagent completion SHELL`: a completion script, made from the command line itself."""

import argparse

from certagent.cli.common import USAGE, Reply, complaint


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("completion", help="print a completion script for a shell")
    parser.add_argument("shell", choices=("bash", "zsh", "fish", "tcsh"))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """The script; `certagent completion bash > /etc/bash_completion.d/certagent` installs it."""
    from certagent.cli import parser

    try:
        import shtab
    except ImportError:
        return complaint(
            (
                "cannot make a completion script: the package shtab is missing; install certagent with the extra"
                " 'completion'"
            ),
            USAGE,
        )
    return Reply(text=shtab.complete(parser(), arguments.shell))
