"""`certagent check`: what cockroach would say of a certs-dir when it loads it, and what it would not say but should."""

import argparse
from typing import Any

from certagent.cli.common import USAGE, config_option, emit, json_option, read_config


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("check", help="judge a certs-dir as cockroach would, and better")
    parser.add_argument("--certs-dir", default="", metavar="DIR", help="this directory, without any configuration")
    parser.add_argument(
        "--user", default="", metavar="NAME", help="the user cockroach runs as (default: the directory's owner)"
    )
    config_option(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the verdict; exit 0, 1, 2 by the worst finding."""
    from certagent.checking import check_directory, worst

    policies = _policies(arguments)
    if policies is None:
        return USAGE
    documents = [check_directory(policy) for policy in policies]
    document = (
        documents[0] if len(documents) == 1 else {"version": 1, "severity": worst(documents), "certs_dirs": documents}
    )
    emit(document) if arguments.json else print("\n".join(text(d) for d in documents))
    return {"ok": 0, "info": 0, "warning": 1, "critical": 2}[worst(documents)]


def _policies(arguments: argparse.Namespace) -> Any:
    from certagent.checking import policy_for

    if arguments.certs_dir:
        return policy_for(arguments.certs_dir, arguments.user)
    config = read_config(arguments.config)
    return None if config is None else list(config.policies)


def text(document: dict[str, Any]) -> str:
    """One directory for people."""
    lines = [f"{document['certs_dir']}: {document['severity']}"]
    lines += [
        f"  {f['name']:<22} {f['role']:<10} {'accepted' if f['accepted'] else 'REFUSED: ' + f['reason']}"
        for f in document["files"]
    ]
    lines += [
        f"  {f['severity']} {f['code']} {f['file']}: {f['message']}\n      remedy: {f['remedy']}"
        for f in document["findings"]
    ]
    return "\n".join(lines)
