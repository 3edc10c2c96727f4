"""`certagent plan`: what would be done now, what is blocked and why, and when the next step is due."""

import argparse
import os
from typing import Any

from certagent.cli.common import UNKNOWN, Reply, ask, config_option, json_option, local_service
from certagent.cli.showing import findings_of, width, wrapped
from certagent.cli.status_text import rotating
from certagent.core.actions import shown
from certagent.core.catalogue import DIR_MISSING

LOOKS = frozenset(
    {"probe", "lookat", "scan", "askwindow", "askrevocation", "adopt", "recordscope", "presume", "proven", "endwords"}
)  # only read, record


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("plan", help="show pending and blocked actions")
    config_option(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """The plan; exit 0 nothing to do, 2 work or a critical finding, 3 a directory that cannot be read. Asks the daemon.

    Without one, or for another configuration than the daemon's (what would it do?), it observes the host itself.
    """
    answer = ask(arguments.config, "plan", config=os.path.realpath(arguments.config))
    if answer and answer.get("ok"):
        return reply_of(answer["document"])
    return reply_of(_observed(arguments.config, silent=answer is None))


def reply_of(document: dict[str, Any]) -> Reply:
    """Given the plan, return the reply; observing and recording is not work. A missing directory has no plan.

    What is critical needs somebody, also where nothing can be done about it now. A warning does not: `status` has it.
    """
    unknown = any(f["code"] == DIR_MISSING.code for d in document["certs_dirs"] for f in d["findings"])
    work = any(map(_work, document["certs_dirs"]))
    critical = any(f["severity"] == "critical" for d in document["certs_dirs"] for f in d["findings"])
    return Reply(UNKNOWN if unknown else 2 if work or critical else 0, text(document), document)


def _observed(path: str, *, silent: bool) -> dict[str, Any]:
    service = local_service(path, silent=silent)
    document = service.plans()
    service.stop()
    return document


def text(document: dict[str, Any], columns: int = 0) -> str:
    """The plan for people, in so many columns (0: those of the terminal)."""
    columns, lines = columns or width(), list[str]()
    for directory in document["certs_dirs"]:
        lines += [part for line in _steps(directory) for part in wrapped(line, columns)]
        if not _work(directory):
            lines += findings_of([f for f in directory["findings"] if f["severity"] == "critical"], columns)
        lines += _warnings(directory)
        lines += [p for r in directory.get("rotations", ()) for line in rotating(r) for p in wrapped(line, columns)]
        lines += [part for line in _following(directory) for part in wrapped(line, columns)]
        if directory["wake_at"]:
            lines.append(f"  next check: {_time(directory['wake_at'])}")
    return "\n".join(lines)


def _steps(directory: dict[str, Any]) -> list[str]:
    """What is to do in one directory, and what is blocked."""
    work = _work(directory)
    lines = [f"{directory['path']}: {_count(len(work))} to do now, {_count(len(directory['held']))} blocked"]
    lines += [f"  {_step(a)}" for a in directory["actions"]]
    later = [a for a in directory["steps"] if a not in directory["actions"]]
    lines += [f"    then {_step(a)}" for a in later if a["action"] not in LOOKS]
    return lines + [
        f"  blocked: {h['action']} {shown(h['file'])}: {h['reason']}"
        + (f" (until {_time(h['at'])})" if h["at"] else "")
        for h in directory["held"]
    ]


def _following(directory: dict[str, Any]) -> list[str]:
    """The next thing that will change something, as `status` has it, unless it is shown already: to do, or blocked."""
    told = {(h["action"], h["file"]) for h in directory["held"]}
    told |= {(a["action"], a["subject"]) for a in directory["actions"]}
    step = directory.get("next")  # an agent of an earlier version does not say
    if not step or (step["action"], step["file"]) in told:
        return []
    return [f"  next: {step['action']} {shown(step['file'])}: {step['reason']} ({_time(step['at'])})"]


def _warnings(directory: dict[str, Any]) -> list[str]:
    """That there are some, which change no exit code here."""
    count = sum(f["severity"] == "warning" for f in directory["findings"])
    return [f"  {count} warning{'s' * (count > 1)}: see certagent status"] if count else []


def _work(directory: dict[str, Any]) -> list[dict[str, Any]]:
    """The actions that change something."""
    return [a for a in directory["actions"] if a["action"] not in LOOKS]


def _count(number: int) -> str:
    return str(number or "nothing")


def _step(action: dict[str, Any]) -> str:
    what = f"{action['action']} {shown(action['subject'])}".strip()
    return f"{what}: {action['reason']}"


def _time(stamp: str) -> str:
    return f"{stamp[:19].replace('T', ' ')}Z"
