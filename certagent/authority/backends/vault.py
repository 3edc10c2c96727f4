"""The PKI engine of Vault or OpenBao, by `sign`, so that the private key stays on this host; never by `issue`.

The token of a login is revoked after use. A configured token is renewed after a third of its lifetime, if it is
renewable. A token file that another program refreshes (Vault Agent) is read again for each request. Rejected: keeping
the token of a login for the next request, because it would be in the state directory for weeks.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from certagent.authority.backends.http import FORBIDDEN, LONGEST, Reply, below, refusal
from certagent.authority.backends.pem import certificates, chain
from certagent.authority.context import Context
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Answer, Issued, Request, Roots
from certagent.authority.redaction import hide
from certagent.authority.redaction import shown as cleaned

NOT_FOUND, PRECONDITION = 404, 412
SUCCESSES = range(200, 300)


@dataclass(frozen=True, slots=True)
class Session:
    """The server, and the token shown to it ("" for none)."""

    request: Request
    context: Context
    token: str = ""

    def call(self, method: str, path: str, body: Any = None) -> Reply:
        """One request of the API, whatever the status of its answer."""
        options = self.request.options
        headers = {"X-Vault-Request": "true"}
        headers |= {"X-Vault-Namespace": options["namespace"]} if options["namespace"] else {}
        headers |= {"X-Vault-Token": self.token} if self.token else {}
        url = f"{below(options['url'], '/v1')}/{path}"
        return self.context.http.request(method, url, document=body, headers=headers)

    def data(self, method: str, path: str, what: str, body: Any = None) -> dict[str, Any]:
        """The object in the answer of a success. Raises AuthorityError."""
        return content(self.call(method, path, body), what, self.request.options, self.context.now())


def content(reply: Reply, what: str, options: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Given an answer and what was asked, return the object in that of a success. Raises AuthorityError."""
    if reply.status not in SUCCESSES:
        raise _refusal(reply, what, options, now)
    document = reply.json()
    found = document.get("data") or document.get("auth") if isinstance(document, dict) else None
    if not isinstance(found, dict):
        raise AuthorityError(f"cannot read the answer of {reply.url}: it has no data", kind="malformed")
    return found


def _refusal(reply: Reply, what: str, options: dict[str, Any], now: datetime) -> AuthorityError:
    reason, remedy = "; ".join(reasons(reply)) or reply.text(), ""
    if reply.status == FORBIDDEN:
        needed = f"does its policy allow update on {signing_path(options)}?"
        namespace = f" in the namespace {options['namespace']}" if options["namespace"] else ""
        remedy = f" (is the token valid{namespace}, and {needed})"
    if reply.status == NOT_FOUND:
        remedy = " (see mount, auth_mount, role and namespace)"
    error = refusal(reply, what, now, reason, remedy)
    if reply.status == PRECONDITION:  # a replica that is behind: asking again changes something
        error.kind = "failed"
    return error


def reasons(reply: Reply) -> list[str]:
    """The errors that an answer lists, printable."""
    with suppress(AuthorityError):
        document = reply.json()
        listed = document.get("errors") if isinstance(document, dict) else None
        return [cleaned(text, LONGEST) for text in listed[:5]] if isinstance(listed, list) else []
    return []


def ask(request: Request, context: Context) -> Answer:
    """Given a request, return the answer of Vault or OpenBao. Raises AuthorityError."""
    nobody = Session(request, context)
    if request.operation == "roots":
        return Roots("".join(certificates(_above(nobody.data("GET", _issuer_path(request), "fetch the CA")))))
    if request.operation != "issue":
        raise AuthorityError(f"cannot ask Vault for {request.operation}: it does not offer this", kind="refused")
    with _session(nobody) as session:
        path = signing_path(request.options)
        signed = session.data("POST", path, "get a certificate", _body(request))
    return Issued(chain(_above(signed)))


def signing_path(options: dict[str, Any]) -> str:
    """Where a CSR is signed."""
    issuer = f"issuer/{options['issuer']}/" if options["issuer"] else ""
    return f"{options['mount']}/{issuer}sign/{options['role']}"


