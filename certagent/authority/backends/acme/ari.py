"""ACME Renewal Information (RFC 9773): the window in which the CA wants a certificate renewed."""

from datetime import UTC, datetime, timedelta
from typing import Any

from acme import messages

from certagent import x509
from certagent.authority.backends.acme.account import directory
from certagent.authority.backends.acme.net import Net
from certagent.authority.backends.acme.problems import mapped, printable
from certagent.authority.context import Context
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Renewal, Request
from certagent.core.words import framed

UNASKED = timedelta(hours=6)  # RFC 9773, section 4.3.3
WHAT = "read the renewal information"
SOONEST, LATEST = timedelta(minutes=1), timedelta(days=1)


def renewal(request: Request, context: Context) -> Renewal:
    """Given the live certificate, return its window; needs no account. Raises AuthorityError."""
    net = Net(context.http, None, context.now)
    url = place(directory(net, request.options["directory_url"]), request.live)
    document = _read(net, url)
    with mapped(net, WHAT):
        return window(document, net.retry_at, context.now())


def place(found: messages.Directory, live: str) -> str:
    """Given the directory and the live certificate, return where its window is. Raises AuthorityError."""
    fields = found.to_partial_json()
    if "renewalInfo" not in fields:
        raise AuthorityError("this CA has no renewal information", kind="refused")
    base = fields["renewalInfo"]
    if not isinstance(base, str):
        raise AuthorityError("cannot ask when to renew: the CA's renewalInfo is not a URL", kind="malformed")
    try:
        return f"{base.rstrip('/')}/{x509.renewal_id(live.encode())}"
    except x509.X509Error as error:
        raise AuthorityError(f"cannot ask when to renew: {error.message}", kind="refused") from error


def window(document: dict[str, Any], retry_at: datetime | None, now: datetime) -> Renewal:
    """Given the renewal information, the Retry-After and the moment, return the window and when to ask again.

    Raises AuthorityError, and any exception of the library on a malformed document.
    """
    suggested = messages.RenewalInfo.from_json(document).suggested_window
    start, end = _utc(suggested.start), _utc(suggested.end)
    if end <= start:
        raise AuthorityError("cannot use the renewal information: the window ends before it starts", kind="malformed")
    again = min(max(retry_at or now + UNASKED, now + SOONEST), now + LATEST)
    why = framed(printable(document.get("explanationURL", "")))
    return Renewal(start.timestamp(), end.timestamp(), again.timestamp(), why)


def _read(net: Net, url: str) -> dict[str, Any]:
    """A CA that does not know this certificate may know the next one: no refusal."""
    try:
        with mapped(net, WHAT):
            document: dict[str, Any] = net.get(url).json()
    except AuthorityError as error:
        error.kind = "failed" if error.refused else error.kind
        raise
    return document


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
