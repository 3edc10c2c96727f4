"""`certagent plan`: what would be done now, what is held back and why, and when the next step is due."""

import argparse
from typing import Any

from certagent.cli.common import USAGE, config_option, emit, json_option, local_service, look


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("plan", help="what would be done now, and what is held back")
    config_option(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the plan; exit 0 quiet, 2 work to do. Looks for itself, and changes nothing."""
    service = local_service(arguments.config)
    if service is None:
        return USAGE
    look(service)
    document = service.plans()
    service.stop()
    emit(document) if arguments.json else print(text(document))
    return 2 if any(d["actions"] for d in document["certs_dirs"]) else 0


def text(document: dict[str, Any]) -> str:
    """The plan for people."""
    lines = []
    for directory in document["certs_dirs"]:
        lines.append(f"{directory['path']}: {len(directory['actions'])} to do, {len(directory['held'])} held")
        lines += [f"  {a['action']} {a['subject']}: {a['reason']}" for a in directory["actions"]]
        lines += [f"  held {h['action']} {h['file']}: {h['reason']}" + (f" (until {h['at']})" if h["at"] else "") for h in directory["held"]]
        lines.append(f"  next look: {directory['wake_at']}")
    return "\n".join(lines)
