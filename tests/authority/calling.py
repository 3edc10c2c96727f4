"""Asking a backend in process, as its worker does."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from certagent import x509
from certagent.authority.backends.http import Http
from certagent.authority.context import Context
from certagent.authority.messages import Request, State, Tls

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NAMES = ("db1.example.com", "10.0.0.5")


def key_and_csr(kind: str = "ecdsa-p256", cn: str = "node", names: tuple[str, ...] = NAMES) -> tuple[bytes, bytes]:
    key = x509.generate_key(kind)
    return key, x509.make_csr(key, cn, names)


def request(kind: str, options: dict[str, Any], csr: bytes = b"", **changes: Any) -> Request:
    """An issuance of `node` unless changed."""
    made = Request("issue", kind, options, stem="node", csr=csr.decode(), names=NAMES, principal="node")
    return replace(made, server=True, client=True, timeout=20.0, **changes)


def context(tls: Tls | None = None, *, state: State | None = None, timeout: float = 20.0, **secrets: str) -> Context:
    return Context(secrets, state or State(), Http(tls or Tls(), timeout), lambda: NOW)
