"""`certagent check`: what cockroach's loader says about a certs-dir, and what fails only at a later handshake."""

import argparse
from typing import TYPE_CHECKING, Any

from certagent.cli.common import USAGE, Reply, complaint, config_option, json_option, read_config
from certagent.cli.showing import findings_of, width, wrapped

if TYPE_CHECKING:
    from certagent.operations.check import Target

EXITS = {"ok": 0, "info": 0, "warning": 1, "critical": 2, "unknown": 3}
FLAGS = {  # of cockroach, for a directory whose process does not run
    "cert-principal-map": "MAP",
    "node-cert-distinguished-name": "DN",
    "root-cert-distinguished-name": "DN",
    "node-cert-san": "SANS",
    "root-cert-san": "SANS",
    "advertise-addr": "ADDR",
    "advertise-sql-addr": "ADDR",
    "advertise-http-addr": "ADDR",
    "locality-advertise-addr": "LIST",
    "listen-addr": "ADDR",
    "sql-addr": "ADDR",
    "http-addr": "ADDR",
}
ROOM = 30  # columns that a verdict needs
SWITCHES = ("allow-debug-user", "disallow-root-login")


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser(
        "check", help="check a certs directory by CockroachDB's own loading rules and TLS verification"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--certs-dir",
        default="",
        metavar="DIR",
        help="check this directory, without a configuration (default: each configured one)",
    )
    what.add_argument(
        "--pid", type=int, metavar="PID", help="check the certs directory of this process, with its flags and its user"
    )
    parser.add_argument(
        "--user", default="", metavar="NAME", help="the user that cockroach runs as (default: the directory's owner)"
    )
    for flag, value in FLAGS.items():
        parser.add_argument(
            f"--{flag}", default=[], action="append", metavar=value, help="the same flag that cockroach is started with"
        )
    for switch in SWITCHES:
        parser.add_argument(f"--{switch}", action="store_true", help="the same flag that cockroach is started with")
    parser.add_argument(
        "--release", default="", metavar="VERSION", help="the version of cockroach, such as 24.1 (default: not known)"
    )
    config_option(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """The verdict; exit 0, 1, 2 by the worst finding, 3 where this user may not read what would decide."""
    from certagent.operations.check import check
    from certagent.posix.errors import HostError

    try:
        targets = _targets(arguments)
    except HostError as error:
        return complaint(error, USAGE)
    return reply_of([check(target) for target in targets])


def reply_of(documents: list[dict[str, Any]]) -> Reply:
    """Given the verdict on each directory, return the reply: a single document, or a list of several."""
    from certagent.operations.check import worst

    severity = worst(*(d["severity"] for d in documents))
    several = {"version": 1, "severity": severity, "certs_dirs": documents}
    document = documents[0] if len(documents) == 1 else several
    return Reply(EXITS[severity], "\n\n".join(text(d) for d in documents), document)


def _targets(arguments: argparse.Namespace) -> "list[Target]":
    from certagent.operations.check import configured_target, directory_target, own_terms, process_target
    from certagent.posix.errors import HostError

    if arguments.user and not arguments.certs_dir:
        raise HostError("cannot use --user without --certs-dir: a process or a configuration already names its user")
    if arguments.pid is not None:
        return [process_target(arguments.pid)]
    if problem := _malformed(
        arguments.cert_principal_map, arguments.node_cert_distinguished_name + arguments.root_cert_distinguished_name
    ):
        raise HostError(f"{problem}; cockroach would not start with it")
    options = [f"--{flag}={v}" for flag in FLAGS for v in getattr(arguments, flag.replace("-", "_"))]
    options += [f"--{s}" for s in SWITCHES if getattr(arguments, s.replace("-", "_"))]
    terms = own_terms(options, arguments.release)
    if arguments.certs_dir:
        return [directory_target(arguments.certs_dir, arguments.user, terms)]
    return [configured_target(policy, terms) for policy in read_config(arguments.config).policies]


def _malformed(maps: list[str], subjects: list[str]) -> str:
    """What cockroach could not parse of the flags, "" where it can."""
    if bad := [m for given in maps for m in given.split(",") if m and ":" not in m]:
        return f"cannot use --cert-principal-map {bad[0]}: write CERTIFICATE-PRINCIPAL:USER, separated by commas"
    if bad := [dn for dn in subjects if dn and "=" not in dn]:
        return f"cannot use the distinguished name {bad[0]}: write it as in O=Cockroach,CN=node"
    return ""


def text(document: dict[str, Any], columns: int = 0) -> str:
    """One directory for people, in so many columns (0: those of the terminal): its files, then its findings."""
    columns = columns or width()
    whose = f"pid {document['pid']}, " if document["pid"] else ""
    lines = wrapped(f"{document['certs_dir']} ({whose}user {document['user']}): {document['severity']}", columns)
    lines += _files(document["files"], columns, _flawed(document["findings"]))
    if document["start"]["accepted"] is None:
        lines += wrapped(f"  whether a node would start is not known: {document['start']['reason']}", columns)
    elif not document["start"]["accepted"]:
        lines += wrapped(f"  a node would not start with this directory: {document['start']['reason']}", columns)
    elif document["start"]["reason"]:
        lines += wrapped(f"  whether a node would start depends on its version: {document['start']['reason']}", columns)
    return "\n".join(_printable(line) for line in (*lines, *findings_of(document["findings"], columns)))


def _flawed(findings: list[dict[str, Any]]) -> dict[str, str]:
    """The first critical finding about each certificate or its key, by the name of the certificate's file."""
    critical = [f for f in reversed(findings) if f["severity"] == "critical"]
    return {f"{f['file'].removesuffix('.key').removesuffix('.crt')}.crt": f["code"] for f in critical}


def _files(files: list[dict[str, Any]], columns: int, flawed: dict[str, str]) -> list[str]:
    """A row per file; a verdict that does not fit goes on below itself, or further in where little room is left."""
    rows = (
        [("FILE", "ROLE", "USER", "UNTIL", "COCKROACH"), *(_row(f, flawed.get(f["name"], "")) for f in files)]
        if files
        else []
    )
    widths = [max(len(r[i]) for r in rows) for i in range(4)] if rows else []
    before = sum(widths) + 2 * len(widths)
    hang = before if columns - before >= ROOM else 6
    table = ["  " + "  ".join([*(c.ljust(w) for c, w in zip(r, widths, strict=False)), r[4]]) for r in rows]
    return [part for line in table for part in wrapped(line, columns, hang)]


def _row(file: dict[str, Any], flaw: str) -> tuple[str, str, str, str, str]:
    """`flaw`: what makes a certificate useless that cockroach loads."""
    good = f"loaded, not usable: {flaw}" if flaw else "accepted"
    verdict = good if file["accepted"] else f"REFUSED: {file['reason']}"
    if file["accepted"] and file["reason"]:  # the version of cockroach is not known
        verdict = f"accepted from 24.2 on; {file['reason']}"
    if file["accepted"] is None:
        verdict = file["reason"]
    elif not file["accepted"] and not file["role"]:
        verdict = f"ignored: {file['reason']}"
    return file["name"], file["role"], file["user"], (file["chain_ends"] or "")[:10], verdict


def _printable(line: str) -> str:
    """Names of files and certificates are untrusted: no control character reaches the terminal."""
    return "".join(c if c.isprintable() else "?" for c in line)
