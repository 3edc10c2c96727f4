"""ACME Renewal Information (RFC 9773): the window in which the CA wants a certificate renewed."""

from datetime import UTC, datetime, timedelta
from typing import Any

from acme import messages

from certagent.authority.acme.account import directory
from certagent.authority.acme.net import Net
from certagent.authority.acme.problems import mapped, printable
from certagent.authority.context import Context
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Renewal, Request
from certagent.host import x509

UNASKED = timedelta(hours=6)  # RFC 9773, section 4.3.3
SOONEST, LATEST = timedelta(minutes=1), timedelta(days=1)


def renewal(request: Request, context: Context) -> Renewal:
    """Given the live certificate, return its window; needs no account. Raises AuthorityError."""
    net = Net(context.http, None, context.now)
    found = directory(net, request.options["directory_url"])
    if "renewalInfo" not in found.to_partial_json():
        raise AuthorityError("cannot ask when to renew: this CA has no renewal information", kind="refused")
    try:
        name = x509.renewal_id(request.live.encode())
    except x509.X509Error as error:
        raise AuthorityError(f"cannot ask when to renew: {error.message}", kind="refused") from error
    with mapped(net, "read the renewal information"):
        document = _read(net, f"{found['renewalInfo'].rstrip('/')}/{name}")
        window = messages.RenewalInfo.from_json(document).suggested_window
        start, end = _utc(window.start), _utc(window.end)
    if end <= start:
        raise AuthorityError("cannot use the renewal information: its window ends before it begins", kind="malformed")
    now = context.now()
    again = min(max(net.retry_at or now + UNASKED, now + SOONEST), now + LATEST)
    why = printable(document.get("explanationURL", ""))
    return Renewal(start.timestamp(), end.timestamp(), again.timestamp(), why)


def _read(net: Net, url: str) -> dict[str, Any]:
    """A CA that does not know this certificate may know the next one: no refusal."""
    try:
        with mapped(net, "read the renewal information"):
            document: dict[str, Any] = net.get(url).json()
    except AuthorityError as error:
        error.kind = "failed" if error.refused else error.kind
        raise
    return document


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
