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
from certagent.core.names import CLIENT_ROOT, NODE, Name

NODE_USER = "node"
TENANTS = ("OU", "Tenants")  # marks a tenant's certificate
SYSTEM_TENANT = frozenset({"1", "system"})
SCOPE = re.compile(r"(?i:crdb)://(?:tenant/(?P<id>[0-9]{1,40})|tenant-name/(?P<tenant>[^/\s]+))/user/(?P<user>\S+)")
LAST_TENANT = 2**64 - 1
RDN = re.compile(r"(?:[^\\,]|\\.)+")
PART = re.compile(r"(?:[^\\+]|\\.)+")


def principals(leaf: Leaf, terms: LoaderFlags) -> tuple[str, ...]:
    """Given a leaf, return its principals as the process maps them; of two mappings of a name the last one wins."""
    mapped = dict(terms.principal_map)
    return tuple(mapped.get(p, p) for p in leaf.principals)


def refused_scope(name: Name, wanted: str | None, leaf: Leaf) -> str:
    """Given a pair's name and its user, return why servers refuse the leaf whatever else it names, or "".

    A tenant's own certificate is not checked: it names no user.
    """
    if wanted is None or name.kind.part == "tenant":
        return ""
    if TENANTS[1] in leaf.subject and any(TENANTS in rdn for rdn in _rdns(leaf.subject)):
        return "has OU=Tenants: servers take it for a tenant's certificate, and refuse it as a user's"
    found = {uri: _scope(uri) for uri in leaf.scopes}
    if bad := [uri for uri, scope in found.items() if scope is None]:
        return f"has the malformed URI SAN {bad[0]!r}: servers refuse the certificate"
    tenants = [scope[0] for scope in found.values() if scope and scope[1] == wanted]
    if found and not tenants:
        return f"is valid for the users of its crdb:// URIs only ({', '.join(found)}), not for {wanted!r}"
    if found and not SYSTEM_TENANT & set(tenants):
        return f"is valid for {wanted!r} in tenant {', '.join(tenants)} only: servers of the system tenant refuse it"
    return ""


def _scope(uri: str) -> tuple[str, str] | None:
    """The tenant and the user of a `crdb://` URI; None where it is malformed."""
    found = SCOPE.fullmatch(uri)
    if found is None or (found["id"] and not 0 < int(found["id"]) <= LAST_TENANT):
        return None
    return (str(int(found["id"])) if found["id"] else found["tenant"]), found["user"]


def refused_principal(name: Name, wanted: str | None, leaf: Leaf, terms: LoaderFlags) -> str:
    """Given a pair's name and the principal it needs, return why the loader refuses the leaf, "" where it does not."""
    problem = refused_scope(name, wanted, leaf)
    if problem or wanted is None or leaf.scopes:
        return problem
    have = principals(leaf, terms)
    if wanted in have:
        return ""
    if name == NODE and (terms.node_user in have or (terms.node_dn and is_subject(terms.node_dn, leaf.subject))):
        return ""
    mapped = " after --cert-principal-map" if terms.principal_map else ""
    named = ", ".join(n if n.isprintable() else repr(n) for n in dict.fromkeys(have))
    return f"names {named or 'nobody'}{mapped}, not the principal {wanted!r}"


def refused_subject(name: Name, wanted: str | None, leaf: Leaf, terms: LoaderFlags) -> str:
    """Given a pair that logs in as node or root, return why servers with these flags refuse its subject, or ""."""
    if wanted is None or not (terms.node_dn or terms.root_dn):
        return ""
    if wanted == NODE_USER:
        allowed = [dn for dn in (terms.node_dn, terms.root_dn) if dn]
        flags = "--node-cert-distinguished-name and --root-cert-distinguished-name allow"
    elif name == CLIENT_ROOT and terms.root_dn:
        allowed, flags = [terms.root_dn], "--root-cert-distinguished-name allows"
    else:
        return ""
    if any(is_subject(dn, leaf.subject) for dn in allowed):
        return ""
    written = ",".join(reversed(RDN.findall(leaf.subject)))
    return f"has the subject {written or '(empty)'}, but {flags} {' or '.join(allowed)}: servers refuse it"


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
