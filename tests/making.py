"""Real CAs, keys and certificates for tests of the host."""

import os
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509 as pyca
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certagent import keys, x509
from certagent.keys import Key
from tests.moments import now

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Ca:
    """A CA in memory, and the moment by which it and its leaves are dated."""

    cert: bytes
    key: bytes
    at: datetime

    def pair(
        self, stem: str = "node", days: int = 30, names: tuple[str, ...] = ("localhost",), uris: tuple[str, ...] = ()
    ) -> tuple[bytes, bytes]:
        """A new key and its leaf: (certificate, key)."""
        own = x509.generate_key("ecdsa-p256")
        user = stem.partition(".")[2] or "node"
        server = stem in {"node", "ui"}
        csr = x509.make_csr(own, user, (*(names if server else ()), *uris))
        begin, end = self.at - DAY, self.at + days * DAY
        cert = x509.sign_csr(
            csr, self.cert, self.key, server=server, client=stem != "ui", not_before=begin, not_after=end
        )
        return cert, own


def make_ca(name: str = "test CA", days: int = 3650, at: datetime | None = None) -> Ca:
    """Of `at`: the moment by which the test judges; None: of now."""
    moment = at or now()
    return Ca(*x509.make_ca(name, days * DAY, moment), moment)


def keyed(pair: tuple[bytes, bytes]) -> tuple[bytes, Key]:
    """A pair as the agent has it: the key by a descriptor."""
    return pair[0], Key.of(pair[1])


def inside(key: Key | None) -> bytes | None:
    """The bytes of a key."""
    return None if key is None else os.pread(key.fileno(), 1 << 20, 0)


def matched(cert: bytes | None, key: bytes | None) -> bool:
    """Whether a key belongs to the first certificate of a file."""
    return keys.matched(cert, None if key is None else Key.of(key))


def cross_signed(cert: bytes, by: Ca) -> bytes:
    """The same CA, name and key, below another root."""
    known, above = pyca.load_pem_x509_certificate(cert), pyca.load_pem_x509_certificate(by.cert)
    builder = pyca.CertificateBuilder(
        above.subject,
        known.subject,
        known.public_key(),
        pyca.random_serial_number(),
        known.not_valid_before_utc,
        known.not_valid_after_utc,
        [pyca.Extension(e.oid, e.critical, e.value) for e in known.extensions],
    ).add_extension(pyca.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key()), critical=False)  # type: ignore[arg-type]
    key = serialization.load_pem_private_key(by.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def put(directory: Path, stem: str, pair: tuple[bytes, bytes]) -> None:
    """Write a pair as an operator would."""
    (directory / f"{stem}.crt").write_bytes(pair[0])
    (directory / f"{stem}.key").write_bytes(pair[1])
    (directory / f"{stem}.key").chmod(0o600)


def filled(directory: Path, *stems: str) -> Ca:
    """A certs-dir with a bundle and pairs of one CA."""
    directory.mkdir(mode=0o700, exist_ok=True)
    ca = make_ca()
    (directory / "ca.crt").write_bytes(ca.cert)
    for stem in stems or ("node",):
        put(directory, stem, ca.pair(stem))
    return ca


def open_way(path: Path) -> None:
    """Let everybody walk to a directory of a test: through the tests' own directories, never this machine's."""
    own = Path(tempfile.gettempdir()).resolve()
    for folder in (path, *(parent for parent in path.parents if own in parent.resolve().parents)):
        folder.chmod(0o755)
