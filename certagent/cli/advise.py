"""`certagent advise ocsp`: whether it is safe to set security.ocsp.mode = strict, with the evidence.

Exit 0 safe, 1 only lax is safe or strict would check nothing, 2 connections are refused already.
"""

import argparse
import os
from typing import TYPE_CHECKING, Any

from certagent.cli.common import USAGE, Reply, Stopped, ask, complaint, config_option, json_option, read_config

if TYPE_CHECKING:
    from certagent.core.policy import Policy

LONGEST = 180.0  # seconds; a daemon asks every responder, each with its own timeout
NOTE = (
    "This covers only the certificates of this host. cockroach also checks those of other nodes and clients, at every\n"
    "handshake. Run this on every host before you set strict: strict refuses everything that no responder calls good."
)


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("advise", help="say whether security.ocsp.mode = strict is safe on this host")
    parser.add_argument("about", choices=["ocsp"], help="ocsp: ask every OCSP responder of every certificate now")
    parser.add_argument(
        "--certs-dir", default="", metavar="DIR", help="check this directory; it need not be configured"
    )
    parser.add_argument(
        "--allow-private", action="store_true", help="ask responders at loopback, link-local and private addresses too"
    )
    config_option(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """The advice: from the agent, or without one by this process."""
    document = _from_daemon(arguments) or _by_ourselves(arguments)
    return Reply(int(document["exit"]), text(document), document)


def _from_daemon(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """The agent may read more than this user; if it refuses or does not manage the directory, this process tries."""
    certs_dir = os.path.abspath(arguments.certs_dir) if arguments.certs_dir else ""
    given = {"certs_dir": certs_dir, "allow_private": arguments.allow_private}
    answer = ask(arguments.config, "advise-ocsp", patience=LONGEST, **given)
    return answer["document"] if answer and answer.get("ok") else None


def _by_ourselves(arguments: argparse.Namespace) -> dict[str, Any]:
    from certagent.operations.ocsp_advice import advise, chosen
    from certagent.posix.errors import HostError

    policies = _known(arguments.config) if arguments.certs_dir else read_config(arguments.config).policies
    try:
        return advise(chosen(policies, arguments.certs_dir), allow_private=arguments.allow_private)
    except HostError as error:
        raise Stopped(complaint(error, USAGE)) from error


def _known(path: str) -> "tuple[Policy, ...]":
    """The policies of a valid configuration, if there is one; a directory that is named needs none."""
    from certagent.config import ConfigError, load

    try:
        return load(path).policies
    except ConfigError:
        return ()


def text(document: dict[str, Any]) -> str:
    """The advice for people."""
    lines = []
    for directory in document["certs_dirs"]:
        mode = (
            "" if directory["mode"] == "off" else f" (the configuration says that the cluster uses {directory['mode']})"
        )
        lines.append(f"{directory['path']}: {directory['message']}{mode}")
        for row in directory["certificates"]:
            lines += _row(row)
        lines.append("")
    return "\n".join([*lines, NOTE])


def _row(row: dict[str, Any]) -> list[str]:
    whose = row["file"] if row["position"] == "leaf" else f"{row['file']}, its issuer"
    lines = [f"  {whose} {row['subject']}: lax {row['lax']}, strict {row['strict']}"]
    for a in row["responders"]:
        until = f", until {a['next_update']}" if a["next_update"] else ""
        said = f"{a['status']}, signature verified" if a["signature_verified"] else f"no answer: {a['reason']}"
        lines.append(f"    {a['source']} {a['url']}: {said}, {a['latency_ms']} ms{until}")
    lines.append(f"    {row['message']}")
    return lines + ([f"      remedy: {row['remedy']}"] if row["remedy"] else [])
