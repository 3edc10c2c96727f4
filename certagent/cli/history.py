"""`certagent history`: what was attempted, and how it ended."""

import argparse

from certagent.cli.common import USAGE, config_option, emit, json_option, read_config


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("history", help="what was attempted, and how it ended")
    parser.add_argument("file", nargs="?", default="", help="only this pair")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="the newest N (default 50)")
    config_option(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the ledger's newest rows."""
    import os

    from certagent.host.ledger import Ledger

    config = read_config(arguments.config)
    if config is None:
        return USAGE
    path = os.path.join(config.settings.state_dir, "ledger.db")
    rows = Ledger(path).history(None, arguments.limit) if os.path.exists(path) else []
    stem = arguments.file.removesuffix(".crt").removesuffix(".key")
    rows = [r for r in rows if stem in ("", r["subject"])]
    if arguments.json:
        emit({"version": 1, "attempts": rows})
    else:
        print("\n".join(f"{r['at']} {r['kind']:<8} {r['subject']:<14} {r['outcome']:<9} {r['reason']}" for r in rows) or "nothing was attempted yet")
    return 0
