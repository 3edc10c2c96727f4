"""Every kind of file in a certs-dir: one row each, with everything that differs by the kind.

Sources: cockroach's certificate loader and manager (pkg/security) for the names, the bundle that verifies a leaf, what
a server loads and what it refuses to start without; `cockroach cert` for usages and principals. A new kind is a role
and a row here: every other module asks `Name.kind` and names no role itself. Rejected: a class for each kind; the kinds
differ in data alone.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal, NamedTuple

Usage = Literal["server", "client"]
SYSTEM = "system"  # the system's roots, among the stems of bundles


class Role(Enum):
    """What cockroach uses a file for; the value is the first part of the file's name."""

    CA = "ca"
    CA_CLIENT = "ca-client"
    CA_UI = "ca-ui"
    CA_TENANT = "ca-client-tenant"
    NODE = "node"
    UI = "ui"
    CLIENT = "client"
    TENANT = "client-tenant"
    TENANT_SIGNING = "tenant-signing"


class Verifier(NamedTuple):
    """A bundle that verifies a leaf, and as what."""

    bundle: str
    usage: Usage


class Use(NamedTuple):
    """What a certificate is good for: its extended key usages, and the principal that it must name."""

    server: bool
    client: bool
    principal: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One row: what cockroach does with such a file, what we ask a CA for, how its use is verified."""

    role: Role
    stem: str = ""  # the name without its ending, of a kind that is one file; "" where a further part follows
    part: Literal["", "user", "tenant"] = ""  # what follows the role in the name; a tenant is a number
    bundle: bool = False  # a trust bundle: it has no key that cockroach would load
    # cockroach
    verified_by: tuple[str, ...] = ()  # stems of bundles: the first one that is there, else the last
    verified_as: tuple[Usage, ...] = ()  # by its peers
    system_roots: bool = False  # browsers verify it: where only the last bundle is left, by the system's roots too
    acts_for: str = ""  # while there is no file of that stem, this one is used instead
    loader_wants_principal: bool = False  # the loader refuses the pair without its principal
    loaded: bool = True  # by a server, at its start and at a reload
    at_start: Literal["", "required", "sound"] = ""  # no node starts without it ("sound": if it is there and refused)
    effect: str = ""  # what cockroach does differently because the file is there
    grave: bool = False  # that effect decides whether nodes and clients can connect
    # what is asked for
    asked_as: tuple[Usage, ...] = ()  # extended key usages
    principal: str = ""  # "{}" is replaced by the subject; "": none is needed
    unit: str = ""  # OU of the subject (pkg/security, TenantsOU)
    issuer: Literal["authority", "client_authority", "ui", "none"] = "authority"  # the setting that names who issues it
    key: str = "ecdsa-p256"  # where the configuration does not say
    # verification that it is in use
    offered: bool = False  # to the SQL ports, to see whether they accept it
    proof: Literal["served", "accepted", "metric", "advertised", "sent"] = "sent"  # the strongest verification possible

    metric: str = ""  # what cockroach calls it in `security.certificate.last_rotation.*`

    def bundle_in(self, present: frozenset[str]) -> str:
        """Given the stems of the bundles that are there, return the one that verifies it; "" where nothing does."""
        return next((stem for stem in self.verified_by if stem in present), (*self.verified_by[-1:], "")[0])

    def bundles_in(self, present: frozenset[str]) -> tuple[str, ...]:
        """As `bundle_in`, and SYSTEM after it where the system's roots may verify the leaf instead; () for nothing."""
        bundle = self.bundle_in(present)
        if not bundle:
            return ()
        return (bundle, SYSTEM) if self.system_roots and bundle == self.verified_by[-1] else (bundle,)

    def verifiers(self, present: frozenset[str], *, split: bool) -> tuple[Verifier, ...]:
        """Given the bundles that are there and whether `client.node` is, return who verifies such a leaf as what."""
        own = tuple(Verifier(self.bundle_in(present), usage) for usage in self.verified_as)
        return own if split or not self.acts_for else own + BY_STEM[self.acts_for].verifiers(present, split=True)

    def asked(self, part: str, *, split: bool) -> Use:
        """Given the further part of the name and whether there is a `client.node`, return what a CA is asked for."""
        return self._use(self.asked_as, self.principal.format(part) or None, split=split)

    def needed(self, part: str, *, split: bool) -> Use:
        """As `asked`: what cockroach and its peers insist on, which may be less."""
        principal = self.principal.format(part) if self.loader_wants_principal else None
        return self._use(self.verified_as, principal, split=split)

    def _use(self, usages: tuple[Usage, ...], principal: str | None, *, split: bool) -> Use:
        if self.acts_for and not split:
            other = BY_STEM[self.acts_for]
            _, _, part = other.stem.partition(".")
            usages, principal = usages + other.asked_as, principal or other.principal.format(part)
        return Use("server" in usages, "client" in usages, principal)