def _issuer_path(request: Request) -> str:
    """Where everybody may read the CA's certificate and its chain."""
    return f"{request.options['mount']}/issuer/{request.options['issuer'] or 'default'}/json"


def _above(data: dict[str, Any]) -> list[Any]:
    """The certificate and what is above it, in order."""
    above = data.get("ca_chain")
    listed = above if isinstance(above, list) and above else [data.get("issuing_ca")]
    return [data.get("certificate"), *(text for text in listed if text is not None)]


def _body(request: Request) -> dict[str, Any]:
    """Names as parameters, too: a role takes them from the CSR (use_csr_sans, use_csr_common_name) or from here."""
    addresses = [name for name in request.names if _is_address(name)]
    uris = [name for name in request.names if "://" in name]
    body: dict[str, Any] = {"csr": request.csr, "format": "pem"}
    body |= {"common_name": request.common_name} if request.common_name else {}
    body["alt_names"] = ",".join(name for name in request.names if name not in addresses + uris)
    body["ip_sans"] = ",".join(addresses)
    body |= {"uri_sans": ",".join(uris)} if uris else {}
    body["exclude_cn_from_sans"] = True  # else `node` becomes a DNS name of the node
    return body | ({"ttl": f"{int(request.lifetime)}s"} if request.lifetime else {})


def _is_address(name: str) -> bool:
    with suppress(ValueError):
        ip_address(name)
        return True
    return False


@contextmanager
def _session(nobody: Session) -> Iterator[Session]:
    """With a token: the configured one, or that of a login, revoked afterwards."""
    request, context = nobody.request, nobody.context
    if request.options["auth"] == "token":
        session = Session(request, context, _printable(context.secrets["token"]))
        _keep_alive(session)
        yield session
        return
    session = Session(request, context, _login(nobody))
    try:
        yield session
    finally:
        with suppress(AuthorityError):
            session.call("POST", "auth/token/revoke-self")


def _printable(token: str) -> str:
    """A token that is valid in a header; the last line break of the file is removed."""
    found = token.strip()
    if not found.isascii() or not found.isprintable() or " " in found:
        raise AuthorityError("cannot use the token: it is more than one line of printable ASCII", kind="credentials")
    return found


def _login(nobody: Session) -> str:
    options = nobody.request.options
    path = f"auth/{options['auth_mount'] or options['auth']}/login"
    reply = nobody.call("POST", path, shown(options, nobody.context.secrets))
    return token_of(reply, options, nobody.context.now())


def shown(options: dict[str, Any], secrets: Mapping[str, str]) -> dict[str, str]:
    """What a login tells about us: the rest is the client certificate."""
    if options["auth"] == "approle":
        return {"role_id": secrets["role_id"].strip(), "secret_id": secrets["secret_id"].strip()}
    return {"name": options["cert_role"]} if options["cert_role"] else {}


def token_of(reply: Reply, options: dict[str, Any], now: datetime) -> str:
    """Given the answer to a login, return its token. Raises AuthorityError."""
    try:
        token = content(reply, f"log in by {options['auth']}", options, now).get("client_token")
    except AuthorityError as error:
        if error.refused:  # 400: "invalid role or secret ID", "invalid certificate or no client certificate supplied"
            error.kind = "credentials"
        raise
    if not isinstance(token, str) or not token:
        raise AuthorityError("cannot log in: the answer has no token", kind="malformed")
    hide(token)
    return _printable(token)


def _keep_alive(session: Session) -> None:
    """Renew the token in time; what it may not, it may not: the signing says what is wrong with it."""
    with suppress(AuthorityError):
        life = renewed_by(session.data("GET", "auth/token/lookup-self", "look up the token"))
        if life is not None:
            # without the increment it would be renewed by that of the last renewal, however short
            session.data("POST", "auth/token/renew-self", "renew the token", {"increment": f"{life}s"})


def renewed_by(token: dict[str, Any]) -> int | None:
    """Given what is known of a token, return the seconds that it is renewed by; None where it is not to be renewed."""
    left, whole = token.get("ttl"), token.get("creation_ttl")
    if token.get("renewable") is not True or not isinstance(left, int) or not isinstance(whole, int):
        return None
    return whole if 3 * left < 2 * whole else None
