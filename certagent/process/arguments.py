"""What a cockroach command line says: a pure reading of argv and environment.

Source: cockroach's flags. `--flag=value` and `--flag value` are the same; the environment COCKROACH_CERTS_DIR
replaces the flag; the default is ${HOME}/.cockroach-certs; $NAME and ${NAME} in the path are the process's own.
Only some sub-commands serve; a client command under the same name dies of a SIGHUP. A list flag adds up over its
repetitions, and each of them is one line of CSV.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from certagent.core.facts import LoaderFlags, Place
from certagent.process.advertising import advertised, advertised_at, advertised_http, joins

SERVING = frozenset({"start", "start-single-node", "demo"})
BARE = frozenset({"insecure", "logtostderr", "no-color", "redactable-logs", "background", "help", "h", "version"})
TRUTH = frozenset({"1", "t", "T", "TRUE", "True", "true"})  # Go's strconv.ParseBool
TRUE = TRUTH | {""}
VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
RELEASE = re.compile(r"cockroach[-_.]?v?([0-9]{2})\.([0-9])(?![0-9])")
LONGEST_PATH = 4096  # bytes: the kernel takes none that is longer
PORT = re.compile(r"[0-9]{1,5}")  # another user may pass any number of digits


@dataclass(frozen=True, slots=True)
class Arguments:
    """`subcommand` is "" where nothing serves."""

    subcommand: str
    certs_dir: str
    insecure: bool
    http_port: int
    terms: LoaderFlags = field(default_factory=LoaderFlags)
    place: Place = field(default_factory=Place)


def flags(argv: Sequence[str], name: str) -> list[str]:
    """Every value of a flag, in order; "" where it stands alone."""
    found = []
    for i, word in enumerate(argv):
        if word == f"--{name}":
            following = argv[i + 1] if i + 1 < len(argv) else ""
            found.append("" if following.startswith("--") else following)
        elif word.startswith(f"--{name}="):
            found.append(word.partition("=")[2])
    return found


def flag(argv: Sequence[str], name: str) -> str | None:
    """The last value of a flag; "" where it stands alone."""
    return next(reversed(flags(argv, name)), None)


def _subcommand(argv: Sequence[str]) -> str:
    """The first word that is not the value of a flag: `cockroach sql --database start` serves nothing."""
    words = _words(argv)
    first = words[0] if words else ""
    if first in SERVING:
        return first
    return "mt start-sql" if words[:2] == ["mt", "start-sql"] else ""


def _words(argv: Sequence[str]) -> list[str]:
    """The first two words that are neither flags nor their values. A flag without `=` takes the next word as its own.

    As cockroach's command line parser does before the sub-command; BARE are its flags that take none.
    """
    found: list[str] = []
    rest = iter(argv[1:])
    for word in rest:
        if not word.startswith("-"):
            found.append(word)
        elif "=" not in word and word.lstrip("-") not in BARE:
            next(rest, "")
        if len(found) == 2:  # noqa: PLR2004 - no sub-command that serves has three
            break
    return found


def principal_map(values: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Given the values of `--cert-principal-map`, return the mappings, each split at its last colon.

    cockroach does not start with an entry that has no colon: it is ignored.
    """
    try:
        entries = [entry for row in csv.reader(values) for entry in row]
    except csv.Error:
        return ()
    return tuple((one, other) for one, colon, other in (e.rpartition(":") for e in entries) if colon)


def sans(value: str) -> tuple[str, ...]:
    """Given `DNS=db1,URI=spiffe://x`, return its entries as `DNS:db1` and `URI:spiffe://x`."""
    entries = (entry.strip().partition("=") for entry in value.split(","))
    return tuple(f"{kind.upper()}:{name}" for kind, equals, name in entries if equals)


def switch(argv: Sequence[str], name: str) -> bool:
    """Whether a flag without a value is set."""
    return flag(argv, name) in TRUE


def release_in(*paths: str) -> tuple[int, int] | None:
    """The version that a path to the program names, as in /opt/cockroach-v24.1.5.linux-amd64/cockroach, or None."""
    found = [RELEASE.search(path) for path in paths]
    return next(((int(f[1]), int(f[2])) for f in found if f), None)


def terms_of(argv: Sequence[str], environ: Mapping[str, str], hostname: str = "") -> LoaderFlags:
    """Given argv and environment, return what they change in how certificates are judged.

    `hostname`: of the process, where it is known.
    """
    return LoaderFlags(
        skip_key_check=environ.get("COCKROACH_SKIP_KEY_PERMISSION_CHECK", "") in TRUTH,
        principal_map=principal_map(flags(argv, "cert-principal-map")),
        node_dn=flag(argv, "node-cert-distinguished-name") or "",
        root_dn=flag(argv, "root-cert-distinguished-name") or "",
        node_sans=sans(flag(argv, "node-cert-san") or ""),
        root_sans=sans(flag(argv, "root-cert-san") or ""),
        root_login=not switch(argv, "disallow-root-login"),
        debug_user=switch(argv, "allow-debug-user"),
        advertised=advertised(argv, _subcommand(argv), hostname),
        advertised_http=advertised_http(argv),
        release=release_in(*argv[:1]),
    )


def _expanded(path: str, environ: Mapping[str, str]) -> str:
    """A path with its variables, cut where no path is so long: another user may name a long one a thousand times."""
    found, end = "", 0
    for one in VARIABLE.finditer(path):
        found += path[end : one.start()] + environ.get(one.group(1) or one.group(2), "")[:LONGEST_PATH]
        end = one.end()
        if len(found) > LONGEST_PATH:
            return found[:LONGEST_PATH]
    return (found + path[end:])[:LONGEST_PATH]


def parse(argv: Sequence[str], environ: Mapping[str, str], hostname: str = "") -> Arguments:
    """Given argv and environment of a process, and its host's name if known, return what they say of its certs-dir."""
    insecure = flag(argv, "insecure")
    certs = (
        flag(argv, "certs-dir") or environ.get("COCKROACH_CERTS_DIR") or f"{environ.get('HOME', '')}/.cockroach-certs"
    )
    certs = _expanded(certs[:LONGEST_PATH], environ)
    http = (flag(argv, "http-addr") or "").rpartition(":")[2]
    value = insecure if insecure is not None and insecure.lower() in {"", "true", "false"} else "true"
    subcommand = _subcommand(argv)
    return Arguments(
        subcommand,
        certs,
        insecure is not None and value in TRUE,
        int(http) if PORT.fullmatch(http) else 8080,
        terms_of(argv, environ, hostname),
        Place(joins=joins(argv), advertised=advertised_at(argv, subcommand, hostname)),
    )
