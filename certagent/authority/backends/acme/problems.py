"""ACME problem types -> AuthorityError: who has to act, and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from acme import errors, messages
from josepy.errors import DeserializationError

from certagent.authority.backends.acme.net import Net
from certagent.authority.errors import AuthorityError, Kind
from certagent.authority.redaction import shown
from certagent.core.words import framed

KINDS: dict[str, Kind] = {
    "rateLimited": "rate-limited",
    "externalAccountRequired": "credentials",
    "accountDoesNotExist": "credentials",
    "userActionRequired": "credentials",
    "badPublicKey": "credentials",
    "badSignatureAlgorithm": "credentials",
    "unauthorized": "refused",
    "badCSR": "refused",
    "rejectedIdentifier": "refused",
    "unsupportedIdentifier": "refused",
    "invalidContact": "refused",
    "unsupportedContact": "refused",
    "invalidProfile": "refused",
    "malformed": "refused",
    "caa": "refused",
}
REMEDIES = {
    "externalAccountRequired": "set eab_kid and eab_key",
    "accountDoesNotExist": (
        "renew again to register a new account; if that fails, move authority/NAME.json out of state_dir"
    ),
    "userActionRequired": "follow the instructions on the CA's page, then renew",
    "badCSR": "try another key, or common_name = true",
    "rejectedIdentifier": "check the CA's policy for these names",
    "unsupportedIdentifier": "this CA does not certify such names",
    "invalidProfile": "set a profile that the CA offers",
    "caa": "allow this CA in the domain's CAA record",
    "connection": "the CA must reach the challenge port",
    "dns": "check the DNS records that the CA sees",
    "invalidContact": "set contact",
    "tls": "the CA must reach the tls-alpn-01 port of this host; another server answers",
    "incorrectResponse": "another server answers the challenge",
    "unauthorized": (
        "another server answers the challenge, or the account is no longer valid: then run `certagent authority account"
        " NAME deactivate`, which forgets it, and renew"
    ),
}
LONGEST = 400
NONSENSE = (errors.Error, DeserializationError, KeyError, ValueError, TypeError, AttributeError, RecursionError)


def printable(value: object) -> str:
    """A CA's words, in one bounded line."""
    return shown(value, LONGEST)


def sentence(problem: messages.Error) -> str:
    """A problem document in one line: its code, in marks the details of it and of its parts, and the remedy."""
    parts = [printable(problem.detail) if problem.code else f"{printable(problem.typ)}: {printable(problem.detail)}"]
    for part in problem.subproblems or ():
        about = printable(part.identifier.value) if part.identifier else ""
        parts.append(f"{about} {part.code or ''}: {printable(part.detail)}".strip())
    remedy = REMEDIES.get(problem.code or "")
    what = f"{problem.code or 'unknown problem'}: {framed('; '.join(parts)[: 2 * LONGEST])}"
    return what + (f"; {remedy}" if remedy else "")


def error_of(problem: messages.Error, failed: str, retry_at: datetime | None = None) -> AuthorityError:
    """Given a problem document and what failed, return the error."""
    kind = KINDS.get(problem.code or "", "failed")
    return AuthorityError(f"{failed}: {sentence(problem)}", kind=kind, retry_at=retry_at)


@contextmanager
def mapped(net: Net, what: str) -> Iterator[None]:
    """Whatever the library raises inside, as an AuthorityError."""
    try:
        yield
    except messages.Error as error:
        raise error_of(error, f"cannot {what}", net.retry_at) from error
    except NONSENSE as error:
        why = f"{type(error).__name__} {framed(printable(error))}"
        raise AuthorityError(f"cannot {what}: the CA's answer is malformed: {why}", kind="malformed") from error
