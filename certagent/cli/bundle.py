"""`certagent bundle show`, `add` and `prune`: the CAs of a trust bundle.

Exit 0 done, or nothing to do; 1 refused, or not installed in time; 3 without a daemon, which `show` does not need.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from certagent.cli.commands import POLL, REFUSED, declined
from certagent.cli.common import (
    Reply,
    Stopped,
    ask,
    complaint,
    config_option,
    json_option,
    local_service,
    owner_of,
    seconds,
    socket_of,
    stem_of,
)
from certagent.cli.waiting import Progress
from certagent.core.bundles import PRIVATE_KEY, certificates_in

LARGEST = 40_000  # bytes of certificates in one command
SEVERAL = "needed if several directories have this bundle"
Row = dict[str, Any]


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb and those below it."""
    verb = subparsers.add_parser("bundle", help="show, extend or prune a trust bundle")
    below = verb.add_subparsers(dest="operation", required=True, metavar="OPERATION")
    for name, about in (
        ("show", "show each CA of the bundle and who needs it"),
        ("add", "add the CA certificates of a file, in front of those that are there"),
        ("prune", "remove the CAs that nobody needs any more"),
    ):
        parser = below.add_parser(name, help=about)
        if name == "add":
            parser.add_argument("file", metavar="FILE", help="CA certificates as PEM")
        parser.add_argument("--bundle", type=stem_of, default="ca", help="ca (the default), ca-client, ca-ui")
        parser.add_argument("--certs-dir", default="", metavar="DIR", help=SEVERAL)
        if name != "show":
            parser.add_argument("--dry-run", action="store_true", help="check everything, and change nothing")
            parser.add_argument(
                "--wait",
                type=seconds,
                default=60.0,
                metavar="TIME",
                help="how long to wait for the result (default 60s)",
            )
        config_option(parser)
        json_option(parser)
        parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """Send the command; then wait until the bundle is installed."""
    about: Row = {"bundle": arguments.bundle, "certs_dir": arguments.certs_dir}
    if arguments.operation == "add":
        about["pem"] = certificates_of(arguments.file, arguments.config)
    if arguments.operation != "show":
        about["dry_run"] = arguments.dry_run
    answer = ask(arguments.config, f"bundle-{arguments.operation}", patience=30.0, **about)
    if answer is None and arguments.operation == "show":
        answer = _observed(arguments.config, arguments.bundle, arguments.certs_dir)
    if answer is None or not answer["ok"]:
        return declined(answer, arguments.config)
    if arguments.operation == "show":
        return Reply(0, shown(answer), {"version": 1, **_without(answer, "ok")})
    changed = answer.get("added", answer.get("removed", []))
    if arguments.dry_run or not changed:
        return reply_of(answer, "would be" if arguments.dry_run else "", "")
    state, reason = _wait(arguments.config, answer, arguments.wait)
    return reply_of(answer, state, reason)


def _observed(config: str, bundle: str, certs_dir: str) -> Row:
    """The answer to `show` where no agent gives it. Raises Stopped."""
    from certagent.agent.bundles import observed
    from certagent.posix.errors import HostError

    service = local_service(config, silent=True)
    try:
        return observed(service.seen(), bundle, certs_dir)
    except HostError as error:
        return {"ok": False, "error": str(error)}
    finally:
        service.stop()


def certificates_of(path: str, config: str) -> str:
    """The certificates of a file that nobody else can have written. Raises Stopped."""
    from certagent.posix.trusted import distrust

    owner = owner_of(config, socket_of(config))
    try:
        if problem := distrust(path, () if owner is None else (owner,)):
            raise Stopped(complaint(f"{path} is not used: {problem}", REFUSED))
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read(1 << 20)
    except OSError as error:
        raise Stopped(complaint(f"cannot read {path}: {error.strerror}", REFUSED)) from error
    if problem := unusable(text):
        raise Stopped(complaint(f"{path} is not used: {problem}", REFUSED))
    return certificates_in(text)


def unusable(text: str) -> str:
    """Given what a file contains, return why nothing of it is sent to the agent; "" where it is."""
    if PRIVATE_KEY in text:
        return "it contains a private key; a trust bundle takes CA certificates alone"
    found = certificates_in(text)
    if not found:
        return "it contains no certificate as PEM; openssl x509 -inform der -in FILE converts one"
    if len(found) > LARGEST:
        return f"its certificates take {len(found)} bytes; add at most {LARGEST} at a time"
    return ""


