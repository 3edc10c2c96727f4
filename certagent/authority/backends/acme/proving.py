"""Authorizations: validate the names by the configured challenge."""

import os
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, Self

from acme import messages

from certagent.authority.backends.acme.account import Account
from certagent.authority.backends.acme.alpn import Alpn
from certagent.authority.backends.acme.limits import Failures, told
from certagent.authority.backends.acme.listening import inherited
from certagent.authority.backends.acme.options import Options, identifier
from certagent.authority.backends.acme.polling import Patience, pauses
from certagent.authority.backends.acme.problems import error_of, printable
from certagent.authority.backends.acme.web import Standalone, Webroot
from certagent.authority.context import Context
from certagent.authority.errors import AuthorityError, Kind
from certagent.core.words import framed


class ValidationFailedError(AuthorityError):
    """The CA did not find the challenge answered."""

    def __init__(self, message: str, name: str, *, kind: Kind, retry_at: datetime | None = None) -> None:
        """`name`: what was validated."""
        super().__init__(message, kind=kind, retry_at=retry_at)
        self.name = name


class Responder(AbstractContextManager["Responder"], Protocol):
    """Whatever answers challenges while its `with` block lasts."""

    def __enter__(self) -> Self:
        """Begin."""

    def present(self, name: str, token: str, authorization: str) -> None:
        """Answer for one more name."""

    def ready(self, patience: Patience) -> None:
        """Return when a CA would see it, or the patience is over."""


def responder(options: Options, dns_key: str, sockets: Mapping[str, int]) -> Responder:
    """The one that the configuration asks for; a TSIG key and systemd's sockets are for those that need them."""
    if options.challenge == "http-01":
        return Webroot(options) if options.webroot else Standalone(options, sockets)
    if options.challenge == "tls-alpn-01":
        return Alpn(options, sockets)
    from certagent.authority.backends.acme.dns01 import Hook, Update

    return Hook(options) if options.dns_hook else Update(options, dns_key)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to prove a name."""

    kind: str
    url: str
    token: str
    status: str
    problem: messages.Error | None


@dataclass(frozen=True, slots=True)
class Authorization:
    """One name, and the ways to prove it. Read here: the library knows no tls-alpn-01 any more."""

    name: str
    status: str
    challenges: tuple[Challenge, ...]

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Authorization":
        """Raises KeyError, TypeError, DeserializationError."""
        found = tuple(_challenge(c) for c in document["challenges"] if "token" in c)
        return cls(str(document["identifier"]["value"]), str(document["status"]), found)


def _challenge(document: dict[str, Any]) -> Challenge:
    problem = messages.Error.from_json(document["error"]) if document.get("error") else None
    kind, url, token, status = (str(document[key]) for key in ("type", "url", "token", "status"))
    return Challenge(kind, url, token, status, problem)


def prove(account: Account, urls: list[str], names: frozenset[str], context: Context, patience: Patience) -> None:
    """Answer every authorization that is pending, and wait until none is; only for `names`, which were asked for.

    Raises AuthorityError, messages.Error.
    """
    options = Options.of(account.options)
    waiting = {url: found for url in urls if (found := _fetch(account, url, names)).status == "pending"}
    if not waiting:
        return
    chosen = [_chosen(found, options.challenge) for found in waiting.values()]
    print_of_key = urlsafe_b64encode(account.key.thumbprint()).decode().rstrip("=")
    dns_key = context.secrets.get("dns_key", "")
    with responder(options, dns_key, inherited(os.environ)) as answering:
        for found, challenge in zip(waiting.values(), chosen, strict=True):
            answering.present(found.name, challenge.token, f"{challenge.token}.{print_of_key}")
        answering.ready(patience)
        for challenge in chosen:
            if challenge.status == "pending":
                account.post(challenge.url, {})
        failed = [error for url in waiting if (error := _failure(account, url, options, names, patience))]
    _count(failed, account, context)


def _failure(
    account: Account, url: str, options: Options, names: frozenset[str], patience: Patience
) -> "ValidationFailedError | None":
    """Why an authorization failed, if it did."""
    try:
        _settled(account, url, options, names, patience)
    except ValidationFailedError as error:
        return error
    return None


def count_failed(account: Account, urls: list[str], names: frozenset[str], context: Context) -> None:
    """Count the validations that failed after the request for them had ended. Raises AuthorityError, messages.Error."""
    failures = Failures(context.state.shared, account.options["directory_url"], context.now())
    for found in (_fetch(account, url, names) for url in urls):
        if found.status == "invalid":
            failures.add(identifier(found.name)["value"])


def _count(failed: "list[ValidationFailedError]", account: Account, context: Context) -> None:
    """Remember each failure, and raise the first; with the CA's limit reached it says when the next is useful."""
    if not failed:
        return
    failures = Failures(context.state.shared, account.options["directory_url"], context.now())
    for error in failed:
        failures.add(error.name)
    raise reported([(error, failures.until(error.name)) for error in failed])


def reported(failed: Sequence[tuple[ValidationFailedError, datetime | None]]) -> ValidationFailedError:
    """Given failures, each with the time until which the CA's limit forbids its name, return the one to report.

    It is the one whose limit ends last, and says so; the first one where no limit is reached.
    """
    limits = [(at, error) for error, at in failed if at]
    if not limits:
        return failed[0][0]
    at, error = max(limits, key=lambda limit: limit[0])
    retry_at = max(at, error.retry_at or at)
    return ValidationFailedError(f"{error}; {told(at)}", error.name, kind=error.kind, retry_at=retry_at)


def _fetch(account: Account, url: str, names: frozenset[str]) -> Authorization:
    """Fetch an authorization. A name that was not ordered is refused: its challenge could serve another order."""
    found = Authorization.of(account.post(url, None).json())
    if identifier(found.name)["value"] not in names:
        raise AuthorityError(
            f"cannot validate {framed(printable(found.name))}: the name was not ordered", kind="malformed"
        )
    return found


def _chosen(found: Authorization, kind: str) -> Challenge:
    for challenge in found.challenges:
        if challenge.kind == kind:
            return challenge
    has = framed(", ".join(sorted(printable(c.kind) for c in found.challenges))) or "nothing"
    raise AuthorityError(
        f"cannot validate {printable(found.name)} by {kind}: the CA offers {has}; set `challenge`", kind="refused"
    )


def _settled(account: Account, url: str, options: Options, names: frozenset[str], patience: Patience) -> None:
    """Poll one authorization; over the patience it stays pending, which the order's status shows."""
    for pause in pauses():
        if proven(_fetch(account, url, names), options.challenge) or not patience.wait(pause):
            return


def proven(found: Authorization, kind: str) -> bool:
    """Given an authorization, return whether the name is validated; False while pending. Raises AuthorityError."""
    if found.status in {"pending", "valid"}:
        return found.status == "valid"
    failed, name = f"{kind} validation of {printable(found.name)} failed", identifier(found.name)["value"]
    problem = next((c.problem for c in found.challenges if c.problem is not None), None)
    if problem is None:
        why = f"{failed}: the authorization is {printable(found.status)}"
        raise ValidationFailedError(why, name, kind="refused")
    error = error_of(problem, failed)
    raise ValidationFailedError(str(error), name, kind=error.kind)
