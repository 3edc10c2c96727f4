"""step-ca by its own API: one-time tokens for /1.0/sign, the live key's token for /1.0/renew.

With `root`, the fingerprint of its root, nothing else is needed to trust its endpoint: the root is fetched by that
digest over a connection nobody trusts, checked, and the request itself goes over one that builds to it.
"""

import secrets
from dataclasses import replace
from hashlib import sha256
from typing import Any

from certagent.authority import step_token
from certagent.authority.context import Context
from certagent.authority.errors import AuthorityError
from certagent.authority.http import FORBIDDEN, UNAUTHORIZED, Http, Reply, refusal
from certagent.authority.messages import Answer, Issued, Request, Roots
from certagent.authority.pem import certificates, chain, der
from certagent.host import x509

OK, CREATED, NOT_FOUND = 200, 201, 404
LOG = "its log has the reason"


def ask(request: Request, context: Context) -> Answer:
    """Given a request, return step-ca's answer. Raises AuthorityError."""
    url = request.options["url"]
    if request.operation == "roots":
        return Roots(_roots(request, context, _trusted(request, context)))
    if request.operation != "issue":
        raise AuthorityError(f"cannot ask step-ca for {request.operation}: it has no such thing", kind="refused")
    if request.proof and _timely(request, context):
        shown = {"Authorization": f"Bearer {request.proof}"}
        return _issued(_trusted(request, context).request("POST", f"{url}/1.0/renew", headers=shown), context)
    if request.options["credential"] == "leaf" and step_token.repeated(request) and _timely(request, context):
        http = _trusted(request, context, as_leaf=True)
        return _issued(http.request("POST", f"{url}/1.0/rekey", document={"csr": request.csr}), context)
    body: dict[str, Any] = {"csr": request.csr, "ott": _one_time_token(request, context)}
    if request.lifetime:
        body["notAfter"] = f"{int(request.lifetime)}s"
    return _issued(_trusted(request, context).request("POST", f"{url}/1.0/sign", document=body), context)


def _timely(request: Request, context: Context) -> bool:
    """The live certificate is not expired, or there is no other way than to show it."""
    leaf = step_token.live_leaf(request)
    return leaf is not None and (leaf.not_after > context.now() or not context.secrets)


def _one_time_token(request: Request, context: Context) -> str:
    known, nonce = context.secrets, secrets.token_hex(32)
    try:
        if key := known.get("provisioner_key"):
            pem, kid = x509.read_jwk(key, known.get("provisioner_password", ""))
            return x509.sign_jws(pem, *step_token.by_provisioner(request, kid, context.now(), nonce))
        if cert := known.get("x5c_cert"):
            key_pem = known["x5c_key"].encode()
            x509.parse_certificates(cert.encode())
            return x509.sign_jws(key_pem, *step_token.by_enrolment(request, cert, context.now(), nonce))
    except x509.X509Error as error:
        names = "provisioner_key" if "provisioner_key" in known else "x5c_cert and x5c_key"
        raise AuthorityError(f"cannot use {names}: {error}", kind="credentials") from error
    if once := known.get("one_time_token", "").strip():
        return once
    raise AuthorityError(
        "cannot renew by the live key: step-ca repeats key and names of the live certificate, and there is none, or"
        ' they are to change; set reuse_key = true or credential = "leaf", or name a provisioner_key',
        kind="credentials",
    )


def _trusted(request: Request, context: Context, *, as_leaf: bool = False) -> Http:
    """HTTPS as configured; with `root` alone, to an endpoint that builds to that root.

    A live pair that was handed over is shown where it counts alone: an expired one would spoil the handshake.
    """
    pinned, tls = request.options["root"], request.tls
    if request.options["credential"] == "leaf" and not as_leaf:
        tls = replace(tls, client_cert="", client_key="")
    if not pinned or tls.roots or tls.fingerprint:
        return context.http if tls == request.tls else context.http.over(tls)
    root = context.state.shared.get("root")
    if not isinstance(root, str) or not _is(root, pinned):
        root = _pinned_root(request, context)
        context.state.shared["root"] = root
    return context.http.over(replace(tls, roots=root))


def _is(root: str, pinned: str) -> bool:
    return sha256(der(root)).hexdigest() == pinned


def _pinned_root(request: Request, context: Context) -> str:
    """The root with the configured fingerprint: whoever sends it, it is that one."""
    url, pinned = request.options["url"], request.options["root"]
    http = context.http.over(replace(request.tls, client_cert="", client_key="", unverified=True))
    reply = http.request("GET", f"{url}/root/{pinned}")
    if reply.status == NOT_FOUND:
        raise AuthorityError(f"cannot trust {url}: it has no root with the fingerprint {pinned}; see root", kind="tls")
    root: str = certificates([_document(reply, "fetch its root", context).get("ca")])[0]
    if not _is(root, pinned):
        raise AuthorityError(f"cannot trust {url}: the root it sent has another fingerprint than asked", kind="tls")
    return root


def _roots(request: Request, context: Context, http: Http) -> str:
    """The pinned root, and what it lists; over a connection that is trusted by now."""
    url, found = request.options["url"], []
    if root := context.state.shared.get("root"):
        found.append(root)
    for path in ("/roots", "/federation") if request.options["federation"] else ("/roots",):
        listed = _document(http.request("GET", f"{url}{path}"), f"fetch {path}", context).get("crts")
        found += listed if isinstance(listed, list) else []
    return "".join(certificates(found))


def _issued(reply: Reply, context: Context) -> Issued:
    document = _document(reply, "have a certificate signed", context)
    whole = document.get("certChain") or [document.get("crt"), document.get("ca")]
    return Issued(chain(whole if isinstance(whole, list) else []))


def _document(reply: Reply, what: str, context: Context) -> dict[str, Any]:
    """The JSON object of a success; the error that anything else means."""
    if reply.status not in {OK, CREATED}:
        raise _refusal(reply, what, context)
    document = reply.json()
    if not isinstance(document, dict):
        raise AuthorityError(f"cannot read the answer of {reply.url}: it is no JSON object", kind="malformed")
    return document


def _refusal(reply: Reply, what: str, context: Context) -> AuthorityError:
    """401 is about the token, 403 about the certificate; why, step-ca says in its log alone."""
    if reply.status == UNAUTHORIZED:
        remedy = f"the token was refused; see provisioner, its key and the clock of this host; {LOG}"
    elif reply.status == FORBIDDEN:
        remedy = f"the provisioner's policy forbids this certificate; see names and lifetime; {LOG}"
    else:
        return refusal(reply, what, context.now())
    kind = "credentials" if reply.status == UNAUTHORIZED else "refused"
    message = f"cannot {what}: {reply.url} answered {reply.status}: {remedy}"
    return AuthorityError(message, kind=kind)  # type: ignore[arg-type]
