"""Asking a backend in this process, against a real server: what the worker does, without its walls."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from certagent import x509
from certagent.authority.backends.http import Http
from certagent.authority.context import Context
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Answer, Issued, Request, Roots, State, Tls
from certagent.config import remote
from certagent.core.facts import Leaf

NAMES = ("localhost", "127.0.0.1")


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Asker:
    """One authority as the configuration would have it; what it remembers stays in `state`."""

    type: str
    options: Mapping[str, Any]
    secrets: dict[str, str] = field(default_factory=dict)
    tls: Tls = field(default_factory=Tls)
    state: State = field(default_factory=State)
    timeout: float = 30.0

    def with_defaults(self) -> dict[str, Any]:
        found = remote.ca_type(self.type).settings
        return {k: s.default for k, s in found.items() if not s.secret} | dict(self.options)

    def request(self, operation: Any, **fields: Any) -> Request:
        return Request(operation, self.type, self.with_defaults(), self.tls, timeout=self.timeout, **fields)

    def ask(self, request: Request) -> Answer:
        context = Context(self.secrets, self.state, Http(request.tls, request.timeout), now)
        answer: Answer = import_module(f"certagent.authority.backends.{self.type}").ask(request, context)
        return answer

    def node(self, key: bytes = b"", names: tuple[str, ...] = NAMES, **fields: Any) -> Request:
        """A request for a node's certificate."""
        asked = {"principal": "node", "server": True, "client": True, "stem": "node", **fields}
        common_name = asked["principal"] or (names[0] if names else None)
        unit = asked.pop("unit", "")
        csr = x509.make_csr(key or x509.generate_key("ecdsa-p256"), common_name, names, unit=unit)
        return self.request("issue", csr=csr.decode(), names=names, **asked)

    def issue(self, key: bytes = b"", names: tuple[str, ...] = NAMES, **fields: Any) -> str:
        """The chain that it answers with."""
        answer = self.ask(self.node(key, names, **fields))
        assert isinstance(answer, Issued), answer
        return answer.chain

    def roots(self) -> list[Leaf]:
        answer = self.ask(self.request("roots"))
        assert isinstance(answer, Roots), answer
        return list(x509.parse_certificates(answer.pem.encode()))

    def refusal(self, request: Request | None = None) -> AuthorityError:
        """The error that it answers with."""
        with pytest.raises(AuthorityError) as caught:
            self.ask(request or self.node())
        assert str(caught.value).startswith("cannot ")
        assert not [s for s in self.secrets.values() if s.strip() and s.strip() in str(caught.value)]
        return caught.value


def facts(chain: str) -> list[Leaf]:
    return list(x509.parse_certificates(chain.encode()))


def trusted(ca: Path) -> Tls:
    return Tls(roots=ca.read_text())
