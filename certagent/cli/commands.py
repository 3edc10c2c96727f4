"""`certagent renew`, `rollback`, `reload`: commands to the daemon.

Exit 0 done and proven, 1 refused or not proven in time, 3 without a daemon.
"""

import argparse
import sys
import time
from typing import Any

from certagent.cli.common import (
    UNKNOWN,
    Progress,
    Reply,
    ask,
    complaint,
    config_option,
    json_option,
    socket_of,
    stem_of,
)
from certagent.cli.proving import PENDING, Command, blocked, seen

SEVERAL, ONLY = "needed if several directories have this pair", "reload only the processes of this directory"
REFUSED = 1
WORDS = {"proven": "verified"}  # the state of a command, as people read it
POLL = 0.1
ROWS = 200


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the three verbs."""
    for verb, about in (
        ("renew", "request a new certificate from the CA now"),
        ("rollback", "restore the previous certificate and key"),
        ("reload", "reload cockroach (SIGHUP) and verify that it serves the new certificates"),
    ):
        parser = subparsers.add_parser(verb, help=about)
        if verb != "reload":
            parser.add_argument("file", help="the pair: node, ui, client.root; node.crt means node")
        where = ONLY if verb == "reload" else SEVERAL
        parser.add_argument("--certs-dir", default="", metavar="DIR", help=where)
        parser.add_argument(
            "--wait", type=float, default=60.0, metavar="SECONDS", help="how long to wait for the result (default 60)"
        )
        if verb == "renew":
            parser.add_argument("--force", action="store_true", help="do not wait for the backoff after a failure")
        config_option(parser)
        json_option(parser)
        parser.set_defaults(run=run, kind=verb)


def run(arguments: argparse.Namespace) -> Reply:
    """Send the command, then wait until `status` shows that it was done and proven."""
    kind, file, where = arguments.kind, stem_of(getattr(arguments, "file", "")), arguments.certs_dir
    force = getattr(arguments, "force", False)
    answer = ask(arguments.config, kind, file=file, certs_dir=where, force=force)
    if answer is None or not answer["ok"]:
        return refusal(answer, socket_of(arguments.config))
    command = Command(kind, file, answer["certs_dir"] if file else where, answer["row"], answer["at"])
    return reply_of(command, _wait(arguments.config, command, arguments.wait))


def refusal(answer: dict[str, Any] | None, socket: str) -> Reply:
    """Given the answer that is no, or none at all, return what is said."""
    if answer is None:
        how = "systemctl start certagent, or `certagent run`"
        return complaint(f"no agent answers at {socket}; start it: {how}", UNKNOWN)
    return complaint(answer["error"], REFUSED)


def reply_of(command: Command, outcome: dict[str, str]) -> Reply:
    """Given how a command ended, return what is said; exit 0 only for what is proven. Its step is the terminal's."""
    document = {"version": 1, "state": outcome["state"], "reason": outcome["reason"]}
    state = WORDS.get(outcome["state"], outcome["state"])
    told = f"{command.kind} {command.file}".strip() + f": {state}: {outcome['reason']}"
    return Reply(0 if outcome["state"] == "proven" else REFUSED, told, document)


def _wait(config: str, command: Command, longest: float) -> dict[str, str]:
    begin = time.monotonic()
    progress, pause = Progress(sys.stderr), _Pause(config, command)
    outcome = PENDING
    while outcome["state"] == "pending" and time.monotonic() < begin + longest:
        time.sleep(POLL)
        history = ask(config, "history", certs_dir=command.where, limit=ROWS)
        status = ask(config, "status")  # after the history: never older than what that says
        outcome = seen(command, status, history)
        if outcome == PENDING:
            outcome = pause.reason()
        progress.show(f"{command.kind} {command.file}: {outcome.get('step', 'waiting')}", time.monotonic() - begin)
    progress.clear()
    return outcome


class _Pause:
    """Why nothing was attempted so far, by the plan; which is dear, so asked for once a second, the first one over."""

    def __init__(self, config: str, command: Command) -> None:
        """Nothing is known yet."""
        self._config, self._command = config, command
        self._look, self._held = time.monotonic() + 1, PENDING

    def reason(self) -> dict[str, str]:
        """What was found last."""
        if time.monotonic() >= self._look:
            self._look, self._held = time.monotonic() + 1, blocked(self._command, ask(self._config, "plan"))
        return self._held
