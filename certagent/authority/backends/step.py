"""step-ca by its own API: one-time tokens for /1.0/sign, the live key's token for /1.0/renew.

With `root`, the fingerprints of its roots, nothing else is needed to trust its endpoint: each root is fetched by its
digest over an untrusted connection and checked, and the request itself uses a connection that is verified by them.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

from certagent import x509
from certagent.authority.backends import step_jose, step_token
from certagent.authority.backends.http import FORBIDDEN, UNAUTHORIZED, Http, Reply, refusal
from certagent.authority.backends.pem import certificates, chain, der
from certagent.authority.context import Context
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Answer, Issued, Request, Roots, Tls
from certagent.authority.redaction import hide

OK, CREATED, NOT_FOUND = 200, 201, 404
LOG = "step-ca's log has the reason"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of the API for a certificate, and whether the live pair is shown in its handshake."""

    path: str
    document: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    as_leaf: bool = False


def ask(request: Request, context: Context) -> Answer:
    """Given a request, return step-ca's answer. Raises AuthorityError."""
    if request.operation == "roots":
        return Roots(_roots(request, context, _trusted(request, context)))
    if request.operation != "issue":
        raise AuthorityError(f"cannot ask step-ca for {request.operation}: it does not offer this", kind="refused")
    asked = asking(request, context.secrets, context.now(), secrets.token_hex(32))
    http, url = _trusted(request, context, as_leaf=asked.as_leaf), f"{request.options['url']}{asked.path}"
    reply = http.request("POST", url, document=asked.document, headers=asked.headers)
    return issued(reply, context.now())


def asking(request: Request, known: Mapping[str, str], now: datetime, nonce: str) -> Asked:
    """Given a request, the credentials, the moment and a nonce, return how a certificate is asked for.

    By the live key where that will do, else by a token. Raises AuthorityError.
    """
    timely = _timely(request, known, now)
    if request.proof and timely:
        return Asked("/1.0/renew", headers={"Authorization": f"Bearer {request.proof}"})
    if request.options["credential"] == "leaf" and timely and step_token.repeated(request):
        return Asked("/1.0/rekey", {"csr": request.csr}, as_leaf=True)
    once = one_time_token(request, known, now, nonce)
    hide(once)
    body: dict[str, Any] = {"csr": request.csr, "ott": once}
    return Asked("/1.0/sign", body | ({"notAfter": f"{int(request.lifetime)}s"} if request.lifetime else {}))


def _timely(request: Request, known: Mapping[str, str], now: datetime) -> bool:
    """Whether to show the live certificate: it is not expired, or there is no other credential."""
    leaf = step_token.live_leaf(request)
    return leaf is not None and (leaf.not_after > now or not known)


def one_time_token(request: Request, known: Mapping[str, str], now: datetime, nonce: str) -> str:
    """A token by whatever credential there is. Raises AuthorityError."""
    try:
        if key := known.get("provisioner_key"):
            private, kid = step_jose.read_jwk(key, known.get("provisioner_password", ""))
            return step_jose.signed(private, step_token.by_provisioner(request, kid, now, nonce))
        if cert := known.get("x5c_cert"):
            private = step_jose.of_pem(known["x5c_key"].encode())
            x509.parse_certificates(cert.encode())
            return step_jose.signed(private, step_token.by_enrolment(request, cert, now, nonce))
    except x509.X509Error as error:
        names = "provisioner_key" if "provisioner_key" in known else "x5c_cert and x5c_key"
        raise AuthorityError(f"cannot use {names}: {error}", kind="credentials") from error
    if once := known.get("one_time_token", "").strip():
        return once
    raise AuthorityError(
        "cannot renew with the live key: step-ca only repeats the key and names of a live certificate; set reuse_key ="
        ' true or credential = "leaf", or set provisioner_key',
        kind="credentials",
    )


def _trusted(request: Request, context: Context, *, as_leaf: bool = False) -> Http:
    """HTTPS as configured; with `root` alone, to an endpoint that builds to one of those roots."""
    pins, tls = request.options["root"], _shown(request, as_leaf=as_leaf)
    if not pins or tls.roots or tls.fingerprints:
        return context.http if tls == request.tls else context.http.over(tls)
    roots = context.state.shared["roots"] = _pinned_roots(request, context)
    return context.http.over(replace(tls, roots="".join(roots)))


