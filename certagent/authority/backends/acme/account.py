"""The ACME account: registered once, saved by directory URL in the authority's shared state, found again by its key.

The key is saved before the CA is told of it: an external account binding may serve only once, and after a crash the
same key finds the same account.
If a server has lost the account (in a lab), it is registered again with the same key. A rollover takes two requests:
the new key is saved before the CA is told, so that a crash in between cannot lose the account. That an account is to be
deactivated is saved before the CA is told, too: the next request then asks the CA whether it did it.
"""

from collections.abc import Iterable
from typing import Any

import requests
from acme import errors, jws, messages
from acme.client import ClientV2
from josepy.errors import DeserializationError
from josepy.jwa import ES256
from josepy.jwk import JWK

from certagent import x509
from certagent.authority.backends.acme.net import Document, Net
from certagent.authority.backends.acme.problems import mapped
from certagent.authority.context import Context
from certagent.authority.errors import AuthorityError

DEACTIVATING = "deactivating"  # in the saved state: an operator asked for it, and the CA has not answered yet


class Account:
    """One account at one directory; `client` signs with it."""

    def __init__(self, options: dict[str, Any], context: Context) -> None:
        """Fetch the directory; nothing is registered yet. Raises AuthorityError."""
        self.options, self.context = options, context
        url = options["directory_url"]
        self.entry: dict[str, Any] = context.state.shared.setdefault("accounts", {}).setdefault(url, {})
        self._saved = "key" in self.entry
        if not self._saved:
            self.entry["key"] = x509.generate_key("ecdsa-p256").decode()
        self.key = JWK.load(self.entry["key"].encode())
        self.net = Net(context.http, self.key, context.now)
        self.client = ClientV2(directory(self.net, url), self.net)
        self.nonces = self.client.directory["newNonce"]

    def post(self, url: str, fields: dict[str, Any] | None) -> requests.Response:
        """Signed by the account; None asks for the resource itself (POST-as-GET)."""
        return self.net.post(url, None if fields is None else Document(fields), new_nonce_url=self.nonces)

    def opened(self) -> "Account":
        """Registered, as the configuration says. Raises AuthorityError."""
        with mapped(self.net, "use the ACME account"):
            if "uri" in self.entry:
                self._use(self.entry["uri"])
            else:
                self._register()
            if self.entry.get("contact") != list(self.options["contact"]):
                self._update()
        return self

    def anew(self) -> "Account":
        """As `opened`, where the CA does not know the account that we remember."""
        self.entry.pop("uri", None)
        self.net.account = None
        return self.opened()

    def _use(self, uri: str) -> None:
        self.net.account = messages.RegistrationResource(uri=uri, body=messages.Registration())

    def _register(self) -> None:
        """The key is durable before the CA is told; one that was already may be that of an account, after a crash."""
        if self._saved and (uri := self._found()):
            self._use(uri)
            self.entry["uri"] = uri
            return
        meta = self.client.directory.meta
        terms = agreed(meta, accepted=self.options["terms_accepted"])
        asked = registration(meta, self.options["contact"], terms, self._binding())
        self.context.save()
        try:
            uri = self.client.new_account(asked).uri
        except errors.ConflictError as error:
            uri = error.location  # it exists already, under this key
        self._use(uri)
        self.entry["uri"], self.entry["contact"] = uri, list(self.options["contact"])

    def _found(self) -> str:
        """The account that the CA has for our key, "" where it does not say so: then it is asked for one."""
        try:
            return self._knows(self.key)
        except messages.Error:
            return ""

    def _binding(self) -> dict[str, Any] | None:
        kid, secret = self.options["eab_kid"], self.context.secrets.get("eab_key", "")
        if not (kid and secret):
            return None
        try:
            return messages.ExternalAccountBinding.from_data(
                self.key.public_key(), kid, secret.strip().rstrip("="), self.client.directory
            )
        except (ValueError, DeserializationError) as error:
            raise AuthorityError("cannot use eab_key: it is not base64url", kind="credentials") from error

    def _update(self) -> None:
        """The contacts of the configuration are those of the account."""
        self.post(self.entry["uri"], {"contact": list(self.options["contact"])})
        self.entry["contact"] = list(self.options["contact"])

    def deactivate(self) -> str:
        """Deactivate the account permanently; the next request would register a new one with a new key.

        An account that the CA does not take any more is forgotten: it was deactivated before.
        """
        with mapped(self.net, "deactivate the ACME account"):
            uri = self._existing()
            self.entry[DEACTIVATING] = True
            self.context.save()
            done = "is deactivated" if self._taken(uri, {"status": "deactivated"}) else "was deactivated before"
        self.entry.clear()
        return f"{uri} {done}"

    def is_dead(self) -> bool:
        """Whether the CA deactivated the account, and the agent ended before it heard so: then it is forgotten."""
        if DEACTIVATING not in self.entry:
            return False
        with mapped(self.net, "use the ACME account"):
            found = self._taken(self._existing(), None)
            dead = found is None or found.json().get("status") in {"deactivated", "revoked"}
        self.entry.pop(DEACTIVATING)
        if dead:
            self.entry.clear()
        return dead

    def _taken(self, uri: str, fields: dict[str, Any] | None) -> requests.Response | None:
        """The answer to a request of the account about itself; None where the CA takes none of it any more."""
        try:
            return self.post(uri, fields)
        except messages.Error as error:
            if error.code in {"unauthorized", "accountDoesNotExist"}:
                return None
            raise

    def _existing(self) -> str:
        if "uri" not in self.entry:
            raise AuthorityError("cannot find an account: none is registered yet", kind="refused")
        self._use(self.entry["uri"])
        return str(self.entry["uri"])

    def prepare(self) -> None:
        """Make the next key, and only remember it."""
        self.entry.setdefault("next_key", x509.generate_key("ecdsa-p256").decode())

    def roll_over(self) -> str:
        """Give the account the key that was prepared (RFC 8555, section 7.3.5); a second time it is only noticed."""
        uri = self._existing()
        fresh = JWK.load(self.entry["next_key"].encode())
        with mapped(self.net, "roll over the account key"):
            if self._knows(fresh) != uri:
                self._change(uri, fresh)
        self.entry["key"] = self.entry.pop("next_key")
        return f"{uri} has a new key"

    def _knows(self, key: JWK) -> str:
        """The account of a key, "" if there is none."""
        net = Net(self.context.http, key, self.context.now)
        try:
            asked = Document({"onlyReturnExisting": True})
            answer = net.post(self.client.directory["newAccount"], asked, new_nonce_url=self.nonces)
        except messages.Error as error:
            if error.code != "accountDoesNotExist":
                raise
            return ""
        return str(answer.headers.get("Location", ""))

    def _change(self, uri: str, fresh: JWK) -> None:
        url = self.client.directory["keyChange"]
        payload = Document({"account": uri, "oldKey": self.key.public_key().to_partial_json()})
        inner = jws.JWS.sign(payload.json_dumps().encode(), key=fresh, alg=ES256, nonce=None, url=url)
        self.net.post(url, inner, new_nonce_url=self.nonces)


