"""`certagent renew`, `rollback`, `reload`: commands to the daemon.

Exit 0 done and verified, 1 refused or not verified in time, 3 without a daemon.
"""

import argparse
import sys
import time
from typing import Any

from certagent.cli.common import (
    UNKNOWN,
    Reply,
    Stopped,
    ask,
    complaint,
    config_option,
    json_option,
    seconds,
    silence,
    stem_of,
)
from certagent.cli.proving import PENDING, Command, blocked, seen
from certagent.cli.waiting import Progress

SEVERAL, ONLY = "needed if several directories have this pair", "reload only the processes of this directory"
FORCE = {
    "renew": "do not wait for the backoff after a failure",
    "reload": "send SIGHUP even if the files on disk would break connections",
}
REFUSED = 1
DONE = {  # where nothing is left to do, though no handshake verified it
    "sent": "done, cannot be verified: reload sent",
    "tls": "done, cannot be verified: TLS accepts it, the log-in was neither granted nor refused",
    "none-needed": "done: no cockroach process uses this directory; nothing to verify",
}
POLL, PATIENCE = 0.1, 30.0
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
            "--wait", type=seconds, default=60.0, metavar="TIME", help="how long to wait for the result (default 60s)"
        )
        if verb in FORCE:
            parser.add_argument("--force", action="store_true", help=FORCE[verb])
        config_option(parser)
        json_option(parser)
        parser.set_defaults(run=run, kind=verb)


def run(arguments: argparse.Namespace) -> Reply:
    """Send the command, then wait until `status` shows that it was done and verified."""
    kind, file, where = arguments.kind, stem_of(getattr(arguments, "file", "")), arguments.certs_dir
    force = getattr(arguments, "force", False)
    patience = max(arguments.wait, PATIENCE)  # an agent that waits for its disk still gets the command
    answer = ask(arguments.config, kind, patience=patience, file=file, certs_dir=where, force=force)
    if answer is None or not answer["ok"]:
        return declined(answer, arguments.config)
    command = Command(kind, file, answer["certs_dir"] if file else where, answer["row"], answer["at"])
    return reply_of(command, *_wait(arguments.config, command, arguments.wait))


def declined(answer: dict[str, Any] | None, config: str) -> Reply:
    """Given the answer that is no, or none at all, and the configuration, return what is said. Raises Stopped."""
    return refusal(answer, "" if answer else silence(config))


def refusal(answer: dict[str, Any] | None, silent: str) -> Reply:
    """Given the answer that is no, or none at all and the sentence about that, return what is said."""
    if answer is None:
        how = "systemctl start certagent, or `certagent run`"
        return complaint(f"{silent}; start it: {how}", UNKNOWN)
    return complaint(answer["error"], REFUSED)


def reply_of(command: Command, outcome: dict[str, Any], seconds: float) -> Reply:
    """Given how a command ended and how long that took, return what is said; exit 0 only where nothing is owed."""
    document = {"version": 1, **outcome}
    told = f"{command.kind} {command.file}".strip() + f": {_told(outcome['state'], outcome, seconds)}"
    return Reply(0 if outcome["state"] == "proven" else REFUSED, told, document)


def _told(state: str, outcome: dict[str, Any], seconds: float) -> str:
    reason = str(outcome["reason"])
    if state == "proven":
        return DONE.get(reason, f"verified: {reason}")
    if "owed" in outcome:
        return f"{reason} after {seconds:.0f} s; the agent keeps trying"
    return f"{outcome.get('outcome', state)}: {reason}"


def _wait(config: str, command: Command, longest: float) -> tuple[dict[str, Any], float]:
    """How the command ended, or what was reached when the waiting was over, and after how many seconds."""
    begin = time.monotonic()
    progress, pause = Progress(sys.stderr), _Pause(config, command)
    outcome: dict[str, Any] = PENDING
    while outcome["state"] == "pending" and time.monotonic() < begin + longest:
        time.sleep(POLL)
        history = _asked(config, "history", certs_dir=command.where, limit=ROWS)
        status = _asked(config, "status")  # after the history: never older than what that says
        outcome = seen(command, status, history)
        if outcome == PENDING:
            outcome = pause.reason()
        progress.show(awaited(command, outcome), time.monotonic() - begin)
    progress.clear()
    return outcome, time.monotonic() - begin


def awaited(command: Command, outcome: dict[str, Any]) -> str:
    """Given a command and what was reached so far, return the line that is shown while it is waited for."""
    return f"{command.kind} {command.file}: {outcome['reason'] if 'owed' in outcome else 'waiting'}"


def _asked(config: str, command: str, **about: Any) -> dict[str, Any] | None:
    """The agent's answer; None while it gives none: the command was taken, so it is asked again."""
    try:
        return ask(config, command, **about)
    except Stopped:
        return None


class _Pause:
    """Why nothing was attempted so far, by the plan; which is dear, so asked for once a second, the first one over."""

    def __init__(self, config: str, command: Command) -> None:
        """Nothing is known yet."""
        self._config, self._command = config, command
        self._look, self._held = time.monotonic() + 1, PENDING

    def reason(self) -> dict[str, Any]:
        """What was found last."""
        if time.monotonic() >= self._look:
            self._look, self._held = time.monotonic() + 1, blocked(self._command, _asked(self._config, "plan"))
        return self._held
