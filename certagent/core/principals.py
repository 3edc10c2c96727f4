"""Who a certificate is for cockroach: users of its `crdb://` URIs, else principals, and the distinguished-name flags.

Sources: servers want the user among the principals of a client's certificate, and `node` in that of another node. With
`crdb://` URI SANs (`crdb://tenant/1/user/app`) the users of those URIs count alone, each in its tenant. With
`--node-cert-distinguished-name` or `--root-cert-distinguished-name` set, every RPC and root's SQL log-in want an exact
subject instead. Nothing says so before the next handshake. cockroach writes a subject in the order of its encoding
(`O=Cockroach,CN=node` for what `cockroach cert` makes), the reverse of RFC 4514, in which a Leaf has it. Rejected:
comparing DNs as text; `O=Cockroach, CN=node` and `o=Cockroach,cn=node` are one name.
"""

import re

from certagent.core.facts import Leaf, LoaderFlags
from certagent.core.names import CLIENT_ROOT, LAST_TENANT, Name
from certagent.core.spelling import quoted

NODE_USER = "node"
TENANTS = ("OU", "Tenants")  # marks a tenant's certificate
SYSTEM_TENANT = frozenset({"1", "system"})
SCOPE = re.compile(r"(?i:crdb)://(?:tenant/(?P<id>[0-9]{1,40})|tenant-name/(?P<tenant>[^/\s]+))/user/(?P<user>\S+)")
ANY_PRINCIPAL = (24, 2)  # the first version whose loader checks no principal
RDN = re.compile(r"(?:[^\\,]|\\.)+")
PART = re.compile(r"(?:[^\\+]|\\.)+")


def principals(leaf: Leaf, terms: LoaderFlags) -> tuple[str, ...]:
    """Given a leaf, return its principals as the process maps them; of two mappings of a name the last one wins."""
    if not terms.principal_map:
        return leaf.principals
    mapped = dict(terms.principal_map)
    return tuple(mapped.get(p, p) for p in leaf.principals)


def users(leaf: Leaf, terms: LoaderFlags) -> tuple[str, ...]:
    """Given a leaf, return whom servers take it for, in whatever tenant. The map applies to no `crdb://` URI."""
    found = [scope_of(uri) for uri in leaf.scopes]
    return tuple(scope[1] for scope in found if scope) if found else principals(leaf, terms)


def refused_scopes(
    name: Name, wanted: str | None, scopes: tuple[str, ...], tenants: frozenset[str] = SYSTEM_TENANT
) -> str:
    """Given a pair's name, its user and `crdb://` URIs, return why servers refuse a certificate with them, or ""."""
    if wanted is None or not scopes or name.kind.part == "tenant":
        return ""
    return _malformed(scopes) or _elsewhere(wanted, scopes, tenants)


def tenants_of(uris: tuple[str, ...] | None) -> frozenset[str]:
    """Whose servers the pair is for: those of the system tenant, and of the tenants that configured URIs name."""
    return SYSTEM_TENANT | {scope[0] for scope in map(scope_of, uris or ()) if scope}


def _refused_whole(name: Name, leaf: Leaf) -> str:
    """Why the certificate is refused whoever it names. A tenant's own certificate names no user."""
    if name.kind.part == "tenant":
        return ""
    if TENANTS[1] in leaf.subject and any(TENANTS in rdn for rdn in _rdns(leaf.subject)):
        return "has OU=Tenants: servers take it for a tenant's certificate, and refuse it as a user's"
    return _malformed(leaf.scopes)


def _malformed(scopes: tuple[str, ...]) -> str:
    bad = [uri for uri in scopes if scope_of(uri) is None]
    return f"has the malformed URI SAN {quoted(bad[0])}: servers refuse the certificate" if bad else ""


def _elsewhere(wanted: str, scopes: tuple[str, ...], served: frozenset[str]) -> str:
    """Why URIs do not allow the user in a tenant that is served here."""
    good = {wanted, "root"} if wanted == NODE_USER else {wanted}
    tenants = [scope[0] for scope in map(scope_of, scopes) if scope and scope[1] in good]
    if not tenants:
        return f"is valid for the users of its crdb:// URIs only ({', '.join(scopes)}), not for {quoted(wanted)}"
    if not served & set(tenants):
        return (
            f"is valid for {quoted(wanted)} in tenant {', '.join(tenants)} only: servers of the system tenant refuse it"
        )
    return ""


def scope_of(uri: str) -> tuple[str, str] | None:
    """The tenant and the user of a `crdb://` URI; None where it is malformed."""
    found = SCOPE.fullmatch(uri)
    if found is None or (found["id"] and not 0 < int(found["id"]) <= LAST_TENANT):
        return None
    return (str(int(found["id"])) if found["id"] else found["tenant"]), found["user"]


