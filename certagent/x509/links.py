"""Which certificates of a chain cockroach would ask about: all that Go puts into a chain, roots excluded.

As in Go, everything in the bundle is a root, so only certificates of the leaf's own file appear; where cross-signing
makes several chains, those of all of them.
"""

from dataclasses import dataclass
from hashlib import sha256

from cryptography import x509

from certagent.x509.certificate import Certificate
from certagent.x509.errors import REFUSALS, X509Error, reason_of
from certagent.x509.parsing import crl_urls, load_certificates, ocsp_urls

MOST = 16  # certificates of one file that are looked at: each is compared with each


@dataclass(frozen=True, slots=True)
class Link:
    """One certificate of a chain and the one that issued it, as DER, and what it names to be asked."""

    cert: bytes
    issuer: bytes
    fingerprint: str
    subject: str
    ocsp: tuple[str, ...]
    crl: tuple[str, ...]


def chain_links(certs_pem: bytes, bundle_pem: bytes) -> tuple[Link, ...]:
    """Given a certificate file and the bundle, return the links from the leaf up to the bundle, each certificate once.

    Where no chain builds but the file holds the leaf's issuer (the DB Console's, of a public CA), the leaf's alone. ()
    where its issuer is not known, or it is a root itself. Raises X509Error.
    """
    try:
        own, roots = load_certificates(certs_pem)[:MOST], load_certificates(bundle_pem) if bundle_pem else []
        issuers = {cert: _issuers(cert, own[1:], roots) for cert in dict.fromkeys(own)}
        standing = _standing(issuers, set(roots))
        if own[0] in roots or own[0] not in standing:
            return () if own[0] in roots else tuple(_link(own[0], c) for c in issuers[own[0]][:1])
        reached = _reached(own[0], issuers, standing)
        return tuple(_link(c, next(i for i in issuers[c] if i in standing or i in roots)) for c in reached)
    except REFUSALS as error:
        raise X509Error("unparsable", reason_of(error)) from error


Issuers = dict[Certificate, list[Certificate]]


def _issuers(cert: Certificate, between: list[Certificate], roots: list[Certificate]) -> list[Certificate]:
    return [c for c in dict.fromkeys((*roots, *between)) if c != cert and _issued(cert, c)]


def _issued(cert: Certificate, issuer: Certificate) -> bool:
    if cert.issuer != issuer.subject:
        return False
    try:
        cert.verify_issued_by(issuer)
    except REFUSALS:
        return False
    return True


def _standing(issuers: Issuers, roots: set[Certificate]) -> set[Certificate]:
    """Those from which some way leads to a root."""
    found: set[Certificate] = set()
    while fresh := {c for c, above in issuers.items() if c not in found and found.union(roots).intersection(above)}:
        found |= fresh
    return found


def _reached(leaf: Certificate, issuers: Issuers, standing: set[Certificate]) -> list[Certificate]:
    """The leaf and every certificate of its file above it that leads to a root, in order."""
    found = [leaf]
    for cert in found:
        found += [i for i in issuers.get(cert, []) if i in standing and i not in found]
    return found


def _link(cert: Certificate, issuer: Certificate) -> Link:
    found = {type(e.value): e.value for e in cert.shown.extensions}
    responders = ocsp_urls(found.get(x509.AuthorityInformationAccess))
    lists = crl_urls(found.get(x509.CRLDistributionPoints))
    name = cert.shown.subject.rfc4514_string() or "(empty)"
    return Link(cert.der, issuer.der, sha256(cert.der).hexdigest(), name, responders, lists)
