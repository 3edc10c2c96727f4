"""Build trust bundles, and find the CAs of a bundle that a leaf chains to."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from certagent.x509.answers import signed_by
from certagent.x509.certificate import Certificate, read
from certagent.x509.chain import Usage, authorities, verify_chain
from certagent.x509.errors import REFUSALS, X509Error, reason_of
from certagent.x509.node import Node, node_of
from certagent.x509.parsing import facts_of, load_certificates
from certagent.x509.pem import pooled

MOST_ROOTED = 128  # certificates whose issuers are looked for among each other
MOST_ANCHORS = 16  # CAs of one bundle that are tried alone


def merged(*bundles: bytes) -> bytes:
    """Given bundles as PEM, return one with the certificates of all, in order, each once. Raises X509Error."""
    found = [c.pem for bundle in bundles if bundle for c in load_certificates(bundle)]
    return b"".join(dict.fromkeys(found))


def rooted(added: bytes, bundle: bytes) -> frozenset[str]:
    """Given certificates as PEM, return the fingerprints of those that are self-signed or lead to one that is known.

    Known are these certificates and those of the bundle. Nothing is said of more than a few. Raises X509Error.
    """
    new = load_certificates(added)
    left = [*new, *load_certificates(bundle)]
    if len(left) > MOST_ROOTED:
        return frozenset()
    found = [c for c in left if signed_by(c, c)]
    reached = list(found)
    while reached:
        issuers, left = reached, [c for c in left if c not in found]
        reached = [c for c in left if any(c.issuer == i.subject and signed_by(c, i) for i in issuers)]
        found += reached
    return frozenset(sha256(c.der).hexdigest() for c in found if c in new)


def usable(bundle_pem: bytes) -> bytes:
    """Given the roots of a system as PEM, return those that can be used, newly written.

    As Go's AppendCertsFromPEM: an entry that is not a certificate or cannot be parsed is skipped, so that the others
    still count.
    """
    found = []
    for der in pooled(bundle_pem):
        try:
            found.append(node_of(read(der)).certificate.pem)
        except (X509Error, *REFUSALS):
            continue
    return b"".join(found)


def anchors(certs_pem: bytes, bundle_pem: bytes, usage: Usage, at: datetime) -> tuple[str, ...]:
    """Given a leaf and the bundle that verifies it, return the spki (as Leaf.spki) of every CA that suffices alone.

    The rest of the bundle counts as intermediates then: a leaf under an intermediate hangs on its root as well. Where
    there is one CA, that it verifies the leaf is known already: a directory may have ten thousand clients' pairs. Only
    CAs that the leaf's issuer names lead to are tried, and of those the first few: each trial reads them all.
    """
    try:
        roots = authorities(bundle_pem).roots
        good = roots if len(roots) == 1 else _sufficient(certs_pem, roots, usage, at)
        return tuple(dict.fromkeys(sha256(node.spki).hexdigest() for node in good if node.spki))
    except (X509Error, *REFUSALS):
        return ()


def led_to(served: Sequence[bytes], bundle_pem: bytes, at: datetime) -> tuple[str, ...]:
    """Given the chain that a server sent as DER and a bundle, return the spki of every CA that verifies it alone.

    () where none does. The moment is moved into the validity of the leaf: that it has expired, the server's own agent
    says. Raises X509Error.
    """
    try:
        leaf, chain = facts_of(read(served[0])), b"".join(node_of(read(der)).certificate.pem for der in served)
        at = min(max(at, leaf.not_before), leaf.not_after)
        known = usable(bundle_pem)
        roots = merged(known) if known else b""
        return anchors(chain, roots, "server", at) if verify_chain(chain, roots, "server", at) is None else ()
    except (IndexError, *REFUSALS) as error:
        raise X509Error("unparsable", reason_of(error)) from error


def _sufficient(certs_pem: bytes, roots: tuple[Node, ...], usage: Usage, at: datetime) -> list[Node]:
    cas = _above(load_certificates(certs_pem), roots)[:MOST_ANCHORS]
    chain = b"\n".join([certs_pem.rstrip(), *(ca.certificate.pem for ca in cas)])
    return [ca for ca in cas if verify_chain(chain, ca.certificate.pem, usage, at) is None]


def _above(own: list[Certificate], roots: tuple[Node, ...]) -> list[Node]:
    """Given a leaf's file and a bundle, return what issuer names lead to in the bundle, in its order, or the leaf."""
    issuers: dict[bytes, set[bytes]] = {}
    for certificate in (*own[1:], *(root.certificate for root in roots)):
        issuers.setdefault(certificate.subject, set()).add(certificate.issuer)
    names = [own[0].issuer]
    for name in names:
        names += issuers.pop(name, set()).difference(names)
    reached = frozenset(names)
    return [ca for ca in roots if ca.subject in reached or ca.certificate == own[0]]
