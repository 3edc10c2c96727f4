"""Policy: what should be true of one certs-dir. config makes it, decide reads it.

Every field is already valid: parsed at the edge, never checked again inside.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fractions import Fraction
from functools import cached_property
from hashlib import sha256
from typing import Literal

from certagent.core.facts import Directory, LoaderFlags, Process
from certagent.core.names import CLIENT_NODE, UI, Name


@dataclass(frozen=True, slots=True)
class RenewAt:
    """When to renew: a fraction of the lifetime, or a duration before expiry. Both None: the default of timing.py."""

    fraction: Fraction | None = None
    before: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """Who should own the files; resolved to numbers when the configuration was read."""

    user: str
    uid: int
    gid: int

    @property
    def key_mode(self) -> int:
        """The mode of their keys: those of root and another group are for servers that are in that group."""
        return 0o640 if self.uid == 0 and self.gid != 0 else 0o600


@dataclass(frozen=True)
class Want:
    """What one pair, or one trust bundle, should be."""

    name: Name
    authorities: tuple[str, ...]  # the fallback order; () with `none`: externally managed
    names: tuple[str, ...] | None = None  # SANs, IPs in canonical text; None: those of the live certificate are kept
    principal: str | None = None  # must be among the principals: `node`, the user; None: none needed
    server: bool = False  # EKU serverAuth is needed
    client: bool = False  # EKU clientAuth is needed
    lifetime: timedelta | None = None  # None: the authority's
    key: str = "ecdsa-p256"
    key_mode: int = 0o600
    key_owner: Owner | None = None  # None: the directory's
    reuse_key: bool = False
    drop_names: bool = False
    renew_at: RenewAt = RenewAt()
    warn: timedelta | None = None  # cert.expires-soon; None: 1/6 of the lifetime
    critical: timedelta | None = None  # None: 1/20
    minimum: timedelta | None = (
        None  # least remaining lifetime of an answer; None: 1/4 of what was asked for, at most 1 day
    )
    terms: tuple[LoaderFlags, ...] = ()  # of the processes that load it, where any has some; no part of the digest
    key_configured: bool = False  # `key` is configured: a certificate with another type of key differs
    uris: tuple[str, ...] | None = None  # URI SANs; None: the `crdb://` ones of the certificate before are kept
    roots: str = ""  # `ui`: a file of roots that verify it where there is no `ca-ui`; "": the system's

    def __hash__(self) -> int:
        return hash(self.name.stem)

    @cached_property
    def digest(self) -> str:
        """Changes exactly when something changes that an issuance would act on."""
        names = None if self.names is None else sorted(self.names)
        parts = (self.name.stem, names, self.principal, self.server, self.client, self.key, str(self.lifetime))
        parts += () if self.uris is None else (sorted(self.uris),)  # type: ignore[assignment]
        return sha256(repr(parts).encode()).hexdigest()

    def issued_in(self, directory: Directory) -> bool:
        """Whether an authority issues it there; else another tool renews it, if anything does."""
        return bool(self.authorities) and directory.managed


@dataclass(frozen=True, slots=True)
class ProcessRule:
    """How the owning processes are found, and whether they are reloaded."""

    names: tuple[str, ...] = ("cockroach",)
    pid_file: str = ""
    probe: tuple[tuple[str, int, Literal["sql", "http", "auto"]], ...] = ()
    reload: bool = True


@dataclass(frozen=True, slots=True)
class OcspRule:
    """What the cluster's `security.ocsp.mode` is, as the operator says, and how its responders are asked."""

    mode: Literal["off", "lax", "strict"] = "off"
    timeout: timedelta = timedelta(seconds=3)  # that of cockroach's security.ocsp.timeout
    crl: bool = True  # revocation lists where no responder decides
    min_interval: timedelta = timedelta(minutes=5)  # no certificate is asked about more often
    max_interval: timedelta = timedelta(hours=1)  # nor less often, however far off nextUpdate is
    allow_private: bool = False  # addresses that are not public may be asked, whoever names them
    configured: tuple[str, ...] = ()  # URLs that the configuration itself names: they may be anywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationRule:
    """How a change of the root that signs a node's pairs proceeds, and who has to take part in it."""

    peers: tuple[str, ...] | None = None  # host:port; (): this node is alone; None: by `peers_file`, else by --join
    peers_file: str = ""  # a file with one address a line
    soak: timedelta = timedelta(minutes=10)  # how long the first node serves the new pair before the others follow
    canary: bool = False  # this host is the first one; else the host of the lowest hash is
    outside_clients: bool = True  # clients of other hosts connect: their trust needs the word of a person


