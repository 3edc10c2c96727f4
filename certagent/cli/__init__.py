"""The command line: one file per verb, each with add(subparsers) and run(arguments) -> Reply.

A status query must start fast: only the requested verb is imported, and verbs import expensive modules inside run.
Usage and configuration errors exit 64, an unexpected exception exits 70, so that neither is mistaken for a state.
"""

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn, cast

from certagent.cli.common import (
    INTERNAL,
    USAGE,
    Reply,
    Stopped,
    config_option,
    default_config,
    require_named,
    show,
)
from certagent.cli.waiting import Ticker

VERBS = {  # each verb, and its module here
    "init": "init",
    "doctor": "doctor",
    "run": "run",
    "status": "status",
    "metrics": "metrics",
    "check": "check",
    "plan": "plan",
    "renew": "commands",
    "rollback": "commands",
    "reload": "commands",
    "clear": "clear",
    "rotation": "rotation",
    "bundle": "bundle",
    "history": "history",
    "recover": "recover",
    "explain": "explain",
    "schema": "schema",
    "advise": "advise",
    "retire": "retire",
    "authority": "authority",
    "config": "config",
    "demo": "demo",
    "completion": "completion",
}


ANSWERING = frozenset(  # once, when everything is known
    {"status", "plan", "check", "history", "advise", "authority", "recover", "doctor", "init"}
)


COMMAND = "Exit code: 0 done and verified, 1 refused or not verified in time, 3 no agent. Example: "
EPILOGS = {
    "status": "Exit code: 0 ok or info, 1 warning, 2 critical, 3 unknown. Example: certagent status --short",
    "plan": "Exit code: 0 nothing to do (a warning or a blocked action does not count), 2 work or a critical finding,"
    " 3 unknown. Example: certagent plan -c NEW.toml",
    "check": "Exit code: 0 ok or info, 1 warning, 2 critical, 3 the files may not be read."
    " Example: certagent check --certs-dir /var/lib/cockroach/certs --user cockroach",
    "renew": f"{COMMAND}certagent renew node --wait 2m",
    "rollback": f"{COMMAND}certagent rollback node",
    "reload": f"{COMMAND}certagent reload --wait 2m",
    "bundle": "Exit code: 0 done, or nothing to do, 1 refused or not installed in time, 3 no agent."
    " Example: certagent bundle add new-root.pem",
    "history": "Example: certagent history node --limit 10",
    "explain": "Example: certagent explain served.stale",
    "run": "Exit code: 0 told to stop, 3 it cannot start; with --once that of `certagent status`.",
}


class Verbs(argparse._SubParsersAction):  # type: ignore[type-arg] # generic in typeshed only
    """Sub-commands whose own --help says what the list says of them."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """As argparse does, with the exit codes and an example below the options."""
        about = {"description": options.get("help"), "epilog": EPILOGS.get(name), **options}
        return cast("argparse.ArgumentParser", super().add_parser(name, **about))


class Parser(argparse.ArgumentParser):
    """argparse, with usage errors that exit 64."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("action", "parsers", Verbs)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse does, with the word that is probably meant."""
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            from difflib import get_close_matches

            if near := get_close_matches(str(value), [str(choice) for choice in action.choices or ()], 1):
                message = f"unknown: {value!r}; did you mean {near[0]!r}?"
                raise argparse.ArgumentError(action, message) from error
            raise

    def error(self, message: str) -> NoReturn:
        """Print the usage and the reason."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, with the option that is probably meant."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            from difflib import get_close_matches

            given = [word.partition("=")[0] for word in unknown if word.startswith("--")]
            near = [match for word in given for match in get_close_matches(word, self._options(), 1)]
            meant = f"; did you mean {' '.join(near)}?" if near else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")
        return found

    def _options(self) -> list[str]:
        """Every long option of this parser and of those below it: of a verb, only that one is there."""
        below = [p for a in self._actions if isinstance(a, Verbs) for p in a.choices.values()]
        own = [option for a in self._actions for option in a.option_strings if option.startswith("--")]
        return own + [option for p in below if isinstance(p, Parser) for option in p._options()]


def parser(verb: str = "") -> argparse.ArgumentParser:
    """The whole command line; given a verb, no more than that one needs."""
    about, more = "The certificate agent for CockroachDB hosts.", "`certagent COMMAND --help` describes a command."
    top = Parser(
        prog="certagent",
        description=about,
        epilog=f"{more} A mistake on the command line or in the configuration exits 64.",
    )
    config_option(top)
    top.set_defaults(config=default_config(), run=lambda _: Reply(USAGE, top.format_help().rstrip("\n")))
    top.add_argument("--version", action="store_true", help="print the version and exit")
    subparsers = top.add_subparsers(dest="verb", metavar="COMMAND", parser_class=Parser, prog="certagent")
    for module in dict.fromkeys([VERBS[verb]] if verb in VERBS else VERBS.values()):
        import_module(f"certagent.cli.{module}").add(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    return guarded(lambda: _run(argv))


def guarded(command: Callable[[], int]) -> int:
    """Run a command; return its exit code. An internal error prints its traceback and exits 70, never a severity."""
    try:
        return command()
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - Python would exit 1, which says "warning"
        traceback.print_exc()
        print(f"certagent: internal error ({type(error).__name__}); please report it", file=sys.stderr)
        return INTERNAL


def _run(argv: Sequence[str] | None) -> int:
    words = sys.argv[1:] if argv is None else argv
    arguments = parser(words[0] if words else "").parse_args(argv)
    return show(_reply(arguments), as_json=getattr(arguments, "json", False))


def _reply(arguments: argparse.Namespace) -> Reply:
    if arguments.version:
        from certagent import __version__

        return Reply(text=f"certagent {__version__}")
    try:
        require_named(arguments.config)
        streams = getattr(arguments, "watch", False) or (getattr(arguments, "streams", False) and not arguments.json)
        if arguments.verb not in ANSWERING or streams:
            return cast("Reply", arguments.run(arguments))
        with Ticker(f"certagent {arguments.verb}", sys.stderr):
            return cast("Reply", arguments.run(arguments))
    except Stopped as stopped:
        return stopped.reply
