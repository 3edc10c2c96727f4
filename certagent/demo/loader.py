"""Load a certs-dir as cockroach does: what it accepts, what it refuses, and what a reload would lose.

Written from cockroach's rules and apart from the agent's core, so that one can contradict the other: this file may
import nothing of certagent but the X.509 parser. A test holds the two against each other over generated directories.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from certagent.host import x509

PREFIXES = ("ca", "ca-client", "ca-ui", "ca-client-tenant", "node", "ui", "client", "client-tenant", "tenant-signing")
NAMED = ("client", "client-tenant", "tenant-signing")
KEPT = ("ca", "ca-client", "ca-ui", "ca-client-tenant", "node", "ui", "client.node")  # and tenants' files: a reload
# that would lose one of these is refused
YES = ("1", "t", "T", "true", "TRUE", "True")


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line and the environment change."""

    principal_map: Mapping[str, str] = field(default_factory=dict)
    node_dn: str = ""
    node_user: str = "node"
    skip: bool = False

    @classmethod
    def of(cls, mapping: str, node_dn: str, environ: Mapping[str, str]) -> "Flags":
        """Given `--cert-principal-map`, `--node-cert-distinguished-name` and the environment."""
        mapped = {m[: m.rindex(":")]: m[m.rindex(":") + 1 :] for m in mapping.split(",") if ":" in m}
        skip = environ.get("COCKROACH_SKIP_KEY_PERMISSION_CHECK", "") in YES
        return cls(mapped, node_dn, environ.get("COCKROACH_CERT_NODE_USER") or "node", skip)


@dataclass(frozen=True, slots=True)
class Entry:
    """One certificate file: PEM of certificate and key, or the error it carries."""

    cert: bytes = b""
    key: bytes = b""
    principals: tuple[str, ...] = ()
    subject: str = ""
    not_after: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Material:
    """Everything of a directory that was loaded at once."""

    entries: dict[str, Entry] = field(default_factory=dict)
    flags: Flags = field(default_factory=Flags)

    def good(self, stem: str) -> Entry | None:
        """The entry, where it has no error."""
        entry = self.entries.get(stem)
        return entry if entry and not entry.error else None

    def server(self) -> Entry | None:
        """What it serves: `node`; a tenant's SQL server, which has none, its client-tenant pair."""
        tenants = [e for stem, e in self.entries.items() if stem.startswith("client-tenant.") and not e.error]
        return self.good("node") or (tenants[0] if tenants and "node" not in self.entries else None)

    def client_cas(self) -> bytes:
        """The CAs that clients are verified by: ca-client or else ca, and the tenants' beside them."""
        found = (self.good("ca-client") or self.good("ca"), self.good("ca-client-tenant"))
        return b"".join(e.cert.rstrip() + b"\n" for e in found if e)


def load(path: str, flags: Flags | None = None, gid: int | None = None) -> Material:
    """Given a certs-dir, the flags and the process's group, return what cockroach would hold of it.

    Raises FileNotFoundError as its loader does.
    """
    flags = flags or Flags.of("", "", os.environ)
    stems = [n.removesuffix(".crt") for n in sorted(os.listdir(path)) if n.endswith(".crt")]
    known = [s for s in stems if _named(s) and not stat.S_ISDIR(os.lstat(f"{path}/{s}.crt").st_mode)]
    group = os.getgid() if gid is None else gid
    return Material({stem: _entry(Path(path), stem, flags, group) for stem in known}, flags)


def _named(stem: str) -> bool:
    """A name that is not one of cockroach's is a line in its log and no entry."""
    prefix, *rest = stem.split(".")
    if prefix not in PREFIXES:
        return False
    return ".".join(rest) != "" if prefix in NAMED else not rest


def _entry(path: Path, stem: str, flags: Flags, gid: int) -> Entry:
    prefix, _, rest = stem.partition(".")
    try:
        cert = (path / f"{stem}.crt").read_bytes()
        leaf = x509.parse_certificates(cert)[0]
    except (OSError, x509.X509Error) as error:
        return Entry(error=f"{stem}.crt: {error}")
    until = int(leaf.not_after.timestamp())
    if prefix.startswith("ca"):
        return Entry(cert, not_after=until)
    named = [*leaf.common_names[-1:], *leaf.dns]
    principals = tuple(flags.principal_map.get(n, n) for n in named)
    if prefix == "client" and rest not in principals:
        return Entry(error=f"{stem}.crt: no principal {rest}")
    return _with_key(path / f"{stem}.key", Entry(cert, b"", principals, leaf.subject, until), flags, gid)


def _with_key(key: Path, entry: Entry, flags: Flags, gid: int) -> Entry:
    try:
        info = key.stat()
        if not stat.S_ISREG(info.st_mode):
            return Entry(error=f"{key.name}: not a regular file")
        if not flags.skip and not permitted(info, gid):
            return Entry(error=f"{key.name}: mode {stat.S_IMODE(info.st_mode):04o} is too wide")
        data = key.read_bytes()
    except OSError as error:
        return Entry(error=f"{key.name}: {error.strerror}")
    return Entry(entry.cert, data, entry.principals, entry.subject, entry.not_after)


def permitted(info: os.stat_result, gid: int) -> bool:
    """Cockroach's rule for keys: 0700 at most; 0740 where root owns it and its group is the process's."""
    limit = 0o740 if info.st_uid == 0 and info.st_gid == gid else 0o700
    return stat.S_IMODE(info.st_mode) & ~limit == 0


def start_problem(fresh: Material) -> str:
    """Why a node does not come up with this, "" where it does."""
    if fresh.good("ca") is None:
        return fresh.entries["ca"].error if "ca" in fresh.entries else "ca.crt is missing"
    if fresh.server() is None:
        return fresh.entries["node"].error if "node" in fresh.entries else "node.crt is missing"
    return dual_purpose_problem(fresh)


def reload_problem(old: Material, fresh: Material) -> str:
    """Why a reload is refused: it would lose something that was valid before."""
    tenants = [s for s in old.entries if s.startswith(("client-tenant.", "tenant-signing."))]
    for stem in (*KEPT, *tenants):
        if old.good(stem) and not fresh.good(stem):
            why = fresh.entries[stem].error if stem in fresh.entries else "it is gone"
            return f"reload would lose valid {stem} cert: {why}"
    return dual_purpose_problem(fresh)


def dual_purpose_problem(fresh: Material) -> str:
    """Without a client.node.crt, sound or not, node.crt is the node's client certificate too."""
    node, flags = fresh.good("node"), fresh.flags
    if node is None or "client.node" in fresh.entries:
        return ""
    by_name = {"node", flags.node_user} & {*node.principals}
    by_subject = flags.node_dn and flags.node_dn == node.subject
    return "" if by_name or by_subject else "node.crt: no principal node"
