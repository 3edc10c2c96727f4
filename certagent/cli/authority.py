"""`certagent authority test NAME`: request a certificate that is not used, and report each step."""

import argparse
import os
import shlex
from typing import Any

from certagent.cli import account
from certagent.cli.common import UNKNOWN, USAGE, Reply, ask, complaint, config_option, json_option, read_config

LONGEST = 900.0


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
    test.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """Exit 0 where every step worked, 1 where one did not. The daemon asks, as it always does; without one, we do."""
    return reply_of(_asked(arguments))


def reply_of(answer: dict[str, Any]) -> Reply:
    """Given the trial, or why there was none, return what is said, and the exit code."""
    if "error" in answer:
        return complaint(answer["error"], USAGE if answer.get("code") == "refused" else UNKNOWN)
    document = answer["document"]
    return Reply(0 if document["ok"] else 1, text(document), document)


def _asked(arguments: argparse.Namespace) -> dict[str, Any]:
    """By the agent, if it runs with this configuration and answers this user; otherwise by this process."""
    about = {"name": arguments.name, "certs_dir": arguments.certs_dir.rstrip("/")}
    file = os.path.realpath(arguments.config)
    answer = ask(arguments.config, "authority-test", patience=LONGEST, config=file, **about)
    if answer is not None and answer.get("code") not in {"forbidden", "other-configuration"}:
        return answer
    running = str(answer.get("config", "")) if answer else ""
    return by_ourselves(read_config(arguments.config), _typed(file, **about), running, **about)


def _typed(file: str, name: str, certs_dir: str) -> str:
    """The command, for somebody else to type."""
    words = ["certagent", "authority", "test", name, *(["--certs-dir", certs_dir] if certs_dir else []), "-c", file]
    return shlex.join(words)


def by_ourselves(config: Any, command: str, running: str, name: str, certs_dir: str) -> dict[str, Any]:
    """The trial in this process, without an agent; or why there is none.

    `running`: the configuration of the agent that runs, where it is another one.
    """
    from certagent.agent.commands import authority_test
    from certagent.operations.acme_account import as_the_agent
    from certagent.posix.errors import HostError
    from certagent.sandbox.worker_process import Workers

    user, state_dir = config.settings.worker_user, config.settings.state_dir
    try:
        if os.path.lexists(state_dir):
            as_the_agent(state_dir, command, running)
        return {"document": authority_test(config, Workers((user.uid, user.gid)), name, certs_dir)}
    except HostError as error:
        return {"error": str(error), "code": "refused"}


def text(document: dict[str, Any]) -> str:
    """The steps for people."""
    lines = [
        f"authority {document['authority']} ({document['type']}), as for {document['file']} of {document['certs_dir']}"
    ]
    failed = next((i for i, step in enumerate(document["steps"]) if step["outcome"] == "failed"), 0)
    marks = {"ok": "ok     ", "failed": "FAILED ", "untried": "-      "}
    lines += [
        (
            f"  {marks[step['outcome']]} {step['name']:<12}"
            f" {step['reason'] or _meaning(step, reached=i < failed)}{_seconds(step)}"
        )
        for i, step in enumerate(document["steps"])
    ]
    if document["certificate"]:
        shown = document["certificate"]
        lines.append(f"  {shown['subject']} by {shown['issuer']}: {', '.join(shown['sans'])}; nothing was installed")
    if document.get("note"):
        lines.append(f"  {document['note']}")
    return "\n".join(lines)


def _seconds(step: dict[str, Any]) -> str:
    """How long it took; an agent of an earlier version does not say."""
    seconds = step.get("seconds")
    return "" if seconds is None else f" ({seconds:.3f} s)"


def _meaning(step: dict[str, Any], *, reached: bool) -> str:
    from certagent.core.trial import MEANING

    if step["outcome"] == "ok":
        return MEANING[step["name"]]
    return "not known: the failure does not tell" if reached else "not reached"
