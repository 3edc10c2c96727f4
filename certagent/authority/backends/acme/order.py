"""One order from wherever it stands to its certificate: pending -> ready -> processing -> valid.

What an order needs next is read from its status, never remembered: an order that a request left waiting is taken up
by the next one. Polling follows the CA's Retry-After within the request's patience; then the answer is Pending.
"""

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from acme import messages
from requests.utils import parse_header_links

from certagent import x509
from certagent.authority.backends.acme.account import Account
from certagent.authority.backends.acme.limits import Failures
from certagent.authority.backends.acme.options import Options, identifier
from certagent.authority.backends.acme.polling import Patience, pauses
from certagent.authority.backends.acme.problems import mapped, printable
from certagent.authority.backends.acme.proving import count_failed, prove
from certagent.authority.context import Context
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Pending, Request
from certagent.core.words import framed

AGAIN = timedelta(seconds=30)
MARGIN = 3.0  # of the request's time, for the last answers
MOST_CHAINS = 8
WAITS = {"pending", "processing"}


class Order:
    """An order of an account; `url` names it."""

    def __init__(self, account: Account, request: Request, context: Context) -> None:
        """Asks nothing yet."""
        self.account, self.request, self.context = account, request, context
        self.options = Options.of(request.options)
        self.memory = context.state.own
        self.patience = Patience(min(self.options.patience, max(context.http.left() - MARGIN, 1.0)))
        self.url = ""
        self.body = messages.Order()

    def certificate(self) -> list[str] | Pending:
        """The CA's chains, the default one first; or Pending where the CA takes its time. Raises AuthorityError.

        After the CA's refusal the next request starts again. An order whose CA was not reached any more, or that waits,
        is taken up.
        """
        try:
            with mapped(self.account.net, "order a certificate"):
                self._advance()
                if self._status() != "valid":
                    return self._pending()
                chains = self._download()
        except AuthorityError as error:
            if error.kind != "unreachable":
                self.memory.clear()
            raise
        self.memory.clear()
        return chains

    def _advance(self) -> None:
        """As far as the patience goes."""
        if not self._resume():
            self._begin()
        if self._status() == "pending":
            prove(self.account, list(self.body.authorizations), self._names(), self.context, self.patience)
            self._look()
            self._look_until({"ready", "processing", "valid"})
        if self._status() == "ready":
            self._finalize()
        self._look_until({"valid"})

    def _status(self) -> str:
        return str(self.body.status.name)

    def _wants(self) -> list[dict[str, str]]:
        return sorted((identifier(n) for n in self.request.names), key=lambda i: (i["type"], i["value"]))

    def _names(self) -> frozenset[str]:
        """What is validated: for a wildcard its domain."""
        return frozenset(i["value"].removeprefix("*.") for i in self._wants())

    def _csr(self) -> str:
        return sha256(self.request.csr.encode()).hexdigest()

    def _resume(self) -> bool:
        """Take up the order that the last request left, if it is for the same names and still of use."""
        url = self.memory.get("order")
        if not url or self.memory.get("csr") != self._csr():
            self.memory.clear()
            return False
        self.url = url
        try:
            self._look()
        except messages.Error:
            self.memory.clear()
            return False
        if self._status() in {"pending", "ready", "processing", "valid"}:
            return True
        self.memory.clear()
        count_failed(self.account, list(self.body.authorizations), self._names(), self.context)
        return False

    def _begin(self) -> None:
        """A new order; where the CA does not take `replaces`, without it."""
        offered = self.account.client.directory.meta.profiles or {}
        if not self.request.forced:
            limits = Failures(self.context.state.shared, self.options.directory_url, self.context.now())
            limits.check(self._names())
        fields = wish(self._wants(), self.options.profile, offered, self.request.lifetime, self.context.now())
        replaced = self._replaces()
        try:
            answer = self._new({**fields, **replaced})
        except messages.Error as error:
            if not (replaced and without_it(error)):
                raise
            answer = self._new(fields)
        self.url = str(answer)
        self.memory["order"], self.memory["csr"] = self.url, self._csr()
        self.context.save()  # a crash from here on costs no second certificate: the next request takes the order up

    def _new(self, fields: dict[str, Any]) -> str:
        answer = self.account.post(self.account.client.directory["newOrder"], fields)
        self.body = messages.Order.from_json(answer.json())
        return str(answer.headers["Location"])

    def _replaces(self) -> dict[str, str]:
        """RFC 9773, section 5: which certificate this one follows."""
        if not self.options.ari or not self.request.live or "renewalInfo" not in directory_fields(self.account):
            return {}
        try:
            return {"replaces": x509.renewal_id(self.request.live.encode())}
        except x509.X509Error:
            return {}

    def _look(self) -> None:
        self.body = messages.Order.from_json(self.account.post(self.url, None).json())

    def _look_until(self, wanted: set[str]) -> None:
        """Poll until the order is as wanted, or the patience is over; an order that failed raises."""
        for pause in pauses():
            if reached(self.body, wanted):
                return
            asked = asked_for(self._status(), self.account.net.retry_at, self.context.now())
            if not self.patience.wait(max(pause, asked)):
                return
            self._look()

    def _finalize(self) -> None:
        der = b64decode("".join(self.request.csr.split("-----")[2].split()))
        text = urlsafe_b64encode(der).decode().rstrip("=")
        answer = self.account.post(self.body.finalize, {"csr": text})
        self.body = messages.Order.from_json(answer.json())

    def _pending(self) -> Pending:
        at = self.account.net.retry_at or self.context.now() + AGAIN
        return Pending(at.timestamp(), f"the order is {self._status()}; the CA has not finished yet")

    def _download(self) -> list[str]:
        if not self.body.certificate:
            raise AuthorityError("cannot get the certificate: the order has no certificate URL", kind="malformed")
        first = self.account.post(self.body.certificate, None)
        links = parse_header_links(first.headers.get("Link", ""))
        others = [str(link["url"]) for link in links if link.get("rel") == "alternate" and "url" in link]
        wanted = others[:MOST_CHAINS] if self.options.preferred_chain else []
        return [first.text, *(self.account.post(url, None).text for url in wanted)]


