"""Load a certs-dir as cockroach does: what it accepts, what it refuses, and what a reload would lose.

It is written from cockroach's rules, independently of the agent's core, so that each can reveal mistakes of the other:
this file imports nothing of certagent but the X.509 parser. A test compares the two over generated directories.
"""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from certagent import x509

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
class Found:
    """One file as the disk has it, links followed: what is there, its bytes where it is regular, or the error."""

    info: os.stat_result | None = None
    data: bytes = b""
    error: OSError | None = None


@dataclass(frozen=True, slots=True)
class Material:
    """All files of a directory, loaded together."""

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
        """The CAs that verify clients: ca-client or else ca, and those of tenants."""
        found = (self.good("ca-client") or self.good("ca"), self.good("ca-client-tenant"))
        return b"".join(e.cert.rstrip() + b"\n" for e in found if e)


def load(path: str, flags: Flags | None = None, gid: int | None = None) -> Material:
    """Given a certs-dir, the flags and the process's group, return what cockroach would hold of it.

    Raises FileNotFoundError as its loader does.
    """
    flags = flags or Flags.of("", "", os.environ)
    group = os.getgid() if gid is None else gid
    return Material({stem: _load(Path(path), stem, flags, group) for stem in _listed(path)}, flags)


def _listed(path: str) -> list[str]:
    stems = [n.removesuffix(".crt") for n in sorted(os.listdir(path)) if n.endswith(".crt")]
    return [s for s in stems if _named(s) and not stat.S_ISDIR(os.lstat(f"{path}/{s}.crt").st_mode)]


def _load(path: Path, stem: str, flags: Flags, gid: int) -> Entry:
    """A certificate, and its key unless it is a CA's, or refused already."""
    entry = certificate(stem, _found(path / f"{stem}.crt"), flags)
    if entry.error or stem.startswith("ca"):
        return entry
    return with_key(entry, f"{stem}.key", _found(path / f"{stem}.key"), flags, gid)


def _found(path: Path) -> Found:
    info = None
    try:
        info = path.stat()
        return Found(info, path.read_bytes() if stat.S_ISREG(info.st_mode) else b"")
    except OSError as error:
        return Found(info, error=error)


def _named(stem: str) -> bool:
    """A name that is not one of cockroach's is a line in its log and no entry."""
    prefix, *rest = stem.split(".")
    if prefix not in PREFIXES:
        return False
    return ".".join(rest) != "" if prefix in NAMED else not rest


def certificate(stem: str, found: Found, flags: Flags) -> Entry:
    """Given a certificate's file, return its entry, still without a key."""
    prefix, _, rest = stem.partition(".")
    if found.error is not None:
        return Entry(error=f"{stem}.crt: {found.error}")
    try:
        leaf = x509.parse_certificates(found.data)[0]
    except x509.X509Error as error:
        return Entry(error=f"{stem}.crt: {error}")
    until = int(leaf.not_after.timestamp())
    if prefix.startswith("ca"):
        return Entry(found.data, not_after=until)
    principals = tuple(flags.principal_map.get(n, n) for n in [*leaf.common_names[-1:], *leaf.dns])
    if prefix == "client" and rest not in principals:
        return Entry(error=f"{stem}.crt: no principal {rest}")
    return Entry(found.data, b"", principals, leaf.subject, until)


def with_key(entry: Entry, name: str, found: Found, flags: Flags, gid: int) -> Entry:
    """Given an entry and its key's file, return the entry with the key, or why it may not have it."""
    if found.info is not None and not stat.S_ISREG(found.info.st_mode):
        return Entry(error=f"{name}: not a regular file")
    if found.info is not None and not flags.skip and not permitted(found.info, gid):
        return Entry(error=f"{name}: mode {stat.S_IMODE(found.info.st_mode):04o} is too wide")
    if found.error is not None:
        return Entry(error=f"{name}: {found.error.strerror}")
    return replace(entry, key=found.data)


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
    """Without a client.node.crt, valid or not, node.crt is the node's client certificate too."""
    node, flags = fresh.good("node"), fresh.flags
    if node is None or "client.node" in fresh.entries:
        return ""
    by_name = {"node", flags.node_user} & {*node.principals}
    written = ",".join(re.split(r"(?<!\\),", node.subject)[::-1])  # cockroach keeps the order of the encoding
    by_subject = flags.node_dn and flags.node_dn == written
    return "" if by_name or by_subject else "node.crt: no principal node"
