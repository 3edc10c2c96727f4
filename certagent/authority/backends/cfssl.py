"""CFSSL: authsign, a request with an HMAC by a key that host and CA share; `info` for the certificate of the CA.

The server returns the leaf only, so an intermediate is fetched separately; it does not offer a root above an
intermediate. The profile decides lifetime and extended key usage; the request cannot change them.
"""

import hmac
import json
from base64 import b64encode
from contextlib import suppress
from datetime import datetime
from typing import Any

from certagent.authority.backends.http import CLIENT_ERRORS, LONGEST, Reply, below, refusal
from certagent.authority.backends.pem import certificates, chain
from certagent.authority.context import Context
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Answer, Issued, Request, Roots
from certagent.authority.redaction import hide, shown
from certagent.core.words import framed

OK = 200


def ask(request: Request, context: Context) -> Answer:
    """Given a request, return CFSSL's answer. Raises AuthorityError."""
    if request.operation == "roots":
        return Roots("".join(certificates([_info(request, context)])))
    if request.operation != "issue":
        raise AuthorityError(f"cannot ask CFSSL for {request.operation}: it does not offer this", kind="refused")
    body = sealed(request, context.secrets["auth_key"])
    signed = _post(request, context, "authsign", "get a certificate", body)
    above: list[Any] = []
    with suppress(AuthorityError):  # may be switched off; the pre-install checks refuse a gap
        above.append(_info(request, context))
    return Issued(chain([signed.get("certificate"), *above]))


def sealed(request: Request, auth_key: str) -> dict[str, str]:
    """The request, and its HMAC-SHA-256 by the shared key: the provider `standard`. Raises AuthorityError."""
    try:
        key = bytes.fromhex(auth_key.strip())
    except ValueError:
        raise AuthorityError("cannot use auth_key: it is not hex", kind="credentials") from None
    asked = {"certificate_request": request.csr, **_place(request)}
    payload = json.dumps(asked).encode()
    token = b64encode(hmac.digest(key, payload, "sha256")).decode()
    hide(token)
    return {"token": token, "request": b64encode(payload).decode()}


def _place(request: Request) -> dict[str, str]:
    """Profile and label, where they are configured."""
    return {name: request.options[name] for name in ("profile", "label") if request.options[name]}


def _info(request: Request, context: Context) -> Any:
    place = {"label": "", "profile": "", **_place(request)}
    return _post(request, context, "info", "fetch the CA's certificate", place).get("certificate")


def _post(request: Request, context: Context, endpoint: str, what: str, body: Any) -> dict[str, Any]:
    """The result of a success. Raises AuthorityError."""
    url = below(request.options["url"], "/api/v1/cfssl")
    reply = context.http.request("POST", f"{url}/{endpoint}", document=body)
    return result(reply, what, context.now())


def result(reply: Reply, what: str, now: datetime) -> dict[str, Any]:
    """Given an answer and what was asked, return the result of a success. Raises AuthorityError."""
    document = _document(reply)
    if reply.status != OK or document.get("success") is not True:
        raise _refusal(reply, what, document, now)
    found = document.get("result")
    if not isinstance(found, dict):
        raise AuthorityError(f"cannot read the answer of {reply.url}: it has no result", kind="malformed")
    return found


def _document(reply: Reply) -> dict[str, Any]:
    """The JSON object of an answer; an empty one for an error without JSON."""
    try:
        document = reply.json()
    except AuthorityError:
        if reply.status == OK:
            raise
        document = None
    return document if isinstance(document, dict) else {}


def _refusal(reply: Reply, what: str, document: dict[str, Any], now: datetime) -> AuthorityError:
    """A bad token is HTTP 400 like everything else; its text alone tells it apart."""
    listed = document.get("errors")
    errors = [e for e in listed if isinstance(e, dict)] if isinstance(listed, list) else []
    reason = shown("; ".join(f"{e.get('message')} ({e.get('code')})" for e in errors[:5]), LONGEST)
    if "token" in reason:
        message = f"cannot {what}: {reply.url} answered {reply.status}: {framed(reason)}; see auth_key"
        return AuthorityError(message, kind="credentials")
    if reply.status == OK or (reply.status in CLIENT_ERRORS and reason):
        why = framed(reason) or "no success"
        message = f"cannot {what}: {reply.url} answered {reply.status}: {why}; see profile and label"
        return AuthorityError(message, kind="refused")
    return refusal(reply, what, now, reason)
