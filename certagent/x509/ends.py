"""When the CA certificates that a chain may need expire."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from certagent.x509.chain import authorities
from certagent.x509.errors import REFUSALS, X509Error
from certagent.x509.node import node_of
from certagent.x509.parsing import load_certificates


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class End:
    """A CA certificate and its notAfter."""

    at: datetime
    subject: str


def ca_ends(certs_pem: bytes, bundles: Iterable[bytes]) -> tuple[End, ...]:
    """Given a leaf's file and bundles, return the end of every CA certificate in them; what cannot be read has none."""
    try:
        own = [node_of(certificate) for certificate in load_certificates(certs_pem)[1:]]
        roots = (node for bundle in bundles for node in authorities(bundle).roots)
        return tuple(End(at=node.end, subject=node.text) for node in (*own, *roots))
    except (X509Error, *REFUSALS):
        return ()
