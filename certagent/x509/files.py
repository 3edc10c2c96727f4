"""The bytes of one file -> the fact of that file; a problem is part of the fact, never raised."""

from hashlib import sha256

from certagent.core.facts import CertFile, File, KeyFile
from certagent.core.names import stem_of
from certagent.core.roles import BUNDLES
from certagent.x509.errors import X509Error
from certagent.x509.parsing import facts_of, load_readable, parse_certificates, parse_key
from certagent.x509.pem import pooled


def cert_file(file: File, data: bytes) -> CertFile:
    """Given the bytes of a certificate file, return its fact."""
    digest, unread, bundle = sha256(data).hexdigest(), "", stem_of(file.name) in BUNDLES
    try:
        if bundle:
            found, unread = load_readable(data)
            first, *rest = map(facts_of, found)
        else:
            first, *rest = parse_certificates(data)
    except X509Error as error:
        return CertFile(file, digest, None, (), str(error), error.kind)
    return CertFile(file, digest, first, tuple(rest), pooled=not bundle or any(pooled(data)), unread=unread)


def key_file(file: File, data: bytes) -> KeyFile:
    """Given the bytes of a key file, return its fact: the digest of its public half, never a byte of it."""
    digest = sha256(data).hexdigest()
    try:
        spki, kind = parse_key(data)
    except X509Error as error:
        return KeyFile(file, digest, None, "", str(error), "unparsable")
    return KeyFile(file, digest, spki, kind)
