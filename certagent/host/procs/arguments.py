"""What a cockroach command line says: a pure reading of argv and environment.

Source: cockroach's flags. `--flag=value` and `--flag value` are the same; the environment COCKROACH_CERTS_DIR
stands in for the flag; the default is ${HOME}/.cockroach-certs. Only some sub-commands serve; a client command
under the same name dies of a SIGHUP.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SERVING = frozenset({"start", "start-single-node", "demo"})
TRUE = frozenset({"", "true", "1", "t", "T", "TRUE", "True"})


@dataclass(frozen=True, slots=True)
class Arguments:
    """`subcommand` is "" where nothing serves."""

    subcommand: str
    certs_dir: str
    insecure: bool
    http_port: int


def flag(argv: Sequence[str], name: str) -> str | None:
    """The last value of a flag; "" where it stands alone."""
    found = None
    for i, word in enumerate(argv):
        if word == f"--{name}":
            following = argv[i + 1] if i + 1 < len(argv) else ""
            found = "" if following.startswith("--") else following
        elif word.startswith(f"--{name}="):
            found = word.partition("=")[2]
    return found


def _subcommand(argv: Sequence[str]) -> str:
    words = [w for w in argv[1:] if not w.startswith("-")]
    for i, word in enumerate(words):
        if word in SERVING:
            return word
        if word == "mt" and words[i + 1 : i + 2] == ["start-sql"]:
            return "mt start-sql"
    return ""


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Arguments:
    """Given argv and environment of a process, return what they say of its certs-dir."""
    insecure = flag(argv, "insecure")
    certs = (
        flag(argv, "certs-dir") or environ.get("COCKROACH_CERTS_DIR") or f"{environ.get('HOME', '')}/.cockroach-certs"
    )
    http = (flag(argv, "http-addr") or "").rpartition(":")[2]
    value = insecure if insecure is not None and insecure.lower() in {"", "true", "false"} else "true"
    return Arguments(
        _subcommand(argv), certs, insecure is not None and value in TRUE, int(http) if http.isdigit() else 8080
    )
