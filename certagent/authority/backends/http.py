"""HTTPS to a CA: roots or a pinned fingerprint, a proxy, a client certificate, caps, one deadline, no redirects.

Rejected: following redirects (they are an error that names the target), retries
(the daemon's backoff is the one place where waiting is decided), and plain http to anything but this host. Also
rejected: kept-alive connections. If a server closes an idle one while the next request is sent, it is not known whether
the request was read, and a POST may not be sent again then (RFC 9110, section 9.2.2).
"""

import json
import os
import re
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import urllib3

from certagent.authority.backends.failures import broken, cause
from certagent.authority.contact import Contacted
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Tls
from certagent.authority.redaction import shown
from certagent.core.endpoints import barred
from certagent.core.words import framed
from certagent.sandbox.interim import passing_over

LIMIT = 1 << 20
LONGEST = 300  # characters of an answer in a message
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
CONNECT = 15.0
LONGEST_PAUSE = timedelta(days=7)
UNAUTHORIZED, FORBIDDEN, TOO_MANY, UNAVAILABLE = 401, 403, 429, 503
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the certificate is still compared with the pin
REDIRECTS, CLIENT_ERRORS = range(300, 400), range(400, 500)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes, and how messages call it."""

    url: str
    shown: str


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whatever its status. Names of headers are in lower case; several of a name are joined by ", ".

    `url` is for messages.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises AuthorityError."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise AuthorityError(f"cannot read the answer of {self.url}: it is not JSON", kind="malformed") from error

    def text(self) -> str:
        """The body as printable text without a secret, shortened: for messages."""
        return shown(self.body.decode("utf-8", "replace"), LONGEST)


class Http:
    """Requests to one CA, all under one deadline."""

    def __init__(self, tls: Tls, timeout: float, limit: int = LIMIT, contact: Contacted | None = None) -> None:
        """`timeout` (seconds) is that of everything together."""
        self.contact = contact or Contacted()
        self._end = time.monotonic() + timeout
        self.tls, self._limit, self._allow_http = tls, limit, tls.allow_http
        self._pools: dict[str, urllib3.PoolManager] = {}

    def _pool(self, pin: str) -> urllib3.PoolManager:
        """Created with the first request: a backend without network needs no roots. `pin`: "" for none."""
        if pin not in self._pools:
            options: dict[str, Any] = {"retries": False, "ssl_context": context_of(self.tls), "maxsize": 1}
            if pin:
                options["assert_fingerprint"] = pin
            proxy = self.tls.proxy
            made = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
            self._pools[pin] = passing_over(made)
        self.contact.asked()
        return self._pools[pin]

    def over(self, tls: Tls) -> "Http":
        """The same deadline and cap, and another way to recognise the endpoint. Raises AuthorityError."""
        return Http(tls, self.left(), self._limit, self.contact)

    def left(self) -> float:
        """Seconds until the deadline. Raises AuthorityError when it is over."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise AuthorityError("cannot wait for the CA: it did not answer before the deadline", kind="unreachable")
        return left

    def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        document: Any = None,
        headers: Mapping[str, str] | None = None,
        named_by_ca: bool = False,
    ) -> Reply:
        """One request; `document` is sent as JSON. A redirect is an error, any other status is a reply.

        `named_by_ca`: the URL is the CA's own text, and messages show it as that. Raises AuthorityError.
        """
        place = Place(url, framed(shown(url, LONGEST)) if named_by_ca else url)
        permitted(url, allow_http=self._allow_http, place=place.shown)
        payload, sent = message(body, document, headers or {})
        *others, last = self.tls.fingerprints or ("",)
        for pin in others:
            with suppress(urllib3.exceptions.SSLError):  # nothing is sent before the endpoint is recognised
                return direct(self._tried(pin, method, place, payload, sent))
        try:
            return direct(self._tried(last, method, place, payload, sent))
        except urllib3.exceptions.SSLError as error:
            by_system = by_name(self.tls) and not self.tls.roots
            raise broken(place.shown, error, by_system=by_system) from error

    def _tried(self, pin: str, method: str, place: "Place", body: bytes | None, headers: dict[str, str]) -> Reply:
        """By one of the fingerprints. Raises SSLError where the endpoint does not have it, else AuthorityError."""
        try:
            return self._exchange(pin, method, place, body, headers)
        except urllib3.exceptions.SSLError:
            raise
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise broken(place.shown, error) from error

    def _exchange(self, pin: str, method: str, place: "Place", body: bytes | None, headers: dict[str, str]) -> Reply:
        timeout = urllib3.Timeout(connect=min(CONNECT, self.left()), read=self.left())
        answer = self._pool(pin).request(
            method, place.url, body=body, headers=headers, timeout=timeout, redirect=False, preload_content=False
        )
        self.contact.answered(trusted=not self.tls.unverified)
        data = b""
        try:
            while part := answer.read1(1 << 16, decode_content=False):
                data += part
                if len(data) > self._limit:
                    raise _too_long(place.shown, self._limit)
                self.left()
        finally:
            answer.close()
        return Reply(place.shown, answer.status, {k.lower(): answer.headers[k] for k in answer.headers}, data)


