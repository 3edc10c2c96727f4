"""RFC 7030 (EST) with the clarifications of RFC 8951: cacerts, csrattrs, simpleenroll, simplereenroll.

The client authenticates by TLS (a bootstrap credential) or by HTTP Basic, sent with the first request, since the server
is verified by then. A
renewal goes to simplereenroll where the request has the subject and the SANs of the live certificate, as section 4.2.2
demands; a server that refuses that (it issued another one) is asked by simpleenroll. Rejected: fullcmc and
serverkeygen; keys are made here. Proof of possession linked to the TLS session (section 3.5) is not possible: the
key is never in a process that asks a CA.
"""

import base64
import binascii
from datetime import datetime, timedelta
from urllib.parse import quote

from certagent import x509
from certagent.authority.backends.csrattrs import wanted_keys
from certagent.authority.backends.http import Reply, below, refusal, retry_after
from certagent.authority.context import Context
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Answer, Issued, Pending, Request, Roots
from certagent.x509.bags import from_pkcs7

OK, ACCEPTED, NO_CONTENT, NOT_FOUND = 200, 202, 204, 404
RENEW, ENROL = "simplereenroll", "simpleenroll"
WHAT = {RENEW: "renew by simplereenroll", ENROL: "enrol"}
PAUSE = timedelta(minutes=5)  # section 4.2.3 demands a Retry-After; without one


def ask(request: Request, context: Context) -> Answer:
    """One question. Raises AuthorityError."""
    if request.operation == "roots":
        return Roots(_cacerts(request, context).decode())
    if request.operation != "issue":
        raise AuthorityError("EST has no renewal information", kind="refused")
    return _issue(request, context)


def _issue(request: Request, context: Context) -> Pending | Issued:
    if request.options.get("csrattrs"):
        _compare_attributes(request, context)
    reply = _enrol(request, context)
    return pending(reply, context.now()) or Issued(_chain(request, context, certificates(reply)))


def pending(reply: Reply, now: datetime) -> Pending | None:
    """Given the answer of a server that took the request, return until when it waits; None where it is answered."""
    if reply.status != ACCEPTED:
        return None
    at = retry_after(reply, now) or now + PAUSE
    return Pending(at.timestamp(), "the EST server accepted the request and has not decided yet")


def _url(request: Request, operation: str) -> str:
    label = request.options.get("label") or ""
    middle = f"/{quote(label, safe='')}" if label else ""
    return f"{below(request.options['url'], '/.well-known/est')}{middle}/{operation}"


def _headers(request: Request, context: Context) -> dict[str, str]:
    user = request.options.get("username") or ""
    if not user:
        return {}
    pair = f"{user}:{context.secrets.get('password', '')}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _enrol(request: Request, context: Context) -> Reply:
    """The answer to a request: 200 or 202. Raises AuthorityError."""
    if _renews(request):
        reply = _post(request, context, RENEW)
        if taken(reply, RENEW, context.now()):
            return reply
    reply = _post(request, context, ENROL)
    taken(reply, ENROL, context.now())
    return reply


def taken(reply: Reply, operation: str, now: datetime) -> bool:
    """Given an answer, return whether the server took the request; False: what it refuses to renew, it may enrol.

    Raises AuthorityError.
    """
    if reply.status in {OK, ACCEPTED}:
        return True
    error = refusal(reply, WHAT[operation], now)
    if operation == RENEW and error.refused:
        return False
    raise error


def _renews(request: Request) -> bool:
    try:
        return bool(request.live) and x509.same_identity(request.csr.encode(), request.live.encode())
    except x509.X509Error:
        return False


def _post(request: Request, context: Context, operation: str) -> Reply:
    body = base64.encodebytes(x509.request_der(request.csr.encode()))
    headers = {"Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64"}
    sent = {**_headers(request, context), **headers, "Accept": "application/pkcs7-mime"}
    return context.http.request("POST", _url(request, operation), body=body, headers=sent)


def certificates(reply: Reply) -> bytes:
    """The certificates of a certs-only answer (RFC 7030, section 4.1.3), as PEM. Raises AuthorityError."""
    try:
        return from_pkcs7(_decoded(reply))
    except x509.X509Error as error:
        raise AuthorityError(f"cannot use the answer of {reply.url}: {error}", kind="malformed") from error


def _decoded(reply: Reply) -> bytes:
    """Base64 without regard to line ends (RFC 8951, section 3.1)."""
    try:
        return base64.b64decode(b"".join(reply.body.split()), validate=True)
    except binascii.Error as error:
        raise AuthorityError(f"cannot use the answer of {reply.url}: it is not base64", kind="malformed") from error


def _cacerts(request: Request, context: Context) -> bytes:
    reply = context.http.request("GET", _url(request, "cacerts"), headers=_headers(request, context))
    return issuers(reply, context.now())


def issuers(reply: Reply, now: datetime) -> bytes:
    """Given the answer to cacerts, return its certificates as PEM. Raises AuthorityError."""
    if reply.status != OK:
        raise refusal(reply, "read the CA certificates", now)
    return certificates(reply)


def _chain(request: Request, context: Context, answer: bytes) -> str:
    """The leaf of our key, and the intermediates from wherever they are: the answer itself, or cacerts."""
    spki = x509.parse_request(request.csr.encode()).spki
    try:
        x509.arranged(answer, spki)
        return x509.arranged(answer + _cacerts(request, context), spki).decode()
    except x509.X509Error as error:
        raise AuthorityError(f"cannot use the EST server's certificate: {error}", kind="malformed") from error


def _compare_attributes(request: Request, context: Context) -> None:
    """What the server wants in a request, as far as it is understood: the kind of key. Raises AuthorityError."""
    reply = context.http.request("GET", _url(request, "csrattrs"), headers=_headers(request, context))
    keys, have = attributes(reply, context.now()), x509.parse_request(request.csr.encode()).key
    if keys and have not in keys:
        wanted = " or ".join(keys)
        raise AuthorityError(
            f"cannot enrol a key of type {have}: the EST server expects {wanted}; set `key`", kind="refused"
        )


def attributes(reply: Reply, now: datetime) -> tuple[str, ...]:
    """Given the answer to csrattrs, return the kinds of key it wants; () for any. Raises AuthorityError."""
    if reply.status in {NO_CONTENT, NOT_FOUND}:
        return ()
    if reply.status != OK:
        raise refusal(reply, "read the CSR attributes", now)
    try:
        return wanted_keys(_decoded(reply))
    except ValueError as error:
        raise AuthorityError(f"cannot read the CSR attributes of {reply.url}: {error}", kind="malformed") from error