def _wait(config: str, answer: Row, longest: float) -> tuple[str, str]:
    """What became of the staged bundle within that time: its state, and why."""
    begin, progress = time.monotonic(), Progress(sys.stderr)
    state, reason = "pending", "staged, not installed yet"
    while state == "pending" and time.monotonic() < begin + longest:
        time.sleep(POLL)
        about = {"certs_dir": answer["certs_dir"], "bundle": answer["bundle"]}
        rows = _asked(config, "history", certs_dir=answer["certs_dir"], file=answer["bundle"], limit=20)
        state, reason = became(answer, _asked(config, "bundle-show", **about), rows)
        progress.show(f"bundle {answer['bundle']}: {reason}", time.monotonic() - begin)
    progress.clear()
    return state, reason


def _asked(config: str, command: str, **about: Any) -> Row | None:
    try:
        return ask(config, command, **about)
    except Stopped:
        return None


def became(answer: Row, bundle: Row | None, history: Row | None) -> tuple[str, str]:
    """Given what was asked for, the bundle as it is now and the attempts, return its state and why."""
    if not bundle or not bundle["ok"] or not history or not history["ok"]:
        return "pending", "the agent no longer answers"
    here = {ca["fingerprint"] for ca in bundle["cas"]}
    added = {ca["fingerprint"] for ca in answer.get("added", [])}
    removed = {ca["fingerprint"] for ca in answer.get("removed", [])}
    if added <= here and not removed & here:
        return "installed", ""
    mine = [r for r in history["rows"] if r["kind"] == "install" and (r["id"] > answer["row"] or r["id"] < 0)]
    bad = [r for r in mine if r["outcome"] in {"failed", "refused"}]
    return ("refused", bad[0]["reason"]) if bad else ("pending", "staged, not installed yet")


def reply_of(answer: Row, state: str, reason: str) -> Reply:
    """Given what was asked for and what became of it, return what is said.

    `state`: "" where nothing had to be done, "would be" for a dry run.
    """
    document = {"version": 1, **_without(answer, "ok", "row"), "state": STATES.get(state, state), "reason": reason}
    lines = _lines(answer, state, reason)
    waits = answer.get("waits", [])
    lines += [f"  may be needed by {who}" for who in waits]
    return Reply(0 if STATES.get(state, state) in GOOD and not waits else REFUSED, "\n".join(lines), document)


STATES = {"": "unchanged", "would be": "dry-run"}
GOOD = frozenset({"unchanged", "dry-run", "installed"})


def _lines(answer: Row, state: str, reason: str) -> list[str]:
    file = f"{os.path.join(answer['certs_dir'], answer['bundle'])}.crt"
    what, changed = ("added to", answer["added"]) if "added" in answer else ("removed from", answer.get("removed", []))
    ended = {"would be": f"would be {what}", "installed": what}.get(state, f"not {what}")
    lines = [f"{ended} {file}{f': {reason}' if reason else ''}"] if changed else [_unchanged(file, answer)]
    lines += [f"  {_ca(ca)}" for ca in changed]
    return lines + [f"  there already: {_ca(ca)}" for ca in answer.get("there", [])]


def _unchanged(file: str, answer: Row) -> str:
    why = "".join(f"; {reason}" for reason in answer.get("needed", []))
    return f"{file}: nothing to remove{why}" if "removed" in answer else f"{file}: nothing to change"


def shown(answer: Row) -> str:
    """Each CA with those that need it; who was not seen is said once."""
    lines = [f"{os.path.join(answer['certs_dir'], answer['bundle'])}.crt"]
    for ca in answer["cas"]:
        lines += [f"  {_ca(ca)}", f"    needed by: {', '.join(ca['needed_by']) or 'nobody that was seen'}"]
    unseen = dict.fromkeys(who for ca in answer["cas"] for who in ca["unseen"])
    return "\n".join([*lines, *(f"  not seen: {who}" for who in unseen)])


def _ca(ca: Mapping[str, str]) -> str:
    return f"{ca['subject']}, until {ca['not_after'][:10]}, SHA-256 {ca['fingerprint']}"


def _without(answer: Row, *names: str) -> Row:
    return {key: value for key, value in answer.items() if key not in names}
