"""Whether a chain builds to a bundle, as Go's verifier (crypto/x509, Certificate.Verify) decides it.

First cryptography's verifier is asked for a chain (profile.py says how far it goes); a chain that it finds and that
passes Go's rules is the answer. Otherwise this module searches, with cryptography's pieces: every signature is checked
by `verify_directly_issued_by`. Either way the rules are these: dates, critical extensions, CA flags, key usage, path
length, nested extended key usage, name constraints, hash functions. Not looked at: host names (a probe's matter),
revocation (ocsp), certificate policies (nothing in a database's PKI uses them).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Literal

from cryptography import x509
from cryptography.x509.verification import Store

from certagent.x509.constraints import names_problem
from certagent.x509.errors import REFUSALS, X509Error, reason_of
from certagent.x509.node import EMPTY, Node, node_of
from certagent.x509.parsing import load_certificates, load_readable
from certagent.x509.pem import pooled
from certagent.x509.profile import chain_to

Usage = Literal["server", "client", "any"]
MAX_SIGNATURES = 100  # Go's own bound; a bundle in the middle of two rotations needs a handful


@dataclass(frozen=True, slots=True)
class Bundle:
    """The roots, ready for both searches."""

    roots: tuple[Node, ...]
    store: Store | None
    passed_over: int = 0  # certificates with PEM headers: cockroach loads them, Go's pool leaves them out
    unread: bool = False  # it has a certificate that only certagent cannot read


@dataclass(slots=True)
class Search:
    """What one search looks for, and the signature checks it has left."""

    roots: tuple[Node, ...]
    intermediates: tuple[Node, ...]
    usage: Usage
    at: datetime
    left: int = MAX_SIGNATURES
    problems: list[str] = field(default_factory=list)


def verify_chain(certs_pem: bytes, bundle_pem: bytes, usage: Usage, at: datetime) -> str | None:
    """Given a certificate file, a bundle and a moment, return None when the first certificate builds to the bundle.

    Otherwise one sentence with the first problem met. Every certificate of the bundle counts as a root, self-
    signed or not; an expired one next to a valid one does no harm. Hash functions that Go refuses (MD5, SHA-1)
    are refused.
    """
    try:
        leaf, *rest = (node_of(c) for c in load_certificates(certs_pem))
    except (X509Error, *REFUSALS) as error:
        return f"the certificate cannot be verified: {reason_of(error)}"
    try:
        bundle = authorities(bundle_pem)
    except X509Error as error:
        return f"the bundle cannot be read: {error.message}"
    search = Search(bundle.roots, tuple(rest), usage, at)
    problem = _standing(leaf, search, above=None)
    if problem is not None:
        return problem
    if any(root.der == leaf.der for root in bundle.roots):
        return _rules_problem((leaf,), usage)
    if _found(leaf, bundle, search) or _builds((leaf,), search):
        return None
    return search.problems[0] if search.problems else _unissued(leaf, bundle)


def _unissued(leaf: Node, bundle: Bundle) -> str:
    sentence = f"its issuer {leaf.certificate.names[1].whole or EMPTY} is not in the bundle"
    if bundle.passed_over:
        sentence += (
            f"; Go ignores certificates with PEM headers ({bundle.passed_over} in the bundle): remove the header lines"
        )
    return sentence


def _found(leaf: Node, bundle: Bundle, search: Search) -> bool:
    """Whether cryptography's verifier finds a chain, and Go's rules hold on it."""
    if bundle.store is None or not leaf.certificate.as_it_stands:
        return False
    nodes = {n.certificate.shown: n for n in (*bundle.roots, *search.intermediates, leaf)}
    between = [n.certificate.shown for n in search.intermediates if n.certificate.as_it_stands]
    found = chain_to(bundle.store, leaf.certificate.shown, between, search.at)
    chain = tuple(nodes[c] for c in found)
    for place, issuer in enumerate(chain[1:], 1):
        root = place == len(chain) - 1
        if _authority_problem(issuer, root) or _standing(issuer, search, chain[:place]) or chain[place - 1].weak:
            return False
    return bool(chain) and _rules_problem(chain, search.usage) is None


def undecided(bundle_pem: bytes) -> bool:
    """Whether a bundle has a certificate that only certagent cannot read: what builds to no other may build to it."""
    try:
        return authorities(bundle_pem).unread
    except X509Error as error:
        return error.kind == "unread"


def comparisons(certs_pem: bytes, bundles: Iterable[bytes | None]) -> int:
    """Given a certificate's file and bundles, return how many comparisons name constraints may take; 0 for what fails.

    Above the leaf there are the further certificates of its file; a file of one is not parsed where no root constrains.
    """
    try:
        roots = [node for bundle in bundles if bundle for node in authorities(bundle).roots if node.subtrees]
        if not roots and certs_pem.count(b"-----BEGIN") < 2:  # noqa: PLR2004 - a leaf alone
            return 0
        own = [node_of(c) for c in load_certificates(certs_pem)]
    except (X509Error, *REFUSALS):
        return 0
    names = sum(node.names.count for node in own)
    return names * sum(node.subtrees.count for node in (*own[1:], *roots) if node.subtrees)


@lru_cache(maxsize=16)
def authorities(bundle_pem: bytes) -> Bundle:
    """Given a bundle, return its certificates ready for the search; X509Error.

    Kept: one bundle verifies many leaves.
    """
    (listed, unread), counted = load_readable(bundle_pem), frozenset(pooled(bundle_pem))
    certificates = [c for c in listed if c.der in counted]
    standing = [c.shown for c in certificates if c.as_it_stands]
    try:
        store = Store(standing) if standing else None
        nodes = tuple(node_of(c) for c in certificates)
        return Bundle(nodes, store, len(listed) - len(certificates), unread=bool(unread))
    except REFUSALS as error:
        raise X509Error("unparsable", reason_of(error)) from error


def _builds(chain: tuple[Node, ...], search: Search) -> bool:
    return any(_try(chain, issuer, is_root, search) for issuer, is_root in _candidates(chain, search))


def _candidates(chain: tuple[Node, ...], search: Search) -> Iterator[tuple[Node, bool]]:
    wanted = chain[-1].issuer
    used = {n.identity for n in chain}
    for nodes, is_root in ((search.roots, True), (search.intermediates, False)):
        yield from ((n, is_root) for n in nodes if n.subject == wanted and n.identity not in used)


def _try(chain: tuple[Node, ...], issuer: Node, is_root: bool, search: Search) -> bool:
    problem = (
        _authority_problem(issuer, is_root)
        or _standing(issuer, search, above=chain)
        or _signature_problem(chain[-1], issuer, search)
    )
    grown = (*chain, issuer)
    if problem is None and is_root:
        problem = _rules_problem(grown, search.usage)
        if problem is None:
            return True
    if problem is None:
        return _builds(grown, search)
    search.problems.append(problem)
    return False


def _rules_problem(chain: tuple[Node, ...], usage: Usage) -> str | None:
    """What Go asks of a whole chain."""
    return _usage_problem(chain, usage) or names_problem((n.text, n.names, n.subtrees) for n in chain)


def _authority_problem(issuer: Node, is_root: bool) -> str | None:
    old_root = is_root and issuer.version is not x509.Version.v3  # Go takes a version 1 root at its word
    if not old_root and not (issuer.constraints and issuer.constraints.ca):
        return f"the issuer {issuer.text} is not a CA"
    if not issuer.verifies:
        return f"the issuer {issuer.text} has a key of a type that Go does not support"
    if not issuer.may_sign:
        return f"the key usage of the issuer {issuer.text} does not allow it to sign certificates"
    return None


def _standing(node: Node, search: Search, above: tuple[Node, ...] | None) -> str | None:
    what = "the certificate" if above is None else f"the issuer {node.text}"
    if search.at < node.start:
        return f"{what} is not valid before {node.start:%Y-%m-%dT%H:%M:%SZ}"
    if search.at > node.end:
        return f"{what} expired at {node.end:%Y-%m-%dT%H:%M:%SZ}"
    if node.unhandled:
        return f"{what} has a critical extension that Go does not know: {', '.join(node.unhandled)}"
    limit = node.constraints.path_length if node.constraints and node.constraints.ca else None
    if above is not None and limit is not None and len(above) - 1 > limit:
        return f"{what} allows {limit} CAs below it, but the chain has {len(above) - 1}"
    return None


def _signature_problem(child: Node, issuer: Node, search: Search) -> str | None:
    if search.left <= 0:
        return f"no chain was found within {MAX_SIGNATURES} signature checks"
    if child.weak:
        return f"the signature on {child.text} uses {child.weak}, which Go refuses"
    search.left -= 1
    try:
        child.certificate.verify_issued_by(issuer.certificate)
    except REFUSALS:
        return f"the signature on {child.text} was not made by the key of {issuer.text} in the bundle or the file"
    return None


def _usage_problem(chain: tuple[Node, ...], usage: Usage) -> str | None:
    if usage == "any":
        return None
    wanted = {f"{usage}Auth", "any"}
    for place, node in enumerate(chain):
        if node.usages and not node.usages & wanted:
            what = "the certificate" if place == 0 else f"the issuer {node.text}"
            return f"the extended key usage of {what} does not allow {usage}Auth"
    return None
