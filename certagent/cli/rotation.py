"""`certagent rotation`: how far a change of the CA is, what it waits for, and what a person says about it.

`status` exits 0 without a rotation, 2 while machines are waited for, 3 while a person is. The others exit 0 done, 1
refused, 3 without a daemon.
"""

import argparse
from typing import Any

from certagent.cli.commands import declined
from certagent.cli.common import Reply, ask, config_option, json_option, stem_of
from certagent.cli.showing import table, width, wrapped
from certagent.core.rotation.shown import exit_code

Row = dict[str, Any]
BUNDLE = "ca or ca-client; needed if several rotations are under way"
ROOT = "its subject, or the beginning of its SHA-256 fingerprint; needed where several roots may be meant"
UNDO = "take back what was said; what was done because of it stays"
SEVERAL = "needed if several certs directories have a rotation"
SAYING = {  # each verb that says something, and what it means
    "pause": "begin no further step",
    "abort": "go back to the former root; both roots stay in the bundle",
}
OUTSIDE = {
    "trust": "say that every client of another host trusts the new root",
    "present": "say that no client of another host presents a certificate of a former CA",
}
DONE = {
    "pause": "paused",
    "abort": "aborted: certificates go back to the former root once every member was shown to accept it",
    "force": "this member is not waited for",
    "clients-trust": "clients of other hosts trust the new root",
    "clients-present": "no client of another host presents a certificate of a former CA",
}
UNDONE = "taken back: nothing is known of clients of other hosts"
SERVES = {"new": "new", "both": "new and former", "other": "another CA", "old": "former", "": "not seen"}
ACCEPTS = {True: "yes", False: "no", None: "not known"}


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb and those below it."""
    verb = subparsers.add_parser("rotation", help="show, stop or confirm a change of the CA")
    below = verb.add_subparsers(dest="operation", required=True, metavar="OPERATION")
    status = below.add_parser(
        "status",
        help="show how far each rotation is, member by member, and what it waits for",
        epilog="Exit code: 0 no rotation is under way, 2 it waits for machines, 3 it waits for a person.",
    )
    _common(status, run_status)
    for name, about in SAYING.items():
        _saying(below.add_parser(name, help=about), name)
    resume = below.add_parser("resume", help="take back pause or abort")
    _common(resume, run_resume)
    _bundle(resume)
    force = below.add_parser("force", help="do not wait for one member, until the rotation ends")
    force.add_argument("name", metavar="NAME", type=stem_of, help="the bundle, or a pair that it verifies: ca, node")
    force.add_argument("peer", metavar="PEER", help="the address of the member, as `rotation status` shows it")
    _common(force, run_say)
    force.set_defaults(kind="force", root="", undo=False)
    clients = below.add_parser("clients", help="what nobody can see: clients of other hosts")
    words = clients.add_subparsers(dest="word", required=True, metavar="WORD")
    for name, about in OUTSIDE.items():
        _saying(words.add_parser(name, help=about), f"clients-{name}")
        words.choices[name].add_argument("--undo", action="store_true", help=UNDO)
    words.choices["trust"].add_argument("--root", default="", metavar="ROOT", help=ROOT)


def _saying(parser: argparse.ArgumentParser, kind: str) -> None:
    _common(parser, run_say)
    _bundle(parser)
    parser.set_defaults(kind=kind, peer="", root="", undo=False)


def _bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", dest="name", type=stem_of, default="", metavar="NAME", help=BUNDLE)


def _common(parser: argparse.ArgumentParser, run: Any) -> None:
    parser.add_argument("--certs-dir", default="", metavar="DIR", help=SEVERAL)
    config_option(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def run_status(arguments: argparse.Namespace) -> Reply:
    """Every rotation, as the agent sees it now."""
    answer = ask(arguments.config, "rotation-status", certs_dir=arguments.certs_dir)
    if answer is None or not answer["ok"]:
        return declined(answer, arguments.config)
    return reply_of(answer["document"])


def run_say(arguments: argparse.Namespace) -> Reply:
    """Say something about a rotation; it is on the agent's disk when this returns."""
    about = {"kind": arguments.kind, "peer": arguments.peer, "bundle": arguments.name, "root": arguments.root}
    words = {"certs_dir": arguments.certs_dir, "undo": arguments.undo, **about}
    answer = ask(arguments.config, "rotation-say", patience=30.0, **words)
    return said(answer, arguments.config, UNDONE if arguments.undo else DONE[arguments.kind])


def run_resume(arguments: argparse.Namespace) -> Reply:
    """Go on."""
    about = {"certs_dir": arguments.certs_dir, "bundle": arguments.name}
    return said(ask(arguments.config, "rotation-resume", patience=30.0, **about), arguments.config, "goes on")


def said(answer: Row | None, config: str, done: str) -> Reply:
    """Given what the agent answered, return what is printed."""
    if answer is None or not answer["ok"]:
        return declined(answer, config)
    to = f" to {answer['subject']}" if answer["subject"] else ""
    document = {"version": 1, "certs_dir": answer["certs_dir"], "bundle": answer["bundle"], "done": done}
    return Reply(0, f"rotation of {answer['bundle']}{to} in {answer['certs_dir']}: {done}", document)


def reply_of(document: Row) -> Reply:
    """Given the rotations, return the reply."""
    code = max((exit_code(d["rotations"]) for d in document["certs_dirs"]), default=0)
    return Reply(code, text(document), document)


def text(document: Row, columns: int = 0) -> str:
    """The rotations for people, in so many columns (0: those of the terminal)."""
    columns, lines = columns or width(), list[str]()
    for directory in document["certs_dirs"]:
        if not directory["rotations"]:
            lines += [f"{directory['path']}: no rotation is under way"]
        for each in directory["rotations"]:
            lines += _rotation(directory["path"], each, columns)
    return "\n".join(lines)


def _rotation(path: str, each: Row, columns: int) -> list[str]:
    """One rotation: phase, members, what it waits for, and what a person types."""
    lines = wrapped(f"{path}: rotation of {each['bundle']} to {each['subject']}", columns)
    lines += wrapped(f"  phase: {each['phase']}; {PHASES[each['phase']]}", columns)
    lines += [f"  former: {subject}" for subject in each["former"]]
    lines += [f"  said: {', '.join(word.replace('-', ' ') for word in each['words'])}"] if each["words"] else []
    head = ("member", "accepts the new root", "serves", "")
    rows = [(_name(m), ACCEPTS[m["accepts"]], SERVES[m["serves"]], _why(m)) for m in each["members"]]
    lines += [line.rstrip() for line in table([head, *rows])] if rows else []
    who = "a person" if each["waits_for"] == "person" else "machines"
    lines += wrapped(f"  waits for {who}: {each['reason']}", columns)
    return lines + ([f"  next: {each['next']}"] if each["next"] else [])


PHASES = {
    "known": "the new root is known, and not trusted by this host yet",
    "trusted-here": "this host trusts the new root and the former ones",
    "trusted-by-all": "every member was shown to accept the new root",
    "leaf": "this host has certificates of the new root",
    "leaves-everywhere": "every member serves a certificate of the new root",
    "clients-done": "nobody needs a former CA",
}


def _name(member: Row) -> str:
    return f"{member['address']} (this host)" if member["own"] else str(member["address"])


def _why(member: Row) -> str:
    return "forced" if member["forced"] else str(member["reason"])