def _shown(request: Request, *, as_leaf: bool) -> Tls:
    """A live pair that was handed over is shown where it counts alone: an expired one would spoil the handshake."""
    spared = request.options["credential"] == "leaf" and not as_leaf
    return replace(request.tls, client_cert="", client_key="") if spared else request.tls


def _is(root: str, pinned: str) -> bool:
    return sha256(der(root)).hexdigest() == pinned


def _pinned_roots(request: Request, context: Context) -> list[str]:
    """The roots with the configured fingerprints: one of them at least. Raises AuthorityError.

    Those that were shown before stay known: while the CA changes its root it may show either.
    """
    url, pins, kept = request.options["url"], request.options["root"], context.state.shared.get("roots")
    http = context.http.over(replace(request.tls, client_cert="", client_key="", unverified=True))
    roots = [root for pin in pins if (root := shown_before(kept, pin) or _fetched(http, url, pin, context.now()))]
    if not roots:
        raise _absent(url, " or ".join(pins))
    return roots


def shown_before(kept: object, pinned: str) -> str:
    """Given what the state keeps of the CA's roots, return the one with that fingerprint, "" where it has none."""
    roots = [r for r in kept if isinstance(r, str)] if isinstance(kept, list) else []
    return next((root for root in roots if _is(root, pinned)), "")


def _fetched(http: Http, url: str, pinned: str, now: datetime) -> str:
    """The root with that fingerprint as the CA sends it, "" where the CA has none. Raises AuthorityError."""
    reply = http.request("GET", f"{url}/root/{pinned}")
    return "" if reply.status == NOT_FOUND else shown_root(reply, url, pinned, now)


def _absent(url: str, pinned: str) -> AuthorityError:
    return AuthorityError(f"cannot trust {url}: it has no root with the fingerprint {pinned}; see root", kind="tls")


def shown_root(reply: Reply, url: str, pinned: str, now: datetime) -> str:
    """Given the answer to a fingerprint, return the root that has this fingerprint. Raises AuthorityError."""
    if reply.status == NOT_FOUND:
        raise _absent(url, pinned)
    root: str = certificates([document(reply, "fetch its root", now).get("ca")])[0]
    if not _is(root, pinned):
        raise AuthorityError(f"cannot trust {url}: the root that it sent has another fingerprint", kind="tls")
    return root


def _roots(request: Request, context: Context, http: Http) -> str:
    """The pinned roots, and what it lists; over a connection that is trusted by now."""
    url, found = request.options["url"], [*context.state.shared.get("roots", [])]
    for path in ("/roots", "/federation") if request.options["federation"] else ("/roots",):
        found += listed(http.request("GET", f"{url}{path}"), f"fetch {path}", context.now())
    return "".join(certificates(found))


def listed(reply: Reply, what: str, now: datetime) -> list[Any]:
    """Given the answer to a question for roots, return what it lists. Raises AuthorityError."""
    found = document(reply, what, now).get("crts")
    return found if isinstance(found, list) else []


def issued(reply: Reply, now: datetime) -> Issued:
    """Given the answer to a request for a certificate, return that. Raises AuthorityError."""
    found = document(reply, "get a certificate", now)
    whole = found.get("certChain") or [found.get("crt"), found.get("ca")]
    return Issued(chain(whole if isinstance(whole, list) else []))


def document(reply: Reply, what: str, now: datetime) -> dict[str, Any]:
    """The JSON object of a success. Raises AuthorityError: what anything else means."""
    if reply.status not in {OK, CREATED}:
        raise _refusal(reply, what, now)
    found = reply.json()
    if not isinstance(found, dict):
        raise AuthorityError(f"cannot read the answer of {reply.url}: it is not a JSON object", kind="malformed")
    return found


def _refusal(reply: Reply, what: str, now: datetime) -> AuthorityError:
    """401 is about the token, 403 about the certificate; why, step-ca says in its log alone."""
    if reply.status == UNAUTHORIZED:
        remedy = f"the token was refused; see provisioner, its key and the clock of this host; {LOG}"
    elif reply.status == FORBIDDEN:
        remedy = f"the provisioner's policy forbids this certificate; see names and lifetime; {LOG}"
    else:
        return refusal(reply, what, now)
    kind = "credentials" if reply.status == UNAUTHORIZED else "refused"
    message = f"cannot {what}: {reply.url} answered {reply.status}: {remedy}"
    return AuthorityError(message, kind=kind)  # type: ignore[arg-type]
