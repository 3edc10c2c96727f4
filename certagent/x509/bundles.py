"""Build trust bundles, and find the CAs of a bundle that a leaf chains to."""

from datetime import datetime
from hashlib import sha256

from certagent.x509.certificate import read
from certagent.x509.chain import Usage, authorities, verify_chain
from certagent.x509.errors import REFUSALS, X509Error
from certagent.x509.node import node_of
from certagent.x509.parsing import PRINTED, load_certificates
from certagent.x509.pem import pooled


def merged(*bundles: bytes) -> bytes:
    """Given bundles as PEM, return one with the certificates of all, in order, each once. Raises X509Error."""
    found = [c.pem for bundle in bundles for c in load_certificates(bundle)]
    return b"".join(dict.fromkeys(found))


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
    there is one CA, that it verifies the leaf is known already: a directory may have ten thousand clients' pairs.
    """
    try:
        cas = [node.certificate for node in authorities(bundle_pem).roots]
        chain = certs_pem.rstrip() + b"\n" + bundle_pem
        good = cas if len(cas) == 1 else [ca for ca in cas if verify_chain(chain, ca.pem, usage, at) is None]
        return tuple(dict.fromkeys(sha256(ca.shown.public_key().public_bytes(*PRINTED)).hexdigest() for ca in good))
    except (X509Error, *REFUSALS):
        return ()
