"""`certagent history`: what was attempted, and how it ended."""

import argparse
import os
import sys
from typing import Any

from certagent.cli.common import USAGE, ask, config_option, emit, json_option, read_config


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("history", help="what was attempted, and how it ended")
    parser.add_argument("file", nargs="?", default="", help="only this pair")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="the newest N (default 50)")
    config_option(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the newest attempts; asks the daemon, else reads the ledger."""
    rows = _rows(arguments, arguments.file.removesuffix(".crt").removesuffix(".key"))
    if rows is None:
        return USAGE
    if arguments.json:
        emit({"version": 1, "attempts": rows})
    else:
        print("\n".join(line(r) for r in rows) or "nothing was attempted yet")
    return 0


def _rows(arguments: argparse.Namespace, stem: str) -> list[dict[str, Any]] | None:
    answer = ask(arguments.config, "history", file=stem, limit=arguments.limit)
    if answer is not None and answer["ok"]:
        return list(answer["rows"])
    from certagent.host.errors import HostError
    from certagent.host.ledger import Ledger
    from certagent.running import LEDGER

    config = read_config(arguments.config)
    if config is None:
        return None
    try:
        return Ledger.looking(os.path.join(config.settings.state_dir, LEDGER)).history("", stem, arguments.limit)
    except HostError as error:
        print(f"certagent: {error}", file=sys.stderr)
        return None


def line(row: dict[str, Any]) -> str:
    """One attempt for people."""
    return f"{row['at']} {row['kind']:<8} {row['subject']:<14} {row['outcome']:<9} {row['reason']}"
