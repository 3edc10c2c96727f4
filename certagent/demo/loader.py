"""Load a certs-dir as cockroach does: what it accepts, what it refuses, and what a reload would lose.

Written from cockroach's rules and apart from the agent's core, so that one can contradict the other: this file may
import nothing of certagent but the X.509 parser.
"""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from certagent.host import x509

PREFIXES = ("ca", "ca-client", "ca-ui", "ca-client-tenant", "node", "ui", "client", "client-tenant", "tenant-signing")
NAMED = ("client", "client-tenant", "tenant-signing")
KEPT = ("ca", "ca-client", "ca-ui", "node", "ui", "client.node")  # a reload that would lose one of these is refused


@dataclass(frozen=True, slots=True)
class Entry:
    """One certificate file: PEM of certificate and key, or the error it carries."""

    cert: bytes = b""
    key: bytes = b""
    principals: tuple[str, ...] = ()
    not_after: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Material:
    """Everything of a directory that was loaded at once."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def good(self, stem: str) -> Entry | None:
        """The entry, where it has no error."""
        entry = self.entries.get(stem)
        return entry if entry and not entry.error else None


def load(path: str) -> Material:
    """Given a certs-dir, return what cockroach would hold of it. Raises FileNotFoundError as its loader does."""
    stems = [n.removesuffix(".crt") for n in sorted(os.listdir(path)) if n.endswith(".crt")]
    known = [s for s in stems if s.split(".")[0] in PREFIXES and not os.path.isdir(f"{path}/{s}.crt")]
    return Material({stem: _entry(Path(path), stem) for stem in known})


def _entry(path: Path, stem: str) -> Entry:
    prefix, _, rest = stem.partition(".")
    if (prefix in NAMED) != bool(rest):
        return Entry(error=f"{stem}.crt: bad name")
    try:
        cert = (path / f"{stem}.crt").read_bytes()
        leaf = x509.parse_certificates(cert)[0]
    except (OSError, x509.X509Error) as error:
        return Entry(error=f"{stem}.crt: {error}")
    until = int(leaf.not_after.timestamp())
    if prefix.startswith("ca"):
        return Entry(cert, b"", (), until)
    return _with_key(path / f"{stem}.key", Entry(cert, b"", leaf.principals, until), rest if prefix == "client" else "")


def _with_key(key: Path, entry: Entry, user: str) -> Entry:
    if user and user not in entry.principals:
        return Entry(error=f"{key.stem}.crt: no principal {user}")
    try:
        info = key.stat()
        data = key.read_bytes()
    except OSError as error:
        return Entry(error=f"{key.name}: {error.strerror}")
    if not permitted(info, os.getegid()):
        return Entry(error=f"{key.name}: mode {stat.S_IMODE(info.st_mode):04o} is too wide")
    return Entry(entry.cert, data, entry.principals, entry.not_after)


def permitted(info: os.stat_result, gid: int) -> bool:
    """Cockroach's rule for keys: 0700 at most; 0740 where root owns it and its group is the process's."""
    limit = 0o740 if info.st_uid == 0 and info.st_gid == gid else 0o700
    skip = os.environ.get("COCKROACH_SKIP_KEY_PERMISSION_CHECK", "") == "true"
    return stat.S_ISREG(info.st_mode) and (skip or stat.S_IMODE(info.st_mode) & ~limit == 0)


def start_problem(fresh: Material) -> str:
    """Why a node does not come up with this, "" where it does."""
    for stem in ("ca", "node"):
        if fresh.good(stem) is None:
            return fresh.entries[stem].error if stem in fresh.entries else f"{stem}.crt is missing"
    return _dual_purpose_problem(fresh)


def reload_problem(old: Material, fresh: Material) -> str:
    """Why a reload is refused: it would lose something that was valid before."""
    for stem in KEPT:
        if old.good(stem) and not fresh.good(stem):
            why = fresh.entries[stem].error if stem in fresh.entries else "it is gone"
            return f"reload would lose valid {stem} cert: {why}"
    return _dual_purpose_problem(fresh)


def _dual_purpose_problem(fresh: Material) -> str:
    node = fresh.good("node")
    if node and fresh.good("client.node") is None and "node" not in node.principals:
        return "node.crt: no principal node"
    return ""
