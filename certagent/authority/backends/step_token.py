"""What step-ca's tokens contain: header and claims, as `step ca token` writes them. Nothing here holds a key.

A token is signed by a JWK provisioner's key, by an X5C bootstrap credential, or, for a renewal, by the live key. The
worker signs the first two, because they are its credentials. The agent signs the third, so that a managed key never
leaves it. A token of the live key cannot get a certificate for a new key: /rekey takes only a TLS handshake by the live
key (`credential = "leaf"`), and an X5C token by the live key gets no certificate that outlives the live one.
"""

from base64 import b64encode, urlsafe_b64encode
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from certagent import x509
from certagent.authority.backends.pem import certificates, der
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Request
from certagent.core.facts import Leaf

LIFETIME = timedelta(minutes=5)  # step's own; no iat before now: step-ca takes none from before it started
RENEWER = "step-ca-client/1.0"
Token = tuple[dict[str, Any], dict[str, Any]]  # header, claims


def _claims(url: str, path: str, issuer: str, subject: str, now: datetime) -> dict[str, Any]:
    second = int(now.timestamp())
    whole = {"iss": issuer, "aud": f"{url}{path}", "sub": subject}
    return whole | {"iat": second, "nbf": second, "exp": second + int(LIFETIME.total_seconds())}


def _sign(request: Request, fragment: str, now: datetime, nonce: str) -> dict[str, Any]:
    options = request.options
    claims = _claims(options["url"], f"/1.0/sign{fragment}", options["provisioner"], request.common_name, now)
    digest = urlsafe_b64encode(sha256(der(request.csr)).digest()).rstrip(b"=").decode()
    claims |= {"sans": list(request.names), "jti": nonce, "cnf": {"x5rt#S256": digest}}  # for this very CSR
    return claims | ({"sha": options["root"][0]} if options["root"] else {})


def by_provisioner(request: Request, kid: str, now: datetime, nonce: str) -> Token:
    """A one-time token of a JWK provisioner."""
    return {"typ": "JWT", "kid": kid}, _sign(request, "", now, nonce)


def by_enrolment(request: Request, cert: str, now: datetime, nonce: str) -> Token:
    """A one-time token of an X5C provisioner; `cert` is the enrolment certificate and its chain."""
    fragment = f"#x5c/{request.options['provisioner']}"
    return {"typ": "JWT", "x5c": _x5c(cert)}, _sign(request, fragment, now, nonce)


def _x5c(pem: str) -> list[str]:
    return [b64encode(der(block)).decode() for block in certificates([pem])]


def live_token(request: Request, now: datetime, nonce: str) -> Token | None:
    """What the daemon signs with the live key: a renewal of the live certificate; None where a renewal would not do."""
    if request.operation != "issue" or request.options["renewal"] != "live":
        return None
    leaf = repeated(request)
    if leaf is None or leaf.spki != _spki(request):
        return None
    header = {"typ": "JWT", "x5cInsecure": _x5c(request.live)}
    subject = leaf.common_names[0] if leaf.common_names else ""
    return header, _claims(request.options["url"], "/1.0/renew", RENEWER, subject, now) | {"jti": nonce}


def live_leaf(request: Request) -> Leaf | None:
    """The facts of the live certificate, where there is one."""
    try:
        return x509.parse_certificates(request.live.encode())[0] if request.live else None
    except x509.X509Error:
        return None


def repeated(request: Request) -> Leaf | None:
    """The live certificate, where what is asked for has its names: step-ca's renewals repeat them."""
    leaf = live_leaf(request)
    if leaf is None or request.common_name not in leaf.principals:
        return None
    # A token without names makes step-ca take its subject for one.
    names = {*(name.lower() for name in leaf.dns), *leaf.ips, *leaf.scopes} - ({request.principal} - set(request.names))
    return leaf if names == set(request.names) else None


def _spki(request: Request) -> str:
    try:
        return x509.parse_request(request.csr.encode()).spki
    except x509.X509Error as error:
        raise AuthorityError(f"cannot use the request: {error}") from error
