"""`certagent init`: look at the host and print a configuration that adopts what is there; write it if asked to."""

import argparse
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from certagent.cli.common import USAGE, Reply, Stopped, complaint, json_option

if TYPE_CHECKING:
    from certagent.core.proposal import Proposal
    from certagent.operations.surveying import Survey

MODE, DIRECTORY_MODE = 0o644, 0o755  # nothing in it is secret: a secret setting names where a secret is
NOTHING, REFUSED = 1, 1


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("init", help="print a configuration for what runs on this host; asks nothing")
    parser.add_argument(
        "--certs-dir", default="", metavar="DIR", help="for this directory only, whether or not a server uses it"
    )
    parser.add_argument("--user", default="", metavar="NAME", help="the user that cockroach runs as, with --certs-dir")
    parser.add_argument(
        "--owner", default="", metavar="NAME", help="of several configurations, the one whose agent runs as this user"
    )
    parser.add_argument(
        "--write",
        nargs="?",
        const="",
        default=None,
        metavar="FILE",
        help="write the configuration; never replaces a file (default: the file that the unit reads)",
    )
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """Exit 0 with a configuration, 1 if nothing was found or a file could not be written."""
    from certagent.operations.surveying import survey

    if arguments.user and not arguments.certs_dir:
        return complaint("cannot use --user without --certs-dir: a process already names its user", USAGE)
    found = survey(arguments.certs_dir, arguments.user)
    chosen = [p for p in found.proposals if arguments.owner in ("", p.unit.user)]
    if not chosen:
        return nothing(found, arguments.owner)
    written = _written(chosen, arguments.write) if arguments.write is not None else []
    return reply_of(found, chosen, written)


def nothing(found: "Survey", owner: str) -> Reply:
    """Given what was found, and whose configuration was asked for ("": any), return the reply that says so."""
    users = ", ".join(p.unit.user for p in found.proposals)
    first = (
        f"no configuration is for {owner}; there are some for: {users}" if users else "no cockroach server was found"
    )
    lines = [f"certagent: {first}"]
    lines += [f"  looked for: {what}" for what in found.looked]
    lines += [f"  {note}" for note in found.notes]
    example = "certagent init --certs-dir /var/lib/cockroach/certs --user cockroach"
    lines.append(f"  for a directory that no server uses yet: {example}")
    return Reply(NOTHING, None, document_of(found, [], []), "\n".join(lines))


def reply_of(found: "Survey", chosen: "list[Proposal]", written: list[str]) -> Reply:
    """Given what was found, the chosen configurations and the files that were written, return the reply."""
    document = document_of(found, chosen, written)
    notes = [f"# not adopted: {note}" for note in found.notes]
    if written:
        lines = [f"wrote {path}" for path in written]
        steps = [step for p, path in zip(chosen, written, strict=True) for step in p.steps(path)]
        lines += ["next:", *(f"  {step}" for step in steps)]
        return Reply(0, "\n".join([*notes, *lines]), document)
    parts = [p.text.rstrip("\n") for p in chosen]
    if len(chosen) > 1:
        users = ", ".join(p.unit.user for p in chosen)
        notes.append(f"# {len(chosen)} configurations follow, one for each user: {users}. --owner NAME prints one.")
    return Reply(0, "\n\n".join(["\n".join(notes), *parts] if notes else parts), document)


def document_of(found: "Survey", chosen: "list[Proposal]", written: list[str]) -> dict[str, Any]:
    """The document for --json."""
    from certagent.core.spelling import spelled

    made = [
        {
            "unit": f"{p.unit.name}.service",
            "user": p.unit.user,
            "path": p.unit.config,
            "certs_dirs": [f.path for f in p.found],
            "drop_in": list(p.drop_in),
            "next": list(p.steps(p.unit.config)),
        }
        for p in chosen
    ]
    texts = [p.text for p in chosen]  # JSON escapes what a terminal must not see
    made = [{**spelled(m), "toml": text} for m, text in zip(made, texts, strict=True)]
    return {"version": 1, "configurations": made, "notes": spelled(list(found.notes)), "written": written}


def _written(chosen: "list[Proposal]", file: str) -> list[str]:
    """Write each to its file; return the files. Raises Stopped."""
    if file and len(chosen) > 1:
        users = ", ".join(p.unit.user for p in chosen)
        raise Stopped(complaint(f"cannot write {len(chosen)} configurations to one file; add --owner: {users}", USAGE))
    places = [file or p.unit.config for p in chosen]
    if taken := [path for path in places if os.path.lexists(path)]:
        raise Stopped(complaint(f"cannot write {', '.join(taken)}: it exists already; nothing was written", REFUSED))
    for path, proposal in zip(places, chosen, strict=True):
        try:
            write_new(path, proposal.text)
        except OSError as error:
            raise Stopped(complaint(f"cannot write {path}: {error.strerror}", REFUSED)) from error
    return places


def write_new(path: str, text: str) -> None:
    """Write a file that does not exist yet, whole or not at all. Raises OSError.

    It belongs to whoever runs the command: root, as the agent requires, or the agent's own user.
    """
    where = os.path.dirname(os.path.abspath(path))
    with suppress(FileExistsError):
        os.mkdir(where)
        os.chmod(where, DIRECTORY_MODE)
    draft = os.path.join(where, f".{os.path.basename(path)}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fchmod(out.fileno(), MODE)
            os.fsync(out.fileno())
        os.link(draft, path)  # unlike a rename it never replaces
    finally:
        os.unlink(draft)
