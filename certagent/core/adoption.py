"""A certs directory as it is -> the `[[certs_dir]]` table that adopts all of it.

The table asks for exactly the files that are there, with the names, modes and owners that they have, so that an agent
which starts with it finds nothing missing and nothing superfluous. Who issues is left open: no authority is guessed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from certagent.core import toml
from certagent.core.facts import Directory, Leaf, Pair, Process
from certagent.core.names import CA, CA_CLIENT, CLIENT_NODE, NODE, Name

UNDECIDED = "undecided"  # the authority of type none
PLAIN_MODE = 0o600
Layout = Literal["standard", "split-node", "split-ca", "tenant", "client"]
IN_LAYOUT: dict[Layout, frozenset[Name]] = {
    "standard": frozenset({CA, NODE}),
    "split-node": frozenset({CA, NODE, CLIENT_NODE}),
    "split-ca": frozenset({CA, CA_CLIENT, NODE, CLIENT_NODE}),
    "tenant": frozenset({CA}),
    "client": frozenset({CA}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One certs directory of the host, and who uses it."""

    path: str
    directory: Directory
    owner: str  # as `owner` has it
    user: str  # whom the agent runs as
    pairs: tuple[Pair, ...] = ()
    key_owners: dict[str, str] | None = None  # by the stem: who owns a key, where it is not `owner`
    names: dict[str, tuple[str, ...]] | None = None  # by the stem: its SANs, where a configuration accepts them
    processes: tuple[Process, ...] = ()
    served: bool = False  # a server uses it, or its unit is to
    notes: tuple[str, ...] = ()  # what an operator should know of it

    @property
    def present(self) -> tuple[Name, ...]:
        """Every file that can be adopted: there is a certificate, and TOML can hold its name."""
        return tuple(p.name for p in self.pairs if p.cert is not None and toml.writable(p.name.stem))

    def pair(self, name: Name) -> Pair | None:
        """What is under that name."""
        return next((p for p in self.pairs if p.name == name), None)


def layout_of(found: Found) -> Layout:
    """The layout whose files are all there; that of a host without a server, if there is none and no server's pair."""
    present = set(found.present)
    if NODE not in present and any(n.is_tenant for n in present):
        return "tenant"
    if NODE not in present and not found.served and any(n.is_client for n in present):
        return "client"
    if CLIENT_NODE in present:
        return "split-ca" if CA_CLIENT in present else "split-node"
    return "standard"


def table(found: Found) -> Iterator[str]:
    """The lines of the table."""
    layout = layout_of(found)
    yield "[[certs_dir]]"
    yield f"path = {toml.string(found.path)}"
    yield f"owner = {toml.string(found.owner)}"
    yield f"layout = {toml.string(layout)}"
    yield f"authority = {toml.string(UNDECIDED)}"
    if layout == "split-ca":
        yield f"client_authority = {toml.string(UNDECIDED)}  # the CA of client certificates"
    server = server_of(found)
    names = (found.names or {}).get(server.stem) if server else None
    if names:
        yield f"names = {toml.strings(names)}"
    if users := [n.subject for n in found.present if n.is_client and n != CLIENT_NODE]:
        yield f"clients = {toml.strings(users)}"
    for name in found.present:
        own = list(_settings(found, name, names))
        if own or not (name in IN_LAYOUT[layout] or name.is_client):
            yield ""
            yield f"[certs_dir.file.{toml.key(name.stem)}]"
            yield from own


def server_of(found: Found) -> Name | None:
    """The pair whose names are those of the directory: the node's, else a tenant's."""
    servers = [n for n in found.present if n == NODE or n.is_tenant]
    return min(servers, key=lambda n: n != NODE, default=None)


def _settings(found: Found, name: Name, usual: tuple[str, ...] | None) -> Iterator[str]:
    """What is particular about one file."""
    own = (found.names or {}).get(name.stem)
    if "server" in name.kind.asked_as and own and own != usual:
        yield f"names = {toml.strings(own)}"
    pair = found.pair(name)
    key = pair.key.file if pair and pair.key and not name.is_bundle else None
    if key is None or key.kind != "file":
        return
    if owner := (found.key_owners or {}).get(name.stem):
        yield f"key_owner = {toml.string(owner)}"
    limit = 0o740 if key.uid == 0 else 0o700
    if key.mode != PLAIN_MODE and key.mode & ~limit == 0 and key.mode & 0o400:
        yield f'key_mode = "{key.mode:04o}"'


def hosts_in(leaf: Leaf) -> tuple[str, ...]:
    """The SANs of a certificate as `names` has them: DNS names, then addresses."""
    return (*leaf.dns, *leaf.ips)


def rows(found: Found) -> Iterator[str]:
    """What was seen, a line each: the directory, its certificates, its processes."""
    yield f"{found.path}: owner {found.owner}, mode {found.directory.mode:04o}"
    for pair in found.pairs:
        yield f"  {pair.name.stem}.crt: {_described(pair)}"
    for process in found.processes:
        where = ", ".join(x.address for x in process.listeners) or "no port"
        release = f", version {'.'.join(map(str, process.terms.release))}" if process.terms.release else ""
        yield f"  pid {process.pid} ({process.command}, user {process.user}{release}): {where}; {process.state}"
        if process.problem:
            yield f"    {process.problem}" + (f"; {process.advice}" if process.advice else "")


def _described(pair: Pair) -> str:
    if pair.cert is None:
        return "missing; there is a key alone, which is not adopted"
    if pair.cert.leaf is None:
        return f"cannot be used: {pair.cert.problem}"
    if pair.name.is_bundle:
        return "; ".join(f"{c.subject}, until {c.not_after:%Y-%m-%d}" for c in pair.cert.certificates)
    leaf = pair.cert.leaf
    sans = f" ({', '.join(leaf.sans)})" if leaf.sans else ""
    return f"{leaf.subject}{sans} by {leaf.issuer}, until {leaf.not_after:%Y-%m-%d}"


def roots(found: Found) -> tuple[str, ...]:
    """The fingerprints of the CA certificates that verify servers here, for the pins of an authority."""
    bundle = found.pair(CA)
    certificates = bundle.cert.certificates if bundle and bundle.cert else ()
    return tuple(c.fingerprint for c in certificates if c.is_ca)