def refused(
    name: Name,
    wanted: str | None,
    leaf: Leaf,
    terms: LoaderFlags,
    *,
    split: bool,
    tenants: frozenset[str] = SYSTEM_TENANT,
) -> str:
    """Why servers, or the loader of an old version, refuse the certificate as its user; and which of the two."""
    loader = name.kind.needed(name.subject, split=split).principal
    at_load = refused_by_loader(loader, leaf, terms)
    problem = refused_principal(name, wanted, leaf, terms, tenants)
    problem = problem or refused_subject(name, wanted, leaf, terms)
    new = loads_any_principal(terms)
    if at_load and new is False:
        return f"{at_load}: cockroach refuses the file"
    if not (at_load and problem):
        return problem
    when = "cockroach loads the file" if new else "cockroach up to 24.1 refuses the file; from 24.2 on it loads it"
    return f"{problem}: {when} and refuses connections"


def refused_principal(
    name: Name, wanted: str | None, leaf: Leaf, terms: LoaderFlags, tenants: frozenset[str] = SYSTEM_TENANT
) -> str:
    """Given a pair's name and its user, return why servers of these tenants refuse the leaf as that user, or "".

    As a node they take root's certificate too, which the loader refuses up to 24.1.
    """
    problem = _refused_whole(name, leaf) if wanted is not None else ""
    if problem or wanted is None:
        return problem
    if not terms.root_login and "root" in users(leaf, terms):
        return "names 'root', and --disallow-root-login refuses such a certificate"
    if wanted == NODE_USER and _subjects_of(wanted, terms):
        return refused_subject(name, wanted, leaf, terms)
    if leaf.scopes and name.kind.part != "tenant":
        return _elsewhere(wanted, leaf.scopes, tenants)
    good = {wanted, "root"} if wanted == NODE_USER and loads_any_principal(terms) else {wanted}
    return "" if good & set(users(leaf, terms)) else _unnamed(wanted, leaf, terms)


def refused_by_loader(wanted: str | None, leaf: Leaf, terms: LoaderFlags) -> str:
    """Given the principal that the loader of 24.1 and before wants, return why it refuses the leaf, or "".

    No flag or environment relaxes it but `--cert-principal-map`, and it looks at no URI.
    """
    return "" if wanted is None or wanted in principals(leaf, terms) else _unnamed(wanted, leaf, terms)


def loads_any_principal(terms: LoaderFlags) -> bool | None:
    """Whether that loader is in use no more; None where the version is not known."""
    return terms.release >= ANY_PRINCIPAL if terms.release else None


def _unnamed(wanted: str, leaf: Leaf, terms: LoaderFlags) -> str:
    mapped = " after --cert-principal-map" if terms.principal_map else ""
    named = ", ".join(n if n.isprintable() else repr(n) for n in dict.fromkeys(principals(leaf, terms)))
    return f"names {named or 'nobody'}{mapped}, not the principal {quoted(wanted)}"


def refused_subject(name: Name, wanted: str | None, leaf: Leaf, terms: LoaderFlags) -> str:
    """Given a pair that logs in as node or root, return why servers with these flags refuse its subject, or "".

    Such a flag wants a distinguished name, or a list of SANs all of which the certificate must have.
    """
    of = _subjects_of(wanted if wanted == NODE_USER else "root" if name == CLIENT_ROOT else None, terms)
    sans = set(leaf.sans)
    if not of or any(is_subject(dn, leaf.subject) for dn, _ in of if dn) or any(sans.issuperset(s) for _, s in of if s):
        return ""
    written = ",".join(reversed(RDN.findall(leaf.subject)))
    allowed = [dn or ",".join(san) for dn, san in of]
    flags = "the flags of cockroach allow" if wanted == NODE_USER else "the flags of cockroach for root allow"
    return f"has the subject {written or '(empty)'}, but {flags} {' or '.join(allowed)}: servers refuse it"


def _subjects_of(user: str | None, terms: LoaderFlags) -> list[tuple[str, tuple[str, ...]]]:
    """What the flags allow of a user: distinguished names and lists of SANs. A node may be root, too."""
    of_node = [(terms.node_dn, ()), ("", terms.node_sans)] if user == NODE_USER else []
    of_root = [(terms.root_dn, ()), ("", terms.root_sans)] if user in {NODE_USER, "root"} else []
    return [found for found in (*of_node, *of_root) if any(found)]


def is_subject(flag: str, subject: str) -> bool:
    """Given the value of a flag and a subject as RFC 4514 text, return whether they are one for cockroach.

    Types in any case, values exact; the parts of one multi-valued RDN in any order.
    """
    return _rdns(flag) == _rdns(subject)[::-1]


def _rdns(text: str) -> list[frozenset[tuple[str, str]]]:
    return [frozenset(_attribute(part) for part in PART.findall(rdn)) for rdn in RDN.findall(text)]


def _attribute(part: str) -> tuple[str, str]:
    kind, _, value = part.partition("=")
    return kind.strip().upper(), re.sub(r"\\(.)", r"\1", value.strip())
