"""`certagent schema NAME`: the JSON Schema of the configuration, of a document of --json or of a line of the log."""

import argparse
import difflib
from typing import Any, get_args

from certagent.cli.common import USAGE, Reply, complaint

CONFIGURATION, LINE = "config", "event"


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("schema", help="print the JSON Schema of the configuration or of a JSON document")
    parser.add_argument("name", nargs="?", default="", help="for example config or status; default: list all names")
    parser.set_defaults(run=run, json=True)


def run(arguments: argparse.Namespace) -> Reply:
    """One schema, or the list."""
    from certagent.core.documents import DOCUMENTS

    name, known = arguments.name, (CONFIGURATION, LINE, *DOCUMENTS)
    if not name:
        return Reply(0, "\n".join(known))
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else "`certagent schema` lists all names"
        return complaint(f"there is no schema {name!r}; {hint}", USAGE)
    return Reply(0, None, schema(name))


def schema(name: str) -> dict[str, Any]:
    """The schema of that name."""
    from certagent.config.described import schema as configuration
    from certagent.core.documents import DOCUMENTS

    return configuration() if name == CONFIGURATION else line() if name == LINE else DOCUMENTS[name]


def line() -> dict[str, Any]:
    """A line of the log: what every line has, what is left out where it is empty, and the fields of some events."""
    from certagent.core.shapes import DRAFT, MOMENT, NUMBER, TEXT
    from certagent.events import EVENTS, Level

    own: dict[str, Any] = {field: {} for event in EVENTS.values() for field in event.fields}
    always = {
        "ts": MOMENT,
        "level": {"enum": list(get_args(Level))},
        "event": {"enum": list(EVENTS)},
        "version": TEXT,
        "host": TEXT,
        "pid": NUMBER,
    }
    some = dict.fromkeys(("certs_dir", "file", "reason", "remedy"), TEXT) | {"left_out": NUMBER}
    title = "a line of certagent's log"
    return {
        "$schema": DRAFT,
        "title": title,
        "type": "object",
        "required": list(always),
        "properties": own | some | always,
    }
