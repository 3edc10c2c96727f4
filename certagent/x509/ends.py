"""When the CA certificates that a chain may need expire."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from certagent.x509.chain import authorities
from certagent.x509.errors import REFUSALS, X509Error
from certagent.x509.node import text_of
from certagent.x509.parsing import load_certificates


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class End:
    """A CA certificate and its notAfter."""

    at: datetime
    subject: str


def ca_ends(certs_pem: bytes, bundles: Iterable[bytes]) -> tuple[End, ...]:
    """Given a leaf's file and bundles, return the end of every CA certificate in them; what cannot be read has none."""
    try:
        found = load_certificates(certs_pem)[1:]
        found += [node.certificate for bundle in bundles for node in authorities(bundle).roots]
        return tuple(End(at=c.shown.not_valid_after_utc, subject=text_of(c.shown.subject)) for c in found)
    except (X509Error, *REFUSALS):
        return ()
