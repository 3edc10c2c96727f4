"""`openssl ocsp` as the responder of a CA: an index of serial numbers, and a delegated responder's certificate.

It listens on all interfaces, and the first answer after a change of the index is stale: `say` starts it anew. A bare
connect and close blocks it for good, so it is ready when it says so in its log.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.servers.process import Running, free_port, program

INSTALL = "apt-get install -y openssl"
DAY = timedelta(days=1)
STAMP = "%y%m%d%H%M%SZ"


def delegate(ca_pem: bytes, ca_key_pem: bytes, *, usage: bool = True) -> tuple[bytes, bytes]:
    """A responder's certificate and key, issued by the CA; without `usage` it may not answer."""
    ca = x509.load_pem_x509_certificate(ca_pem)
    ca_key = serialization.load_pem_private_key(ca_key_pem, None)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "OCSP responder")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(ca.subject, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - DAY).not_valid_after(now + DAY)
    builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    made = builder.sign(ca_key, hashes.SHA256())
    return made.public_bytes(pem), key.private_bytes(pem, pkcs8, serialization.NoEncryption())


class OpensslOcsp:
    """One responder; runs in the `with` block. The CA is `directory/ca.crt` and `ca.key`, ours or anybody's."""

    def __init__(self, directory: Path, ca: bytes, ca_key: bytes, minutes: int = 5) -> None:
        directory.mkdir(exist_ok=True)
        self.directory, self.port = directory, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.index = directory / "index.txt"
        self.rows: dict[int, str] = {}
        self.index.write_text("")
        responder, key = delegate(ca, ca_key)
        for name, data in (("ca.pem", ca), ("ocsp.pem", responder), ("ocsp.key", key)):
            (directory / name).write_bytes(data)
        words = ["-index", "index.txt", "-CA", "ca.pem", "-rsigner", "ocsp.pem", "-rkey", "ocsp.key", "-ignore_err"]
        command = [program("openssl", INSTALL), "ocsp", "-port", str(self.port), *words, "-nmin", str(minutes)]
        self.log = directory / "ocsp.log"
        self.running = Running(command, self.log, lambda: b"waiting for" in self.log.read_bytes(), cwd=directory)

    def say(self, serial: int, status: str) -> None:
        """From now on a serial number is "good" or "revoked"."""
        self.running.stop()
        now = datetime.now(UTC)
        digits = f"{serial:X}"
        octets = digits.zfill(len(digits) + len(digits) % 2)
        mark, when = ("R", f"{now:{STAMP}},keyCompromise") if status == "revoked" else ("V", "")
        self.rows[serial] = f"{mark}\t{now + DAY:{STAMP}}\t{when}\t{octets}\tunknown\t/CN={serial}\n"
        self.index.write_text("".join(self.rows.values()))
        self.log.write_bytes(b"")
        self.running.__enter__()

    def __enter__(self) -> Self:
        self.running.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.running.stop()
