"""The interface of an authority for the agent's jobs, whatever its type."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from certagent.authority.contact import Contact
from certagent.authority.messages import Pending, Renewal
from certagent.core.facts import Authority
from certagent.core.policy import Want


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for: one leaf of one certs-dir."""

    certs_dir: str
    stem: str
    csr: bytes
    names: tuple[str, ...]
    principal: str
    server: bool
    client: bool
    lifetime: timedelta | None
    live: bytes = b""  # the live certificate and its chain
    forced: bool = False  # an operator wants no pause that follows failures
    told: Callable[[Contact], None] | None = None  # hears how far the request has come, before the answer

    @classmethod
    def of(cls, certs_dir: str, want: Want, names: tuple[str, ...], csr: bytes, live: bytes) -> "Order":
        """What a want asks for; `names` may be more than are configured."""
        principal = want.principal or ""
        return cls(certs_dir, want.name.stem, csr, names, principal, want.server, want.client, want.lifetime, live)


class CertificateAuthority(Protocol):
    """What the jobs ask. Every method but `fact` raises AuthorityError; each may wait for its files."""

    @property
    def may_defer(self) -> bool:
        """Whether it may answer later: then the key is kept before it is asked."""

    @property
    def common_name(self) -> bool:
        """Whether its requests carry a common name: public CAs refuse one that is not also a SAN."""

    @property
    def endpoint(self) -> bool:
        """Whether the agent asks an endpoint itself, by HTTPS."""

    @property
    def pinned(self) -> bool:
        """Whether its roots are known without believing anybody: pinned, or an embedded CA that exists."""

    @property
    def files(self) -> tuple[str, ...]:
        """What it reads, each by its path: another machine may hold it."""

    def challenge(self) -> str:
        """A challengePassword for the request itself, as SCEP has it; "": none."""

    def fact(self) -> Authority:
        """What is known of it without asking."""

    def bundle(self, certs_dir: str, stem: str, now: datetime, *, first: bool, known: bytes = b"") -> bytes:
        """The roots for a bundle, as PEM: its own, or pinned ones.

        `first`: nothing shows that its CA existed before, so an embedded one may be made. `known`: the bundle that is
        there already.
        """

    def issue(self, order: Order, now: datetime) -> bytes | Pending:
        """The leaf and its chain as PEM, or that the answer comes later."""

    def delivered(self, certs_dir: str, stem: str) -> None:
        """What was issued is staged: it need not be found again at the CA."""

    def renewal(self, certs_dir: str, stem: str, live: bytes, now: datetime) -> Renewal:
        """When it wants the live leaf renewed."""