def message(body: bytes | None, document: Any, headers: Mapping[str, str]) -> tuple[bytes | None, dict[str, str]]:
    """Given what to send, and headers, return the body and all headers of the request."""
    sent = {"User-Agent": "certagent", **headers}
    if document is not None:
        body = json.dumps(document).encode()
        sent.setdefault("Content-Type", "application/json")
    sent["Accept-Encoding"] = "identity"  # the size limit applies to uncompressed data
    sent["Connection"] = "close"
    return body, sent


def below(url: str, prefix: str) -> str:
    """The URL of a CA with the path that all of its operations have; a configured URL may end with it."""
    return f"{url.removesuffix(prefix)}{prefix}"


def direct(reply: Reply) -> Reply:
    """The reply, unless it is a redirect. Raises AuthorityError."""
    if reply.status in REDIRECTS:
        place = framed(shown(reply.headers.get("location", "nowhere"), 200))
        raise AuthorityError(
            f"cannot use {reply.url}: it redirects to {place}; redirects are not followed", kind="failed"
        )
    return reply


def _too_long(place: str, limit: int) -> AuthorityError:
    return AuthorityError(f"cannot read the answer of {place}: over {limit} bytes", kind="malformed")


def permitted(url: str, *, allow_http: bool, place: str = "") -> None:
    """Only https, and http to this host (or where `allow_http` says so). Raises AuthorityError.

    `place`: how messages call the URL.
    """
    if why := barred(url, allow_http=allow_http):
        raise AuthorityError(f"cannot ask {place or url[:200]}: {why}", kind="tls")


def context_of(tls: Tls) -> ssl.SSLContext:
    """The TLS context: configured roots or the system's; with fingerprints alone nothing but those counts.

    Raises AuthorityError where a root, or the pair that is shown, cannot be used.
    """
    try:
        context = _verifying(_blocks(tls.roots), names=by_name(tls))
        if tls.client_cert:
            _present(context, tls.client_cert, tls.client_key)
    except (ssl.SSLError, ValueError, OSError) as error:
        raise AuthorityError(f"cannot use the TLS settings: {cause(error)}", kind="credentials") from error
    return context


def by_name(tls: Tls) -> bool:
    """Whether the endpoint is recognised by its name and a root: not by its fingerprint, nor by what it sends."""
    return bool(tls.roots or not tls.fingerprints) and not tls.unverified


def _verifying(roots: str, *, names: bool) -> ssl.SSLContext:
    """A context that trusts these roots ("": the system's), or any certificate if no `names` count."""
    context = ssl.create_default_context(cadata=roots or None)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as in Go: what is configured is trusted, root or not
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not names:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _blocks(roots: str) -> str:
    """The certificates of a bundle without the text between them. Raises ValueError if there are none."""
    found = "\n".join(CERTIFICATE.findall(roots))
    if roots and not found:
        raise ValueError("tls_roots contains no PEM certificate")
    return found


def _present(context: ssl.SSLContext, cert: str, key: str) -> None:
    """The ssl module wants a path, and an enrolment key touches no disk for it."""
    handle = os.memfd_create("credential", os.MFD_CLOEXEC)
    with os.fdopen(handle, "wb") as file:
        file.write(f"{cert.rstrip()}\n{key}".encode())
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{handle}", password=lambda: "")


def retry_after(reply: Reply, now: datetime) -> datetime | None:
    """Retry-After as a moment: seconds or an HTTP date (RFC 9110, section 10.2.3), a week at most."""
    return moment(reply.headers.get("retry-after", ""), now)


def moment(text: str, now: datetime) -> datetime | None:
    """The same for the value alone."""
    value = text.strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():  # alone, isdigit takes superscripts; int takes no 5000 digits
        return now + min(timedelta(seconds=int(value.lstrip("0")[:10] or "0")), LONGEST_PAUSE)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(at, now), now + LONGEST_PAUSE)


def refusal(reply: Reply, what: str, now: datetime, reason: str = "", remedy: str = "") -> AuthorityError:
    """Given a reply that is not a success, what was asked, the CA's reason and our remedy, return the error."""
    why = framed(reason or reply.text()) or "without a reason"
    message = f"cannot {what}: {reply.url} answered {reply.status}: {why}{remedy}"
    at = retry_after(reply, now)
    if reply.status in {UNAUTHORIZED, FORBIDDEN}:
        return AuthorityError(message, kind="credentials", retry_at=at)
    if reply.status == TOO_MANY or (reply.status == UNAVAILABLE and at is not None):
        return AuthorityError(message, kind="rate-limited", retry_at=at)
    kind = "refused" if reply.status in CLIENT_ERRORS else "failed"
    return AuthorityError(message, kind=kind, retry_at=at)  # type: ignore[arg-type]
