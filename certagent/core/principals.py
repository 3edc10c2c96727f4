"""Who a certificate is for cockroach: principals after `--cert-principal-map`, and the distinguished-name flags.

Sources: the loader wants the file's user among the principals, and `node` in a dual-purpose node.crt; with
`--node-cert-distinguished-name` or `--root-cert-distinguished-name` set, every RPC and root's SQL log-in want an exact
subject instead, which nothing says before the next handshake. Rejected: comparing DNs as text; `CN=node, O=Cockroach`
and `cn=node,o=Cockroach` are one name.
"""

import re

from certagent.core.facts import Leaf, Terms
from certagent.core.names import NODE, Name, Role

NODE_USER = "node"
PART = re.compile(r"((?:[^\\,+]|\\.)+)(?:[,+]|$)")


def principals(leaf: Leaf, terms: Terms) -> tuple[str, ...]:
    """Given a leaf, return its principals as the process maps them; of two mappings of a name the last one wins."""
    mapped = dict(terms.principal_map)
    return tuple(mapped.get(p, p) for p in leaf.principals)


def refused_principal(name: Name, wanted: str | None, leaf: Leaf, terms: Terms) -> str:
    """Given a pair's name and the principal it needs, return why the loader refuses the leaf, "" where it does not."""
    if wanted is None:
        return ""
    have = principals(leaf, terms)
    if wanted in have:
        return ""
    if name == NODE and (terms.node_user in have or (terms.node_dn and same_name(terms.node_dn, leaf.subject))):
        return ""
    mapped = " after --cert-principal-map" if terms.principal_map else ""
    named = ", ".join(n if n.isprintable() else repr(n) for n in dict.fromkeys(have))
    return f"names {named or 'nobody'}{mapped}, not the principal {wanted!r}"


def refused_subject(name: Name, wanted: str | None, leaf: Leaf, terms: Terms) -> str:
    """Given a pair that logs in as node or root, return why servers with these flags refuse its subject, or ""."""
    if wanted is None or not (terms.node_dn or terms.root_dn):
        return ""
    if wanted == NODE_USER:
        allowed = [dn for dn in (terms.node_dn, terms.root_dn) if dn]
        flags = "--node-cert-distinguished-name and --root-cert-distinguished-name allow"
    elif name == Name(Role.CLIENT, "root") and terms.root_dn:
        allowed, flags = [terms.root_dn], "--root-cert-distinguished-name allows"
    else:
        return ""
    if any(same_name(dn, leaf.subject) for dn in allowed):
        return ""
    return f"its subject is {leaf.subject or '(empty)'}, and {flags} {' or '.join(allowed)}: servers refuse it"


def same_name(one: str, other: str) -> bool:
    """Given two distinguished names as RFC 4514 text, return whether they are one: types in any case, values exact."""
    return _parts(one) == _parts(other)


def _parts(text: str) -> list[tuple[str, str]]:
    found = []
    for part in PART.findall(text):
        kind, _, value = part.partition("=")
        found.append((kind.strip().upper(), re.sub(r"\\(.)", r"\1", value.strip())))
    return found
