"""One HTTP exchange with a deadline and a cap. For the child only: nothing else imports it.

Plain http is the norm for OCSP, since answers are signed; https verifies by the system's roots. Redirects are followed
as Go's client would repeat the request (307, 308; for a list any), three times at most, and never to another scheme.
The proxies of the environment count, as they do for cockroach.
"""

import socket
import time
import urllib.request
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection

from certagent.revocation.addresses import NOT_PUBLIC, is_public, may_be_public
from certagent.sandbox.interim import Plain, Secure, passing_over

SCHEMES = ("http", "https")
HOPS = 3
OK = 200
AGAIN = frozenset({307, 308})
ELSEWHERE = frozenset({301, 302, 303, 307, 308})


class FetchError(Exception):
    """The reason for a missing answer, in one sentence."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """What to send; `kind` is the content type that the answer must have, "" for any."""

    method: str
    url: str
    body: bytes | None
    headers: dict[str, str]
    kind: str
    limit: int
    allow_private: bool = False  # a host whose address is not public may be asked
    configured: frozenset[str] = frozenset()  # URLs for which that does not matter


def fetch(what: Fetch, end: float) -> bytes:
    """Given a request and a moment of the monotonic clock, return the body of a 200. Raises FetchError."""
    url = what.url
    for _ in range(HOPS + 1):
        status, location, data = _once(what, url, end)
        if status == OK:
            return data
        if status not in (AGAIN if what.body is not None else ELSEWHERE) or not location:
            raise FetchError(f"HTTP status {status}" + (", a redirect" if location else ""))
        url = _redirected(url, location)
    raise FetchError(f"more than {HOPS} redirects")


def _redirected(url: str, location: str) -> str:
    """Where a redirect leads. Raises FetchError."""
    try:
        there = urljoin(url, location)
        same = urlsplit(there).scheme == urlsplit(url).scheme
    except ValueError as error:
        raise FetchError("it redirects to an invalid URL") from error
    if not same:
        raise FetchError("it redirects to another scheme")
    return there


def _parts(url: str) -> tuple[str, str]:
    """Scheme and host of what a certificate or a responder calls a URL. Raises FetchError."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in SCHEMES and parts.hostname and parts.port != 0
    except ValueError:  # unclosed brackets, an invalid port
        sound = False
    if not sound:
        raise FetchError("not an http or https URL")
    return parts.scheme, str(parts.hostname)


def _once(what: Fetch, url: str, end: float) -> tuple[int, str, bytes]:
    scheme, host = _parts(url)
    try:
        with _pool(scheme, host, anywhere=what.allow_private or url in what.configured) as pool:
            timeout = urllib3.Timeout(total=_left(end))
            answer = pool.request(
                what.method,
                url,
                body=what.body,
                headers=what.headers,
                timeout=timeout,
                redirect=False,
                preload_content=False,
            )
            try:
                return _read(what, answer, end)
            finally:
                answer.close()
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise FetchError(_cause(error)) from error


def _pool(scheme: str, host: str, *, anywhere: bool) -> urllib3.PoolManager:
    """How a host is reached. Raises FetchError for an address that is not public, unless it may be `anywhere`.

    A proxy resolves names itself: what is judged then is an address in the URL, or the name of this host.
    """
    proxy = urllib.request.getproxies().get(scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        if not anywhere and not may_be_public(host):
            raise FetchError(NOT_PUBLIC)
        return passing_over(urllib3.ProxyManager(proxy, retries=False, maxsize=1))
    pool = passing_over(urllib3.PoolManager(retries=False, maxsize=1))
    if not anywhere:
        pool.pool_classes_by_scheme = {"http": PublicPool, "https": PublicSecurePool}
    return pool


def public_connection(connection: HTTPConnection) -> socket.socket:
    """Connect to the first public address of its host, exactly that which was judged. Raises FetchError, OSError."""
    problem: OSError | None = None
    found = socket.getaddrinfo(connection.host.strip("[]"), connection.port, type=socket.SOCK_STREAM)
    for *_, address in found:
        if not is_public(str(address[0])):
            continue
        try:
            return socket.create_connection((str(address[0]), connection.port), connection.timeout)
        except OSError as error:
            problem = error
    raise problem or FetchError(NOT_PUBLIC)


class PublicPlain(Plain):
    """Without TLS, to public addresses."""

    def _new_conn(self) -> socket.socket:
        return public_connection(self)


class PublicSecure(Secure):
    """With TLS, to public addresses."""

    def _new_conn(self) -> socket.socket:
        return public_connection(self)


class PublicPool(urllib3.HTTPConnectionPool):
    """Of such connections."""

    ConnectionCls = PublicPlain


class PublicSecurePool(urllib3.HTTPSConnectionPool):
    """Of such connections."""

    ConnectionCls = PublicSecure


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise FetchError("no answer in time")
    return left


def _read(what: Fetch, answer: urllib3.BaseHTTPResponse, end: float) -> tuple[int, str, bytes]:
    """The body of a 200, piece by piece: each may be late, all together must not be."""
    if answer.status != OK:
        return answer.status, answer.headers.get("Location", ""), b""
    kind = answer.headers.get("Content-Type", "")
    if what.kind and kind != what.kind:
        raise FetchError(f"content type {kind or 'missing'}, not {what.kind}")
    data = b""
    while part := answer.read1(1 << 16, decode_content=False):
        data += part
        if len(data) > what.limit:
            raise FetchError(f"larger than {what.limit} bytes")
        _left(end)
    return OK, "", data


def _cause(error: BaseException) -> str:
    """The innermost reason in a few words."""
    while True:
        refused = isinstance(error, urllib3.exceptions.NewConnectionError)  # to urllib3 that is a kind of time-out
        if isinstance(error, urllib3.exceptions.TimeoutError | TimeoutError) and not refused:
            return "no answer in time"
        parts = (getattr(error, "reason", None), error.__cause__, *error.args)
        inner = next((p for p in parts if isinstance(p, BaseException)), None)
        if inner is None:
            return str(getattr(error, "strerror", None) or error or type(error).__name__)
        error = inner
