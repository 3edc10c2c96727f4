"""X.509: bytes <-> facts, keys, requests, chain verification, a handshake in memory.

The only package that imports cryptography, so that what a lazy accessor may raise is known in one place.
"""

from certagent.host.x509.chain import verify_chain
from certagent.host.x509.errors import X509Error
from certagent.host.x509.handshake import handshake
from certagent.host.x509.making import generate_key, make_ca, make_csr, sign_csr
from certagent.host.x509.parsing import parse_certificates, parse_key

__all__ = [
    "X509Error",
    "generate_key",
    "handshake",
    "make_ca",
    "make_csr",
    "parse_certificates",
    "parse_key",
    "sign_csr",
    "verify_chain",
]
