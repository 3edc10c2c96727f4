"""`certagent authority test NAME`: request a certificate that is not used, and report each step."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from typing import Any

from certagent.cli import account
from certagent.cli.common import (
    UNKNOWN,
    USAGE,
    Reply,
    ask,
    complaint,
    config_option,
    json_option,
    read_config,
)
from certagent.cli.waiting import Ticker

LONGEST = 900.0
MARKS = {"ok": "ok     ", "failed": "FAILED ", "untried": "-      "}


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        "authority", help="test a CA end to end without installing anything; manage its ACME account"
    )
    actions = parser.add_subparsers(dest="action", metavar="test|account", required=True)
    account.add(actions)
    test = actions.add_parser("test", help="request a certificate for a throw-away key; install nothing")
    test.add_argument("name", help="NAME of the table [authority.NAME]")
    test.add_argument("--certs-dir", default="", metavar="DIR", help="request what this directory needs")
    config_option(test)
    json_option(test)
    test.set_defaults(run=run, streams=True)


def run(arguments: argparse.Namespace) -> Reply:
    """Exit 0 where every step worked, 1 where one did not. The daemon asks, as it always does; without one, we do.

    Each step is printed as it ends; with --json the document at the end is all.
    """
    if arguments.json:
        return reply_of(_asked(arguments))
    with Ticker("certagent authority test", sys.stderr) as ticker:
        shown = Shown(ticker.say)
        return shown.rest(_asked(arguments, shown.heard))


class Shown:
    """The steps as they are told, each once; `say` prints lines."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """Nothing was told yet."""
        self._say, self._lines, self._failed = say, 0, False

    def heard(self, said: dict[str, Any]) -> None:
        """Print what is known of the trial, or of its next step."""
        if "about" in said:
            self._print(head(said["about"]))
        elif "step" in said:
            self._print(line_of(said["step"], reached=not self._failed))
            self._failed = self._failed or said["step"]["outcome"] == "failed"

    def _print(self, line: str) -> None:
        self._lines += 1
        self._say(line)

    def rest(self, answer: dict[str, Any]) -> Reply:
        """Given the whole answer, return the reply without what was printed; an earlier agent tells nothing before."""
        reply = reply_of(answer)
        lines = (reply.text or "").split("\n")[self._lines :] if reply.document else []
        return reply._replace(text="\n".join(lines) if lines else None)


def reply_of(answer: dict[str, Any]) -> Reply:
    """Given the trial, or why there was none, return what is said, and the exit code."""
    if "error" in answer:
        return complaint(answer["error"], USAGE if answer.get("code") == "refused" else UNKNOWN)
    document = answer["document"]
    return Reply(0 if document["ok"] else 1, text(document), document)


def _asked(arguments: argparse.Namespace, heard: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
    """By the agent, if it runs with this configuration and answers this user; otherwise by this process."""
    about = {"name": arguments.name, "certs_dir": arguments.certs_dir.rstrip("/")}
    file = os.path.realpath(arguments.config)
    answer = ask(arguments.config, "authority-test", patience=LONGEST, heard=heard, config=file, **about)
    if answer is not None and answer.get("code") not in {"forbidden", "other-configuration"}:
        return answer
    running = str(answer.get("config", "")) if answer else ""
    config, typed = read_config(arguments.config), _typed(file, **about)
    return _unstarted(config, file, typed) or by_ourselves(config, typed, running, heard, **about)


def _unstarted(config: Any, file: str, typed: str) -> dict[str, Any]:
    """Why this user is not the one to ask, before an agent has run here; {} if it is."""
    from certagent.operations.acme_account import before_the_first_start
    from certagent.operations.systemd import user_reading
    from certagent.posix.owner import name_of

    if os.path.lexists(config.settings.state_dir):
        return {}
    me = os.geteuid()
    why = before_the_first_start(user_reading(file), name_of(me), typed, root=me == 0)
    return {"error": why, "code": "refused"} if why else {}


def _typed(file: str, name: str, certs_dir: str) -> str:
    """The command, for somebody else to type."""
    words = ["certagent", "authority", "test", name, *(["--certs-dir", certs_dir] if certs_dir else []), "-c", file]
    return shlex.join(words)


def by_ourselves(
    config: Any,
    command: str = "",
    running: str = "",
    heard: Callable[[dict[str, Any]], None] | None = None,
    *,
    name: str,
    certs_dir: str,
) -> dict[str, Any]:
    """The trial in this process, without an agent; or why there is none.

    `command`: what was typed. `running`: the configuration of the agent that runs, where it is another one.
    """
    from certagent.agent.commands import authority_test
    from certagent.control.server import untold
    from certagent.operations.acme_account import as_the_agent
    from certagent.posix.errors import HostError
    from certagent.sandbox.worker_process import Workers

    user, state_dir = config.settings.worker_user, config.settings.state_dir
    try:
        if os.path.lexists(state_dir):
            as_the_agent(state_dir, command, running)
        workers = Workers((user.uid, user.gid))
        return {"document": authority_test(config, workers, name, certs_dir, heard or untold)}
    except HostError as error:
        return {"error": str(error), "code": "refused"}


def text(document: dict[str, Any]) -> str:
    """The whole trial for people."""
    failed = next((i for i, step in enumerate(document["steps"]) if step["outcome"] == "failed"), 0)
    lines = [head(document), *(line_of(step, reached=i < failed) for i, step in enumerate(document["steps"]))]
    if document["certificate"]:
        shown = document["certificate"]
        lines.append(f"  {shown['subject']} by {shown['issuer']}: {', '.join(shown['sans'])}; nothing was installed")
    if document.get("note"):
        lines.append(f"  {document['note']}")
    return "\n".join(lines)


def head(about: dict[str, Any]) -> str:
    """What is tested."""
    return f"authority {about['authority']} ({about['type']}), as for {about['file']} of {about['certs_dir']}"


def line_of(step: dict[str, Any], *, reached: bool) -> str:
    """One step."""
    meaning = step["reason"] or _meaning(step, reached=reached)
    return f"  {MARKS[step['outcome']]} {step['name']:<12} {meaning}{_seconds(step)}"


def _seconds(step: dict[str, Any]) -> str:
    """How long it took; an agent of an earlier version does not say."""
    seconds = step.get("seconds")
    return "" if seconds is None else f" ({seconds:.3f} s)"


def _meaning(step: dict[str, Any], *, reached: bool) -> str:
    from certagent.core.trial import MEANING

    if step["outcome"] == "ok":
        return MEANING[step["name"]]
    return "not known: the failure does not tell" if reached else "not reached"
