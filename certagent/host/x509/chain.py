"""Whether a chain builds to a bundle, as Go's verifier (crypto/x509, Certificate.Verify) decides it.

Rejected: cryptography's own verifier. It wants a SAN in every leaf and a DNS name or address to look for, so it refuses
certificates of cockroach such as `node`, and client certificates without SANs. This is built on its pieces instead: the
search is ours, every signature is checked by `verify_directly_issued_by`. Names and name constraints are not checked
here; the in-memory handshake (OpenSSL) covers name constraints.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtensionOID

from certagent.host.x509.errors import REFUSALS, X509Error, reason_of
from certagent.host.x509.parsing import USAGES, load_certificates

Usage = Literal["server", "client", "any"]
MAX_DEPTH = 8
MAX_SIGNATURES = 200  # Go stops at 100; a bundle in the middle of two rotations needs a handful
HANDLED = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.POLICY_MAPPINGS,
        ExtensionOID.INHIBIT_ANY_POLICY,
    }
)


@dataclass(frozen=True, slots=True)
class Node:
    """One certificate, with everything the search asks of it, read once."""

    certificate: x509.Certificate
    der: bytes
    subject: bytes
    issuer: bytes
    text: str
    spki: bytes
    start: datetime
    end: datetime
    version: x509.Version
    constraints: x509.BasicConstraints | None
    may_sign: bool
    usages: frozenset[str] | None
    unhandled: tuple[str, ...]
    weak: str


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
    signed or not; an expired one beside a valid one does no harm. Hash functions that Go refuses (MD5, SHA-1)
    are refused.
    """
    try:
        leaf, *rest = (node_of(c) for c in load_certificates(certs_pem))
    except (X509Error, *REFUSALS) as error:
        return f"the certificate cannot be verified: {reason_of(error)}"
    try:
        roots = authorities(bundle_pem)
    except X509Error as error:
        return f"the bundle cannot be read: {error.message}"
    search = Search(roots, tuple(rest), usage, at)
    problem = _standing(leaf, search, above=None)
    if problem is not None:
        return problem
    if any(root.der == leaf.der for root in roots):
        return _usage_problem((leaf,), usage)
    if _builds((leaf,), search):
        return None
    return (
        search.problems[0]
        if search.problems
        else f"no certificate of the bundle issued it (issuer {_text(leaf.certificate.issuer)})"
    )


@lru_cache(maxsize=16)
def authorities(bundle_pem: bytes) -> tuple[Node, ...]:
    """Given a bundle, return its certificates ready for the search; X509Error.

    Kept: one bundle verifies many leaves.
    """
    try:
        return tuple(node_of(c) for c in load_certificates(bundle_pem))
    except REFUSALS as error:
        raise X509Error("unparsable", reason_of(error)) from error


def node_of(certificate: x509.Certificate) -> Node:
    """Given a certificate, read what the search asks of it; what cryptography raises passes through."""
    extensions = list(certificate.extensions)
    values = {type(e.value): e.value for e in extensions}
    key_usage, eku = values.get(x509.KeyUsage), values.get(x509.ExtendedKeyUsage)
    constraints = values.get(x509.BasicConstraints)
    digest = certificate.signature_hash_algorithm
    return Node(
        certificate=certificate,
        der=certificate.public_bytes(serialization.Encoding.DER),
        subject=certificate.subject.public_bytes(),
        issuer=certificate.issuer.public_bytes(),
        text=_text(certificate.subject),
        spki=certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        start=certificate.not_valid_before_utc,
        end=certificate.not_valid_after_utc,
        version=certificate.version,
        constraints=constraints if isinstance(constraints, x509.BasicConstraints) else None,
        may_sign=key_usage.key_cert_sign if isinstance(key_usage, x509.KeyUsage) else True,
        usages=frozenset(USAGES.get(o.dotted_string, "") for o in eku)
        if isinstance(eku, x509.ExtendedKeyUsage)
        else None,
        unhandled=tuple(e.oid.dotted_string for e in extensions if e.critical and e.oid not in HANDLED),
        weak=digest.name if digest is not None and digest.name in ("md5", "sha1") else "",
    )


def _text(name: x509.Name) -> str:
    return name.rfc4514_string() or "(empty)"


def _builds(chain: tuple[Node, ...], search: Search) -> bool:
    if len(chain) > MAX_DEPTH:
        search.problems.append(f"the chain is longer than {MAX_DEPTH} certificates")
        return False
    return any(_try(chain, issuer, is_root, search) for issuer, is_root in _candidates(chain, search))


def _candidates(chain: tuple[Node, ...], search: Search) -> Iterator[tuple[Node, bool]]:
    wanted = chain[-1].issuer
    used = {(n.subject, n.spki) for n in chain}
    for nodes, is_root in ((search.roots, True), (search.intermediates, False)):
        yield from ((n, is_root) for n in nodes if n.subject == wanted and (n.subject, n.spki) not in used)


def _try(chain: tuple[Node, ...], issuer: Node, is_root: bool, search: Search) -> bool:
    problem = (
        _authority_problem(issuer, is_root)
        or _standing(issuer, search, above=chain)
        or _signature_problem(chain[-1], issuer, search)
    )
    grown = (*chain, issuer)
    if problem is None and is_root:
        problem = _usage_problem(grown, search.usage)
        if problem is None:
            return True
    if problem is None:
        return _builds(grown, search)
    search.problems.append(problem)
    return False


def _authority_problem(issuer: Node, is_root: bool) -> str | None:
    old_root = is_root and issuer.version is not x509.Version.v3  # Go takes a version 1 root at its word
    if not old_root and not (issuer.constraints and issuer.constraints.ca):
        return f"the issuer {issuer.text} is not a CA"
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
        return f"{what} allows {limit} CAs beneath it, and the chain has {len(above) - 1}"
    return None


def _signature_problem(child: Node, issuer: Node, search: Search) -> str | None:
    if search.left <= 0:
        return f"no chain was found within {MAX_SIGNATURES} signature checks"
    if child.weak:
        return f"the signature on {child.text} uses {child.weak}, which Go refuses"
    search.left -= 1
    try:
        child.certificate.verify_directly_issued_by(issuer.certificate)
    except REFUSALS:
        return f"the signature on {child.text} was not made by the key of {issuer.text} in the bundle or the file"
    return None


def _usage_problem(chain: tuple[Node, ...], usage: Usage) -> str | None:
    if usage == "any":
        return None
    wanted = {f"{usage}Auth", "any"}
    for place, node in enumerate(chain):
        if node.usages is not None and not node.usages & wanted:
            what = "the certificate" if place == 0 else f"the issuer {node.text}"
            return f"the extended key usage of {what} does not allow {usage}Auth"
    return None
