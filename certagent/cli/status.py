"""`certagent status`: asks the agent; without an answer it observes the host and decides itself."""

import argparse
import os
import sys
import time
from typing import Any, NoReturn

from certagent.cli.common import (
    UNKNOWN,
    Reply,
    ask,
    config_option,
    harmless,
    json_option,
    local_service,
    said,
    seconds,
)
from certagent.cli.showing import painted
from certagent.cli.status_text import short, text
from certagent.core.exits import exit_code


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("status", help="show certificates, problems and the next scheduled action")
    config_option(parser)
    json_option(parser)
    parser.add_argument("--short", action="store_true", help="print one line")
    watch = "show it again after this time (default 2s), until Ctrl-C"
    parser.add_argument("--watch", type=seconds, nargs="?", const=2.0, default=0.0, metavar="TIME", help=watch)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """The status; exit 0 ok, 1 warning, 2 critical, 3 unknown."""
    return _watched(arguments) if arguments.watch else _asked(arguments)


def _asked(arguments: argparse.Namespace) -> Reply:
    answer = ask(arguments.config, "status") or {"ok": True, "document": observed(arguments.config)}
    return reply_of(answer, brief=arguments.short)


def reply_of(answer: dict[str, Any], *, brief: bool = False) -> Reply:
    """Given the daemon's answer, or one of our own, return what is said, and the exit code."""
    if not answer.get("ok"):
        return Reply(UNKNOWN, f"certagent: {answer.get('error')}")
    document = answer["document"]
    return Reply(exit_code(document), short(document) if brief else text(document), document)


def observed(path: str) -> dict[str, Any]:
    """The document, where no agent answers. Raises Stopped."""
    service = local_service(path, silent=True)
    document = service.status(None)
    service.stop()
    return document


def _watched(arguments: argparse.Namespace) -> NoReturn:
    """Show it again and again, until the user ends it."""
    stream = sys.stdout
    while True:
        reply = _asked(arguments)
        words = harmless(said(reply, as_json=arguments.json) or reply.error)
        stream.write(("\x1b[H\x1b[2J" if stream.isatty() else "") + painted(words, stream, os.environ) + "\n")
        stream.flush()
        time.sleep(arguments.watch)
