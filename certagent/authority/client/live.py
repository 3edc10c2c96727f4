"""The live key as a credential: a token that the agent signs with it, where a CA wants proof of possession."""

import importlib
import secrets
from datetime import datetime
from typing import Any

from certagent import keys, x509
from certagent.authority.client.interface import Order
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Request
from certagent.certs_dir import read_live, read_live_key


def live_key(order: Order) -> bytes:
    """The live key of the pair that is asked for, for a worker that shows it to the CA. Raises AuthorityError."""
    try:
        return read_live(order.certs_dir, f"{order.stem}.key")
    except OSError as error:
        raise AuthorityError(f"cannot read {order.stem}.key: {error.strerror}", kind="credentials") from error


def _opened(order: Order) -> keys.Key:
    """The same without its bytes."""
    try:
        return read_live_key(order.certs_dir, f"{order.stem}.key")
    except OSError as error:
        raise AuthorityError(f"cannot read {order.stem}.key: {error.strerror}", kind="credentials") from error


def proof_of(module: str, request: Request, order: Order, now: datetime) -> str:
    """A token signed with the live key, where the backend wants one; `module`: of its tokens, "" for none.

    Raises AuthorityError where the key cannot sign.
    """
    wanted = _wanted(module, request, now) if order.live and module else None
    if wanted is None:
        return ""
    try:
        return keys.proof(_opened(order), *wanted)
    except x509.X509Error as error:
        raise AuthorityError(f"cannot sign with {order.stem}.key: {error}", kind="credentials") from error


def _wanted(module: str, request: Request, now: datetime) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Header and claims of the token that the backend wants: most want none."""
    backend = importlib.import_module(f"certagent.authority.backends.{module}")
    token: tuple[dict[str, Any], dict[str, Any]] | None = backend.live_token(request, now, secrets.token_hex(16))
    return token