def agreed(meta: messages.Directory.Meta, *, accepted: bool) -> bool | None:
    """Whether the CA's terms are agreed to; None where it has none. Raises AuthorityError where they are not."""
    if not meta.terms_of_service:
        return None
    if not accepted:
        raise AuthorityError(
            f"cannot register: read {str(meta.terms_of_service)[:200]} and set terms_accepted = true", kind="refused"
        )
    return True


def registration(
    meta: messages.Directory.Meta, contact: Iterable[str], terms: bool | None, binding: dict[str, Any] | None
) -> messages.NewRegistration:
    """Given what the CA demands and what we have, return the account to ask for. Raises AuthorityError."""
    if meta.external_account_required and binding is None:
        raise AuthorityError(
            "cannot register: this CA requires external account binding; set eab_kid and eab_key", kind="credentials"
        )
    return messages.NewRegistration(
        contact=tuple(contact), terms_of_service_agreed=terms, external_account_binding=binding
    )


def directory(net: Net, url: str) -> messages.Directory:
    """What the server offers. Raises AuthorityError."""
    net.configured = url
    with mapped(net, f"read the ACME directory {url}"):
        found = ClientV2.get_directory(url, net)
        for name in ("newNonce", "newAccount", "newOrder"):
            if not isinstance(found[name], str):
                raise AuthorityError(f"cannot use {url}: it is not an ACME directory", kind="malformed")
        return found
