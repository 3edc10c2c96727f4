"""`certagent status`: asks the agent; without an answer it observes the host and decides itself."""

import argparse
from datetime import datetime
from typing import Any

from certagent.cli.common import UNKNOWN, Reply, ask, config_option, json_option, local_service
from certagent.core.exits import exit_code
from certagent.core.spans import span


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("status", help="show certificates, problems and the next scheduled action")
    config_option(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """The status; exit 0 ok, 1 warning, 2 critical, 3 unknown."""
    return reply_of(ask(arguments.config, "status") or {"ok": True, "document": observed(arguments.config)})


def reply_of(answer: dict[str, Any]) -> Reply:
    """Given the daemon's answer, or one of our own, return what is said, and the exit code."""
    if not answer.get("ok"):
        return Reply(UNKNOWN, f"certagent: {answer.get('error')}")
    document = answer["document"]
    return Reply(exit_code(document), text(document), document)


def observed(path: str) -> dict[str, Any]:
    """The document, where no agent answers. Raises Stopped."""
    service = local_service(path, silent=True)
    document = service.status(None)
    service.stop()
    return document


def text(document: dict[str, Any]) -> str:
    """The document for people: each file, until when and how it is verified; problems; the next step."""
    now = _time(document["now"])
    daemon = document["daemon"]
    who = f"agent pid {daemon['pid']}, up {span(now - _time(daemon['started']))}" if daemon else NO_DAEMON
    lines = [f"certagent: {document['severity']}, {who}"]
    for directory in document["certs_dirs"]:
        lines += ["", f"{directory['path']}: {directory['severity']}"]
        lines += _files(directory["files"], now)
        lines += _owed(directory)
        lines += [
            f"  process {p['pid']} ({p['user']}): {p['state']} {' '.join(p['listeners'])}"
            for p in directory["processes"]
        ]
        lines += [line for f in directory["findings"] for line in _finding(f)]
        lines += [f"  authority {a['name']}: {a['note']}" for a in directory["authorities"] if a["note"]]
        if step := directory["next"]:
            lines.append(f"  next: {_what(step)} {_when(step['at'], now)}: {step['reason']}")
    return "\n".join(lines)


NO_DAEMON = "no agent is running; this host was read just now"
HEAD = ("file", "certificate", "expires", "renews", "verified", "revocation")
WORDS = {
    "sent": "reload sent, cannot be verified for this file",
    "tls": "TLS accepts it, the log-in cannot be verified",
}


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def _files(files: list[dict[str, Any]], now: datetime) -> list[str]:
    """One row each; what is known of revocation only where something was asked: it is off by default."""
    rows = [HEAD, *(_file(f, now) for f in files)]
    return _table(rows if any(f["revocation"] for f in files) else [row[:-1] for row in rows])


def _file(file: dict[str, Any], now: datetime) -> tuple[str, ...]:
    if not file["fingerprint"]:
        return (file["name"], "missing", "", "", "", "")
    until, renew, asked = _when(file.get("chain_ends") or file["not_after"], now), file["renew_at"], file["revocation"]
    known = f"{asked['status']}, {span(now - _time(asked['at']))} ago" if asked else "-"
    verified = WORDS.get(file["proof"], file["proof"])
    return (file["name"], file["fingerprint"][:12], until, _when(renew, now) if renew else "-", verified, known)


def _owed(directory: dict[str, Any]) -> list[str]:
    """Who keeps which file from being verified; files of which the same is owed share a line."""
    files: dict[str, list[str]] = {}
    for file in directory["files"]:
        if who := ", ".join(file.get("owed", ())):
            files.setdefault(who, []).append(file["name"])
    return [f"  not yet verified by {who}: {', '.join(names)}" for who, names in files.items()]


def _finding(finding: dict[str, Any]) -> list[str]:
    what = f"{finding['code']} {finding['file']}".strip()
    first = f"  {finding['severity']} {what}: {finding['message']}"
    return [first, f"      remedy: {finding['remedy']}"] if finding["remedy"] else [first]


def _what(step: dict[str, Any]) -> str:
    """A step as people call it: a reload is of a process, PID:START."""
    if step["action"] == "reload":
        return f"SIGHUP to pid {step['file'].partition(':')[0]}"
    return f"{step['action']} {step['file']}"


def _time(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp)


def _when(stamp: str, now: datetime) -> str:
    """A moment, seen from now, and by the calendar."""
    at = _time(stamp)
    seen = f"in {span(at - now)}" if at >= now else f"{span(now - at)} ago"
    return f"{seen} ({at:%Y-%m-%d %H:%M}Z)"
