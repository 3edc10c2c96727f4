"""`certagent renew`, `rollback`, `reload`: commands to the daemon.

Exit 0 done and proven, 1 refused or not proven in time, 3 without a daemon.
"""

import argparse
import sys
import time
from typing import Any

from certagent.cli.common import UNKNOWN, ask, config_option, emit, json_option

REFUSED = 1
POLL = 0.1


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the three verbs."""
    for verb, about in (
        ("renew", "ask the CA for a new pair now"),
        ("rollback", "go back to the pair before"),
        ("reload", "send SIGHUP and prove it"),
    ):
        parser = subparsers.add_parser(verb, help=about)
        if verb != "reload":
            parser.add_argument("file", help="the pair: node, ui, client.root (node.crt means the same)")
        parser.add_argument("--certs-dir", default="", metavar="DIR", help="needed where several directories have it")
        parser.add_argument(
            "--wait", type=float, default=60.0, metavar="SECONDS", help="how long to wait for the proof (default 60)"
        )
        if verb == "renew":
            parser.add_argument("--force", action="store_true", help="do not wait for the pause after a failure")
        config_option(parser)
        json_option(parser)
        parser.set_defaults(run=run, kind=verb)


def run(arguments: argparse.Namespace) -> int:
    """Send the command, then wait until `status` shows that it was done and proven."""
    file = getattr(arguments, "file", "").removesuffix(".crt").removesuffix(".key")
    answer = ask(
        arguments.config,
        arguments.kind,
        file=file,
        certs_dir=arguments.certs_dir,
        force=getattr(arguments, "force", False),
    )
    if answer is None:
        print("certagent: no daemon answers; start it, or use `certagent run --once`", file=sys.stderr)
        return UNKNOWN
    if not answer["ok"]:
        print(f"certagent: {answer['error']}", file=sys.stderr)
        return REFUSED
    outcome = _wait(arguments, file, answer["at"])
    emit({"version": 1, **outcome}) if arguments.json else print(
        f"{arguments.kind} {file}: {outcome['state']}: {outcome['reason']}"
    )
    return 0 if outcome["state"] == "proven" else REFUSED


def _wait(arguments: argparse.Namespace, file: str, since: str) -> dict[str, Any]:
    end = time.monotonic() + arguments.wait
    outcome = {"state": "pending", "reason": "not proven in time"}
    while time.monotonic() < end and outcome["state"] == "pending":
        time.sleep(POLL)
        status = ask(arguments.config, "status")
        history = ask(arguments.config, "history", certs_dir=arguments.certs_dir, limit=20)
        if status and history:
            outcome = judge(arguments.kind, file, since, status["document"], history["rows"], outcome)
    return outcome


def judge(
    kind: str, file: str, since: str, status: dict[str, Any], rows: list[dict[str, Any]], before: dict[str, Any]
) -> dict[str, Any]:
    """Given the daemon's status and the newest attempts, say whether a command is done, refused or pending."""
    mine = [r for r in rows if r["at"] >= since and (kind == "reload" or r["subject"] == file)]
    bad = [r for r in mine if r["outcome"] in {"failed", "refused"}]
    if bad:
        return {"state": "refused", "reason": bad[0]["reason"]}
    done = {"renew": "install", "rollback": "rollback", "reload": "reload"}[kind]
    if not any(r["kind"] == done and r["outcome"] == "ok" for r in mine):
        return before
    files = [f for d in status["certs_dirs"] for f in d["files"] if kind != "reload" and f["name"] == file]
    if any(f["proof"] == "pending" for f in files):
        return before
    return {"state": "proven", "reason": ", ".join(f["proof"] for f in files) or "served"}
