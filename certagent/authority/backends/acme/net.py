"""The acme library's signing and nonces over certagent's HTTPS client: pins, size limits, a deadline, no redirects.

The library repeats a request once if its nonce was refused; a strict server, or several servers behind one name, refuse
several in a row.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

import requests
from acme import messages
from acme.client import ClientNetwork
from josepy.interfaces import JSONDeSerializable
from josepy.jwa import ES256, RS256
from josepy.jwk import JWK
from requests.structures import CaseInsensitiveDict

from certagent.authority.backends.http import Http, Reply, refusal, retry_after
from certagent.authority.errors import AuthorityError
from certagent.authority.redaction import hide

NONCES = 12
BAD, CONFLICT = 400, 409
ALGORITHMS = {"EC": ES256, "RSA": RS256}


class Document(JSONDeSerializable):
    """A payload that the library has no message for (`replaces`), or only one that wants parsed objects (a CSR)."""

    def __init__(self, fields: dict[str, Any]) -> None:
        """`fields` are sent as they are."""
        self.fields = fields

    def to_partial_json(self) -> dict[str, Any]:
        """The fields."""
        return self.fields

    @classmethod
    def from_json(cls, jobj: Any) -> "Document":
        """The other way round."""
        return cls(dict(jobj))


class Net(ClientNetwork):
    """Requests of one account. `retry_at` is the Retry-After of the last answer.

    `configured`: the only URL that is not the CA's own text.
    """

    def __init__(self, http: Http, key: JWK | None, now: Callable[[], datetime]) -> None:
        """Without a key only GET is possible."""
        kind = str(key.to_partial_json()["kty"]) if key else "EC"
        super().__init__(key, alg=ALGORITHMS[kind], user_agent="certagent")
        self._http, self._now = http, now
        self.retry_at: datetime | None = None
        self.configured = ""

    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        del args
        body = kwargs.get("data")
        body = body.encode() if isinstance(body, str) else body
        _hide(body)
        reply = self._http.request(
            method, url, body=body, headers=kwargs.get("headers"), named_by_ca=url != self.configured
        )
        self.retry_at = retry_after(reply, self._now())
        if reply.status >= BAD and not _problem(reply):  # an answer of a proxy in front of the CA
            raise refusal(reply, "ask the ACME server", self._now())
        response = requests.Response()
        response.status_code, response.url, response.encoding = reply.status, url, "utf-8"
        response.headers = CaseInsensitiveDict(reply.headers)
        response._content = reply.body  # the library reads responses of requests
        return response

    @classmethod
    def _check_response(cls, response: requests.Response, content_type: str | None = None) -> requests.Response:
        """The library's check; a conflict keeps its problem document (`alreadyReplaced`)."""
        if response.status_code == CONFLICT and b'"type"' in response.content:
            raise messages.Error.from_json(response.json())
        return super()._check_response(response, content_type)

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Sign and send; a refused nonce is replaced by a fresh one, a dozen times."""
        for _ in range(NONCES - 1):
            try:
                return self._post_once(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
                self._nonces.clear()
        return self._post_once(*args, **kwargs)


def _hide(body: bytes | None) -> None:
    """No message repeats what was signed by the account's key, whole or its signature."""
    with suppress(ValueError):
        document = json.loads(body or b"null")
        if isinstance(document, dict):
            hide(str(document.get("signature", "")), (body or b"").decode())


def _problem(reply: Reply) -> bool:
    """Whether it is a problem document of ACME: only those have types that say who can act."""
    with suppress(AuthorityError):
        document = reply.json()
        return isinstance(document, dict) and str(document.get("type")).startswith("urn:")
    return False