_CLIENT = Kind(
    role=Role.CLIENT,
    part="user",
    verified_by=("ca-client", "ca"),
    verified_as=("client",),
    loader_wants_principal=True,
    loaded=False,
    asked_as=("client",),
    principal="{}",
    issuer="client_authority",
    offered=True,
    proof="accepted",
)
KINDS = (  # in the order in which a node refuses to start for them
    Kind(role=Role.CA, stem="ca", metric="ca", bundle=True, at_start="required", proof="advertised"),
    Kind(
        role=Role.NODE,
        stem="node",
        verified_by=("ca",),
        verified_as=("server",),
        acts_for="client.node",
        at_start="required",
        asked_as=("server",),
        proof="served",
    ),
    Kind(
        role=Role.CA_CLIENT,
        stem="ca-client",
        metric="client_ca",
        bundle=True,
        at_start="sound",
        effect="cockroach verifies clients by it instead of ca.crt",
        grave=True,
        issuer="client_authority",
        proof="advertised",
    ),
    replace(
        _CLIENT,
        stem="client.node",
        metric="node_client",
        loaded=True,
        at_start="sound",
        effect="cockroach uses it for connections to other nodes instead of node.crt",
        grave=True,
        offered=False,
        proof="metric",
    ),
    Kind(
        role=Role.CA_TENANT,
        stem="ca-client-tenant",
        metric="ca_client_tenant",
        bundle=True,
        at_start="sound",
        effect="cockroach verifies tenants by it",
        issuer="client_authority",
        proof="advertised",
    ),
    Kind(
        role=Role.UI,
        stem="ui",
        verified_by=("ca-ui", "ca"),
        verified_as=("server",),
        system_roots=True,
        at_start="sound",
        effect="cockroach serves it on the DB Console instead of node.crt",
        asked_as=("server",),
        proof="served",
    ),
    Kind(
        role=Role.CA_UI,
        stem="ca-ui",
        metric="ui_ca",
        bundle=True,
        effect="the DB Console's pair is verified by it instead of ca.crt",
        issuer="ui",
    ),
    _CLIENT,
    Kind(
        role=Role.TENANT,
        part="tenant",
        verified_by=("ca-client-tenant", "ca-client", "ca"),
        verified_as=("client",),
        asked_as=("server", "client"),  # a client of the nodes, a server to the tenant's other SQL servers
        principal="{}",
        unit="Tenants",
        issuer="client_authority",
        offered=True,
        proof="accepted",
    ),
    Kind(  # it signs itself: nothing verifies it
        role=Role.TENANT_SIGNING,
        part="tenant",
        principal="Tenant {} Token Signing Certificate",
        issuer="none",
        key="ed25519",
    ),
)
BY_STEM = {kind.stem: kind for kind in KINDS if kind.stem}
BY_ROLE = {kind.role: kind for kind in KINDS}  # of `client` the later row, which is that of any user
BY_PREFIX = {role.value: role for role in Role}
BUNDLES = tuple(kind.stem for kind in KINDS if kind.bundle)


def kind_of(role: Role, stem: str) -> Kind:
    """Given a role and a whole stem, return the row: that of this very file where it has one of its own."""
    return BY_STEM.get(stem) or BY_ROLE[role]
