"""Asking a backend in this process, as a worker would: what the tests of ACME share."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from certagent import x509
from certagent.authority.backends.acme import ask
from certagent.authority.backends.http import Http
from certagent.authority.context import Context
from certagent.authority.messages import Answer, Request, State, Tls
from certagent.config.remote import ca_type


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Client:
    """One authority of type `acme`: its options, secrets and memory; each question is one worker's."""

    directory_url: str
    ca: str = ""  # PEM; "": the system's
    options: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)
    proxy: str = ""
    csr: str = ""
    key: bytes = field(default_factory=lambda: x509.generate_key("ecdsa-p256"))

    def ask(self, operation: Any, names: tuple[str, ...] = (), **fields: Any) -> Answer:
        """Ask; raises AuthorityError. With `again=True` by the CSR that was asked with before."""
        values = {name: s.default for name, s in ca_type("acme").settings.items() if not s.secret}
        given = values | {"directory_url": self.directory_url} | self.options
        if names and not fields.pop("again", False):
            self.csr = x509.make_csr(self.key, None, names).decode()
        csr = self.csr if names else ""
        request = Request(
            operation, "acme", given, Tls(roots=self.ca, proxy=self.proxy), csr=csr, names=names, **fields
        )
        context = Context(self.secrets, State(self.shared, self.own), Http(request.tls, request.timeout), now)
        return ask(request, context)
