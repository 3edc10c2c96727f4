"""X.509: bytes <-> facts, keys, requests, chain verification, a handshake in memory.

The only room that imports cryptography, so that what a lazy accessor may raise is known in one place.
"""

import codecs
import warnings

from certagent.x509.acme import challenge_pair, renewal_id
from certagent.x509.answers import arranged, is_root, parse_request, request_der, roots_of, same_identity
from certagent.x509.bundles import anchors, led_to, merged, rooted, usable
from certagent.x509.chain import Usage, comparisons, undecided, verify_chain
from certagent.x509.crl import crl_answer
from certagent.x509.ends import End, ca_ends
from certagent.x509.errors import X509Error
from certagent.x509.files import cert_file, key_file
from certagent.x509.handshake import handshake, memory_file, pair_pem
from certagent.x509.jws import sign_jws
from certagent.x509.links import Link, chain_links
from certagent.x509.making import generate_key, make_ca, make_csr, sign_csr
from certagent.x509.ocsp import RevocationAnswer, ocsp_answer, ocsp_request
from certagent.x509.parsing import parse_certificates, parse_key, split_certificates

__all__ = [
    "End",
    "Link",
    "RevocationAnswer",
    "Usage",
    "X509Error",
    "anchors",
    "arranged",
    "ca_ends",
    "cert_file",
    "chain_links",
    "challenge_pair",
    "comparisons",
    "crl_answer",
    "generate_key",
    "handshake",
    "is_root",
    "key_file",
    "led_to",
    "make_ca",
    "make_csr",
    "memory_file",
    "merged",
    "ocsp_answer",
    "ocsp_request",
    "pair_pem",
    "parse_certificates",
    "parse_key",
    "parse_request",
    "renewal_id",
    "request_der",
    "rooted",
    "roots_of",
    "same_identity",
    "sign_csr",
    "sign_jws",
    "split_certificates",
    "undecided",
    "usable",
    "verify_chain",
]

# The encodings of names in certificates are loaded now: a process that has become another user may no longer read them.
for _codec in ("ascii", "latin-1", "utf-16-be", "utf-32-be", "idna"):
    codecs.lookup(_codec)

# What cryptography warns of while it parses (a serial number of 0, a country of three letters) is an old certificate's
# matter; on stderr it would stand between the lines of the log. Everything that parses is below this package.
warnings.filterwarnings("ignore", category=UserWarning, module=r"certagent\.x509|cryptography")
