"""`certagent history`: past attempts and their results."""

import argparse
import os
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from certagent.cli.common import (
    UNKNOWN,
    USAGE,
    Reply,
    Stopped,
    ask,
    complaint,
    config_option,
    json_option,
    read_config,
    stem_of,
)
from certagent.cli.history_text import text
from certagent.core.names import Name, Unknown, parse
from certagent.core.spelling import spelled

if TYPE_CHECKING:
    from certagent.core.policy import Policy

MOST = 1 << 31


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("history", help="show past attempts and their results")
    parser.add_argument("file", nargs="?", default="", help="show only this pair")
    parser.add_argument("--limit", type=count, default=50, metavar="N", help="show the newest N (default 50)")
    config_option(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def count(said: str) -> int:
    """A number of lines. Raises ArgumentTypeError."""
    if not said.isascii() or not said.isdigit() or not int(said):
        raise argparse.ArgumentTypeError(f"{said!r} is not a number of 1 or more")
    return min(int(said), MOST)


def run(arguments: argparse.Namespace) -> Reply:
    """The newest attempts; asks the daemon, else reads the ledger."""
    stem = stem_of(arguments.file)
    answer = ask(arguments.config, "history", file=stem, limit=arguments.limit)
    rows = answer["rows"] if answer and answer["ok"] else _kept(arguments.config, stem, arguments.limit)
    if stem and not rows:
        configured = [w.name.stem for p in _policies(arguments.config) for w in p.wants]
        if isinstance(parse(stem), Unknown) or (configured and stem not in configured):
            return unknown(stem, configured)
    return reply_of([spelled(row) for row in rows], stem)


def unknown(stem: str, configured: list[str]) -> Reply:
    """Given a name without attempts that is none of the configured ones, and those, return what is said."""
    near = get_close_matches(stem, configured, 1)
    meant = f"did you mean {near[0]!r}?" if near else "certagent status lists what is managed"
    named = isinstance(parse(stem), Name)
    why = (
        f"{stem} is not configured, and has no attempts"
        if named
        else f"no file of a certs directory is called {stem!r}"
    )
    return complaint(f"{why}; {meant}", USAGE)


def _policies(path: str) -> "tuple[Policy, ...]":
    """Those of the configuration, none where this user may not read it: the agent has answered."""
    try:
        return read_config(path).policies
    except Stopped:
        return ()


def reply_of(rows: list[dict[str, Any]], stem: str = "") -> Reply:
    """Given the attempts, newest first, of one pair or ("") of all, return what is said."""
    none = f"no attempts for {stem} yet; certagent status lists what is managed"
    return Reply(0, none if stem and not rows else text(rows), {"version": 1, "attempts": rows})


def _kept(path: str, stem: str, limit: int) -> list[dict[str, Any]]:
    """What the ledger holds, without a daemon. Raises Stopped."""
    from certagent.posix.errors import HostError
    from certagent.state.ledger import Ledger
    from certagent.state.ownership import LEDGER

    ledger = os.path.join(read_config(path).settings.state_dir, LEDGER)
    try:
        return Ledger.looking(ledger).history("", stem, limit)
    except HostError as error:
        raise Stopped(complaint(error, UNKNOWN)) from error
