"""`certagent renew`, `rollback`, `reload`: commands to the daemon.

Exit 0 done and proven, 1 refused or not proven in time, 3 without a daemon.
"""

import argparse
import sys
import time
from typing import Any

from certagent.cli.common import UNKNOWN, Progress, ask, config_option, emit, json_option, socket_of
from certagent.cli.proving import PENDING, held_back, judge

REFUSED = 1
POLL = 0.1
ROWS = 200


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
        how = "systemctl start certagent, or `certagent run`"
        print(f"certagent: no daemon answers at {socket_of(arguments.config)}: {how}", file=sys.stderr)
        return UNKNOWN
    if not answer["ok"]:
        print(f"certagent: {answer['error']}", file=sys.stderr)
        return REFUSED
    outcome = _wait(arguments, file, answer)
    emit({"version": 1, **outcome}) if arguments.json else print(
        f"{arguments.kind} {file}".strip() + f": {outcome['state']}: {outcome['reason']}"
    )
    return 0 if outcome["state"] == "proven" else REFUSED


def _wait(arguments: argparse.Namespace, file: str, answer: dict[str, Any]) -> dict[str, str]:
    where = answer["certs_dir"] if file else arguments.certs_dir
    begin = time.monotonic()
    progress = Progress(sys.stderr)
    outcome, held, look = PENDING, PENDING, begin + 1
    while outcome["state"] == "pending" and time.monotonic() < begin + arguments.wait:
        time.sleep(POLL)
        history = ask(arguments.config, "history", certs_dir=where, limit=ROWS)
        status = ask(arguments.config, "status")  # after the history: never older than what that says
        if not status or not history:
            outcome = {"state": "pending", "reason": "the daemon does not answer any more"}
            continue
        dirs = [d for d in status["document"]["certs_dirs"] if where in ("", d["path"])]
        outcome = judge(arguments.kind, file, answer["row"], dirs, history["rows"])
        if outcome == PENDING:
            if time.monotonic() >= look:
                look, held = time.monotonic() + 1, _held(arguments, file, where)
            outcome = held
        progress.show(f"{arguments.kind} {file}: {outcome.get('step', 'waiting')}", time.monotonic() - begin)
    progress.clear()
    return {k: v for k, v in outcome.items() if k != "step"}


def _held(arguments: argparse.Namespace, file: str, where: str) -> dict[str, str]:
    """Nothing was attempted so far: why, by the plan."""
    plan = ask(arguments.config, "plan")
    dirs = [d for d in plan["document"]["certs_dirs"] if where in ("", d["path"])] if plan else []
    reason, for_good = held_back(arguments.kind, file, dirs)
    return {"state": "refused" if for_good else "pending", "reason": reason} if reason else PENDING
