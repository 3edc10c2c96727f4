"""The roots of this machine, by which browsers here verify the DB Console's pair: where they lie, and the usable ones.

The first file of OpenSSL's default and of the list that Go looks through (crypto/x509, root_linux.go). Rejected: the
hashed directory beside it; every distribution that has one has the file as well.
"""

import os
import ssl
import stat
from dataclasses import dataclass
from functools import lru_cache

from certagent import x509
from certagent.posix import directory

PLACES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
LIMIT = 8 << 20
Mark = tuple[str, int, int, int]
UNREAD: Mark = ("", -1, 0, 0)


@dataclass(frozen=True, slots=True)
class Roots:
    """What a file of roots holds, as PEM, and what changes when the file changes."""

    mark: Mark
    pem: bytes


def load(configured: str = "") -> Roots:
    """The configured file, else the system's. Never raises; a path of another machine may hold the caller up."""
    at = stat_key(configured)
    return Roots(at, _read(at))


def mark_of(found: Roots | None) -> Mark:
    """What changes when the file changes, or is read for the first time."""
    return found.mark if found else UNREAD


def place(configured: str = "") -> str:
    """The file: the configured one, else the system's; "" where there is none."""
    if configured:
        return configured
    found = (ssl.get_default_verify_paths().cafile, *PLACES)
    return next((path for path in found if path and os.path.exists(path)), "")


def stat_key(configured: str = "") -> Mark:
    """What changes when the file changes; cheap."""
    path = place(configured)
    return (path, *(directory.stat_key(path) or (0, 0, 0)))


@lru_cache(maxsize=4)
def _read(at: Mark) -> bytes:
    """Its roots as PEM, without those that cannot be used; b"" where it cannot be read.

    Followed, other than what lies in a certs-dir: distributions link it, and only root may write there.
    """
    try:
        with open(os.open(at[0], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return x509.usable(file.read(LIMIT)) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except OSError:
        return b""
