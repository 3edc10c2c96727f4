"""Load a certs-dir as cockroach does: what it accepts, what it refuses, and what a reload would lose.

It is written from cockroach's rules, independently of the agent's core, so that each can reveal mistakes of the other:
this file imports nothing of certagent but the X.509 parser. A test compares the two over generated directories.
"""

import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from certagent import x509

PREFIXES = ("ca", "ca-client", "ca-ui", "ca-client-tenant", "node", "ui", "client", "client-tenant", "tenant-signing")
NAMED = ("client", "client-tenant", "tenant-signing")
OPTIONAL = ("ui", "ca-client", "ca-client-tenant", "client.node")  # where one is there and broken, no node starts
KEPT = ("ca", "ca-client", "ca-ui", "ca-client-tenant", "node", "ui", "client.node")  # a reload that would lose one of
# these, or the server's own client-tenant pair, is refused
YES = ("1", "t", "T", "true", "TRUE", "True")
OLD = (24, 1)  # the last version whose loader checks principals


class LoadError(Exception):
    """The directory as a whole is refused."""


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line, the environment and the version change."""

    principal_map: Mapping[str, str] = field(default_factory=dict)
    node_dn: str = ""
    skip: bool = False
    old: bool = False
    root_login: bool = True
    debug_user: bool = False
    sql_server: bool = False  # of a tenant: `mt start-sql`
    no_login: str = ""  # a user without the privilege

    @classmethod
    def of(cls, mapping: str, node_dn: str, environ: Mapping[str, str]) -> "Flags":
        """Given `--cert-principal-map`, `--node-cert-distinguished-name` and the environment."""
        mapped = {m[: m.rindex(":")]: m[m.rindex(":") + 1 :] for m in mapping.split(",") if ":" in m}
        skip = environ.get("COCKROACH_SKIP_KEY_PERMISSION_CHECK", "") in YES
        release = environ.get("STANDIN_RELEASE", "")
        old = bool(release) and tuple(int(part) for part in release.split(".")[:2]) <= OLD
        return cls(mapped, node_dn, skip, old, no_login=environ.get("STANDIN_NO_LOGIN", ""))


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

    @property
    def tenant(self) -> str:
        """The stem of the own pair of a tenant's SQL server, "" of a node."""
        tenants = [stem for stem in self.entries if stem.startswith("client-tenant.")]
        return tenants[0] if self.flags.sql_server and tenants and "node" not in self.entries else ""

    def server(self) -> Entry | None:
        """What it serves: `node`; a tenant's SQL server, which has none, its client-tenant pair."""
        return self.good(self.tenant or "node")

    def first(self, *stems: str) -> Entry | None:
        """The first of these that is there: where it is broken, cockroach does not fall back to the next one."""
        return next((self.good(stem) for stem in stems if stem in self.entries), None)

    def console(self) -> Entry | None:
        """What the DB Console shows."""
        return self.first("ui", self.tenant or "node")

    def client_cas(self) -> tuple[bytes, ...]:
        """The bundles that verify clients and tenants; () where one of them cannot be used."""
        found = (self.first("ca-client", "ca"), self.first("ca-client-tenant", "ca-client", "ca"))
        return tuple(dict.fromkeys(e.cert for e in found if e)) if self.good("ca") and all(found) else ()


def load(path: str, flags: Flags | None = None, gid: int | None = None) -> Material:
    """Given a certs-dir, the flags and the process's group, return what cockroach would hold of it.

    Raises FileNotFoundError as its loader does, LoadError where the id of a tenant is not a number.
    """
    flags = flags or Flags.of("", "", os.environ)
    return loaded(_files(path), lambda name: _found(Path(path) / name), flags, os.getgid() if gid is None else gid)


def _files(path: str) -> list[str]:
    """The names of certificates in a certs-dir; links count, directories do not."""
    return [n for n in os.listdir(path) if n.endswith(".crt") and not stat.S_ISDIR(os.lstat(f"{path}/{n}").st_mode)]


def loaded(files: Iterable[str], read: Callable[[str], Found], flags: Flags, gid: int) -> Material:
    """Given the names of `.crt` entries that are no directories, and what each file is, return what is loaded.

    Raises LoadError where the id of a tenant is not a number.
    """
    stems = sorted(stem for stem in (file.removesuffix(".crt") for file in files) if _named(stem))
    if bad := [stem for stem in stems if not _tenant_named(stem)]:
        raise LoadError(f"{bad[0]}.crt: invalid tenant id")
    return Material({stem: _load(stem, read, flags, gid) for stem in stems}, flags)


def _load(stem: str, read: Callable[[str], Found], flags: Flags, gid: int) -> Entry:
    """A certificate, and its key unless it is a CA's, or refused already."""
    entry = certificate(stem, read(f"{stem}.crt"), flags)
    if entry.error or stem.startswith("ca"):
        return entry
    return with_key(entry, f"{stem}.key", read(f"{stem}.key"), flags, gid)


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


def _tenant_named(stem: str) -> bool:
    """A tenant's file names it by an unsigned number of 64 bits."""
    prefix, _, rest = stem.partition(".")
    if prefix not in {"client-tenant", "tenant-signing"}:
        return True
    return re.fullmatch("[0-9]+", rest) is not None and int(rest) < 2**64


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
    if flags.old and prefix == "client" and rest not in principals:
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
    return info.st_mode & 0o777 & ~limit == 0


def start_problem(fresh: Material) -> str:
    """Why a node does not come up with this, "" where it does, if TLS can be set up."""
    for stem in ("ca", fresh.tenant or "node"):
        if fresh.good(stem) is None:
            return fresh.entries[stem].error if stem in fresh.entries else f"{stem}.crt is missing"
    broken = [fresh.entries[stem].error for stem in OPTIONAL if stem in fresh.entries and not fresh.good(stem)]
    return broken[0] if broken else dual_purpose_problem(fresh)


def reload_problem(old: Material, fresh: Material) -> str:
    """Why a reload is refused: it would lose something that was valid before."""
    for stem in (*KEPT, old.tenant):
        if old.good(stem) and not fresh.good(stem):
            why = fresh.entries[stem].error if stem in fresh.entries else "it is gone"
            return f"reload would lose valid {stem} cert: {why}"
    return dual_purpose_problem(fresh)


def dual_purpose_problem(fresh: Material) -> str:
    """Up to 24.1: without a client.node.crt, valid or not, node.crt is the node's client certificate too."""
    node = fresh.good("node")
    if not fresh.flags.old or node is None or "client.node" in fresh.entries:
        return ""
    return "" if "node" in node.principals else "node.crt: no principal node"