def wish(
    wants: list[dict[str, str]], profile: str, offered: Collection[str], lifetime: float | None, now: datetime
) -> dict[str, Any]:
    """What is asked for in a new order. Raises AuthorityError for a profile that the CA does not offer."""
    if profile and profile not in offered:
        has = framed(printable(", ".join(sorted(offered)))) or "none"
        raise AuthorityError(f"cannot order profile {profile!r}: the CA's profiles are: {has}", kind="refused")
    fields: dict[str, Any] = {"identifiers": wants}
    if profile:
        fields["profile"] = profile
    if lifetime:
        until = now.astimezone(UTC) + timedelta(seconds=lifetime)
        fields["notAfter"] = until.strftime("%Y-%m-%dT%H:%M:%SZ")
    return fields


def without_it(problem: messages.Error) -> bool:
    """Whether an order that said what it replaces may be made without that: not where it is about ourselves."""
    return problem.code not in {"rateLimited", "accountDoesNotExist"}


def reached(order: messages.Order, wanted: set[str]) -> bool:
    """Given an order and the statuses to wait for, return whether it has one; raises where it failed.

    Raises AuthorityError, or the problem that the CA names as a messages.Error.
    """
    status = str(order.status.name)
    if status in wanted:
        return True
    if status in {*WAITS, "ready"}:
        return False
    if order.error is not None:
        raise order.error
    raise AuthorityError(f"cannot get the certificate: the order is {status}", kind="failed")


def asked_for(status: str, retry_at: datetime | None, now: datetime) -> float:
    """Seconds that the CA asks to wait: its Retry-After counts while it works on the certificate itself."""
    return (retry_at - now).total_seconds() if retry_at and status == "processing" else 0.0


def directory_fields(account: Account) -> dict[str, Any]:
    """The directory as a mapping."""
    fields: dict[str, Any] = account.client.directory.to_partial_json()
    return fields
