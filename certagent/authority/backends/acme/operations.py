"""The operations of an ACME authority: issue, renewal information, account changes, roots."""

from acme import messages

from certagent import x509
from certagent.authority.backends.acme.account import Account
from certagent.authority.backends.acme.ari import renewal
from certagent.authority.backends.acme.chains import preferred
from certagent.authority.backends.acme.options import Options
from certagent.authority.backends.acme.order import Order
from certagent.authority.context import Context
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Answer, Done, Issued, Pending, Request
from certagent.core.facts import Leaf


def ask(request: Request, context: Context) -> Answer:
    """Answer one request. Raises AuthorityError."""
    match request.operation:
        case "issue":
            return _issue(request, context)
        case "renewal":
            return renewal(request, context)
        case "deactivate":
            return Done(_account(request, context).deactivate())
        case "rollover":
            return _rollover(request, context)
    raise AuthorityError("an ACME CA does not offer its roots; set issuing_roots", kind="refused")


def _account(request: Request, context: Context) -> Account:
    return Account(request.options | {"contact": tuple(request.options.get("contact", ()))}, context)


def _usable(request: Request, context: Context) -> Account:
    """Another one, with a key of its own, in the place of one whose deactivation the agent's end interrupted."""
    account = _account(request, context)
    return _account(request, context) if account.is_dead() else account


def _issue(request: Request, context: Context) -> Answer:
    if not request.names:
        raise AuthorityError("cannot order a certificate without names: set `names`", kind="refused")
    if uris := [name for name in request.names if "://" in name]:
        raise AuthorityError(f"cannot order {uris[0]}: ACME has no URI SANs; use another authority", kind="refused")
    account = _usable(request, context)
    for attempt in ("known", "anew"):
        try:
            opened = account.opened() if attempt == "known" else account.anew()
            found = Order(opened, request, context).certificate()
        except AuthorityError as error:
            if attempt == "anew" or not _forgotten(error):
                raise
            context.state.own.clear()
            continue
        if isinstance(found, Pending):
            return found
        wish = Options.of(request.options).preferred_chain
        return Issued(preferred(found, wish, _roots(request)))
    raise AuthorityError("cannot use the account: the CA does not know it", kind="credentials")


def _forgotten(error: AuthorityError) -> bool:
    """The CA does not know the account that we remember: it is registered again, under the same key."""
    cause = error.__cause__
    return isinstance(cause, messages.Error) and cause.code == "accountDoesNotExist"


def _rollover(request: Request, context: Context) -> Answer:
    """Two requests: the new key is saved before the CA is told."""
    account = _account(request, context)
    if "next_key" in account.entry:
        return Done(account.roll_over())
    account.prepare()
    return Pending(context.now().timestamp(), "the new key is saved; the next request sends it to the CA")


def _roots(request: Request) -> tuple[Leaf, ...]:
    """The configured issuing roots, by which a root's fingerprint is known that no chain holds."""
    pem = str(request.options.get("issuing_roots_pem", ""))
    try:
        return x509.parse_certificates(pem.encode()) if pem.strip() else ()
    except x509.X509Error:
        return ()
