"""A TLS pair for a test server on loopback, and the CA that signed it: `tls-ca.pem`, `cert.pem`, `key.pem`."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from certagent import x509

NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class ServerPair:
    """Where the three files are."""

    ca: Path
    cert: Path
    key: Path


def server_pair(directory: Path) -> ServerPair:
    """Make them."""
    directory.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    ca, ca_key = x509.make_ca("TLS CA of a test server", timedelta(days=30), now)
    key = x509.generate_key("ecdsa-p256")
    csr = x509.make_csr(key, "localhost", NAMES)
    span = {"not_before": now - timedelta(hours=1), "not_after": now + timedelta(days=20)}
    cert = x509.sign_csr(csr, ca, ca_key, server=True, client=True, **span)
    made = ServerPair(directory / "tls-ca.pem", directory / "cert.pem", directory / "key.pem")
    for path, data in ((made.ca, ca), (made.cert, cert), (made.key, key)):
        path.write_bytes(data)
        path.chmod(0o600 if path is made.key else 0o644)
    return made