USUAL = frozenset({(), (LoaderFlags(),)})


@dataclass(frozen=True)
class Policy:
    """One `[[certs_dir]]` of the configuration, layout and defaults worked in."""

    path: str
    owner: Owner
    host: str  # its name; it seeds the jitter, too
    wants: tuple[Want, ...] = ()
    layout: Literal["standard", "split-node", "split-ca", "tenant", "client"] = "standard"
    enforce: Literal["repair", "report"] = "repair"
    on_exposed: Literal["report", "renew"] = "report"  # of a key that others could read again and again
    process: ProcessRule = ProcessRule()
    keep: int = 5  # generations
    terms: tuple[LoaderFlags, ...] = ()
    ocsp: OcspRule = OcspRule()
    rotation: RotationRule = RotationRule()
    machine: str = ""  # the machine-id, for the jitter: hosts that are made from one image may have one name
    since: datetime | None = field(default=None, compare=False)  # when the agent began to go by it; None: no agent does

    @cached_property
    def seed(self) -> str:
        """What tells this directory from every other one, on this host and elsewhere."""
        return f"{self.machine}\n{self.host}\n{self.path}"

    @property
    def renewed(self) -> tuple[Want, ...]:
        """The pairs that an authority issues, and renews."""
        return tuple(w for w in self.wants if w.authorities and not w.name.is_bundle)

    @cached_property
    def want(self) -> Callable[[str], Want | None]:
        """Given a stem, the want for that name."""
        return {w.name.stem: w for w in self.wants}.get

    @property
    def groups(self) -> frozenset[int]:
        """The groups that keys of root's are given to."""
        owners = (self.owner, *(w.key_owner for w in self.wants if w.key_owner))
        return frozenset(o.gid for o in owners if o.uid == 0)

    def repairs_in(self, directory: Directory) -> bool:
        """Whether modes of keys are repaired there, and not only reported; a wrong owner is only ever reported."""
        return self.enforce == "repair" and directory.managed

    @property
    def roots(self) -> str:
        """The file of roots that the DB Console's pair may verify by; "": the system's."""
        ui = self.want(UI.stem)
        return ui.roots if ui else ""

    @property
    def split(self) -> bool:
        """Whether `client.node` is wanted: then node.crt is a server's certificate alone."""
        return self.want(CLIENT_NODE.stem) is not None

    @cached_property
    def by_terms(self) -> "dict[tuple[LoaderFlags, ...], Policy]":
        """The same under the flags of the processes that run: every decision asks for it."""
        return {}

    @cached_property
    def bundles(self) -> frozenset[str]:
        """The stems of the trust bundles that are wanted."""
        return frozenset(w.name.stem for w in self.wants if w.name.is_bundle)


def under(policy: Policy, terms: tuple[LoaderFlags, ...]) -> Policy:
    """Given the terms of the processes that load the directory, return the policy that judges by each of them."""
    known = tuple(dict.fromkeys(terms))
    if known in USUAL:
        return policy
    found = policy.by_terms.get(known)
    if found is None:
        found = replace(policy, terms=known, wants=tuple(replace(w, terms=known) for w in policy.wants))
        policy.by_terms.clear()  # only the processes that run now are asked about again
        policy.by_terms[known] = found
    return found


def on_terms_of(policy: Policy, processes: tuple[Process, ...]) -> Policy:
    """The policy under the flags and the environment of the processes that were found; strangers have no say."""
    return under(policy, tuple(p.terms for p in processes if not p.strange))
