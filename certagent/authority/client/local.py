"""The embedded CA as an authority: files on this host, used in the agent's own jobs."""

from datetime import datetime

from certagent.authority.backends.local import LocalAuthority
from certagent.authority.client.interface import Order
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Pending, Renewal
from certagent.config import LocalConfig
from certagent.core.facts import Authority


class Embedded:
    """The CA of this host."""

    may_defer, common_name, endpoint = False, True, False

    def __init__(self, name: str, config: LocalConfig) -> None:
        """Touches nothing."""
        c = config
        self._name, self._directory = name, c.directory
        self._ca = LocalAuthority(c.directory, c.create, c.lifetime, c.ca_lifetime, c.key, c.ca_cert, c.ca_key, c.urls)

    @property
    def pinned(self) -> bool:
        """Once it exists."""
        return self._ca.exists()

    @property
    def files(self) -> tuple[str, ...]:
        """Its directory."""
        return (self._directory,)

    def challenge(self) -> str:
        """It wants none."""
        return ""

    def fact(self) -> Authority:
        """Its roots where it exists already; asking never makes it."""
        try:
            return Authority(self._name, "local", self._ca.known_roots())
        except AuthorityError as error:
            return Authority(self._name, "local", (), str(error))

    def bundle(self, certs_dir: str, stem: str, now: datetime) -> bytes:  # noqa: ARG002 - the same for every bundle
        """Its certificates."""
        self._ca.ensure(now)
        return self._ca.roots()

    def issue(self, order: Order, now: datetime) -> bytes | Pending:
        """Signed here."""
        self._ca.ensure(now)
        return self._ca.issue(order.csr, now, server=order.server, client=order.client, lifetime=order.lifetime)

    def renewal(self, certs_dir: str, stem: str, live: bytes, now: datetime) -> Renewal:  # noqa: ARG002 - it has none
        """It has no wishes."""
        raise AuthorityError("the embedded CA has no renewal information", kind="refused")
