"""The root certificates of this system, by which browsers verify ui.crt: where they are, and which are usable.

They are the first file of OpenSSL's default and of the list that Go tries (crypto/x509, root_linux.go). Rejected: the
directory of hashed names; every distribution that has one also has the file.
"""

import os
import ssl
import stat
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from certagent import x509
from certagent.posix import directory
from certagent.posix.trusted import distrust

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
    """The roots of a file as PEM, and a mark that changes when the file changes; or why they are not used."""

    mark: Mark
    known: bytes | None  # None: those of the system, read and parsed only where something verifies by them
    problem: str = ""

    @property
    def pem(self) -> bytes:
        """As PEM."""
        return _read(self.mark) if self.known is None else self.known


def load(configured: str = "") -> Roots:
    """The configured file, else the system's. Never raises; a path on a network mount may block the caller."""
    at = stat_key(configured)
    return Roots(at, _read(at) if configured else None)


def load_trusted(configured: str) -> Roots:
    """The same of a configured file for an agent that acts by it: none of it where another user could change it."""
    with suppress(OSError):
        if problem := distrust(configured):
            return Roots((f"{configured}: {problem}", 0, 0, 0), b"", problem)
    return load(configured)


def mark_of(found: Roots | None) -> Mark:
    """A mark that changes when the file changes, or is read for the first time."""
    return found.mark if found else UNREAD


def place(configured: str = "") -> str:
    """The file: the configured one, else the system's; "" if there is none."""
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

    A link is followed, unlike in a certs-dir: distributions install the file as a link, and only root may write there.
    """
    try:
        with open(os.open(at[0], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return x509.usable(file.read(LIMIT)) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except OSError:
        return b""
