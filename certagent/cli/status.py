"""`certagent status`: asks the daemon; if it is silent, observes and decides by itself."""

import argparse
from typing import Any

from certagent.cli.common import UNKNOWN, USAGE, ask, config_option, emit, json_option

EXITS = {"ok": 0, "info": 0, "warning": 1, "critical": 2}


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("status", help="what is, what is wrong, what comes next")
    config_option(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the status; exit 0 ok, 1 warning, 2 critical, 3 unknown."""
    answer = ask(arguments.config, "status")
    if answer is not None and not answer.get("ok"):
        print(f"certagent: {answer.get('error')}")
        return UNKNOWN
    document = answer["document"] if answer else _observed(arguments.config)
    if document is None:
        return USAGE
    emit(document) if arguments.json else print(text(document))
    return EXITS.get(document["severity"], UNKNOWN)


def _observed(path: str) -> dict[str, Any] | None:
    from certagent.cli.common import local_service

    service = local_service(path)
    if service is None:
        return None
    document = service.status(None)
    service.stop()
    return document


def text(document: dict[str, Any]) -> str:
    """The document for people."""
    daemon = document["daemon"]
    lines = [
        f"certagent: {document['severity']}"
        + (f", daemon pid {daemon['pid']}" if daemon else ", no daemon: observed just now")
    ]
    for directory in document["certs_dirs"]:
        lines += ["", f"{directory['path']}: {directory['severity']}"]
        lines += [_file(f) for f in directory["files"]]
        lines += [
            f"  process {p['pid']} ({p['user']}): {p['state']} {' '.join(p['listeners'])}"
            for p in directory["processes"]
        ]
        lines += [
            f"  {f['severity']} {f['code']} {f['file']}: {f['message']}"
            + (f"\n      remedy: {f['remedy']}" if f["remedy"] else "")
            for f in directory["findings"]
        ]
        lines += [f"  authority {a['name']}: {a['note']}" for a in directory["authorities"] if a["note"]]
        if directory["next"]:
            lines.append("  next: {action} {file} at {at}: {reason}".format(**directory["next"]))
    return "\n".join(lines)


def _file(file: dict[str, Any]) -> str:
    if not file["fingerprint"]:
        return f"  {file['name']:<14} missing"
    renew = f", renews {file['renew_at']}" if file["renew_at"] else ""
    return f"  {file['name']:<14} {file['fingerprint'][:12]} until {file['not_after']}{renew}, proof: {file['proof']}"
