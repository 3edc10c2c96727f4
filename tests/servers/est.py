"""An EST server written from RFC 7030 and RFC 8951, because no packaged one exists: `python -m tests.servers.est DIR`.

cacerts, csrattrs, simpleenroll and simplereenroll over TLS, with client certificates (of an enrolment CA, or issued
here) or HTTP Basic. A CA of three levels: answers hold the leaf alone, as section 4.2.3 has it, and the intermediate is
in cacerts. The port is the kernel's choice, written to DIR/port; every request is a line of DIR/requests.

Labels (section 3.2.2) are its moods: `slow` answers 202 once, `busy` 503, `strict` refuses, `curves` wants P-384,
`garbage` and `foreign` answer 200 with something that is no certificate of ours.
"""

import base64
import json
import ssl
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from certagent.x509 import generate_key, make_ca, make_csr, sign_csr
from tests.servers.process import LOCALHOST, Running
from tests.servers.tls import ServerPair, server_pair

USER, PASSWORD = "node-enrolment", "correct horse"
CERTS_ONLY = "application/pkcs7-mime; smime-type=certs-only"
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
# SEQUENCE { SEQUENCE { id-ecPublicKey, SET { secp384r1 } }, OID ecdsa-with-SHA384, challengePassword }
CSRATTRS = bytes.fromhex("3029 3012 06072a8648ce3d0201 3107 06052b81040022 06082a8648ce3d040303 06092a864886f70d010907")


class Server(ThreadingHTTPServer):
    """The handshake happens in the connection's own thread."""

    daemon_threads = True

    def __init__(self, base: Path) -> None:
        super().__init__((LOCALHOST, 0), Handler)
        self.base = base
        self.seen: set[bytes] = set()  # requests that were told to wait
        self.issued: set[tuple[bytes, frozenset[str]]] = set()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(base / "cert.pem", base / "key.pem")
        context.verify_mode = ssl.CERT_OPTIONAL
        for name in ("enrolment-ca.pem", "root.pem", "issuing.pem"):
            context.load_verify_locations(base / name)
        self.context = context

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was not trusted, or did not trust: its own business."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        label, operation = self.parts()
        if operation == "cacerts":
            self.reply(200, bag(self.certificate("root"), self.certificate("issuing")))
        elif operation == "csrattrs" and label == "curves":
            self.reply(200, CSRATTRS)
        elif operation == "csrattrs":
            self.reply(204, b"")
        else:
            self.reply(404, b"no such operation")

    def do_POST(self) -> None:
        label, operation = self.parts()
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if operation not in {"simpleenroll", "simplereenroll"}:
            self.reply(404, b"no such operation")
        elif not self.who():
            self.reply(401, b"show a certificate or a password", {"WWW-Authenticate": 'Basic realm="est"'})
        elif self.headers.get("Content-Type") != "application/pkcs10":
            self.reply(415, b"send application/pkcs10")
        else:
            self.enrol(label, operation, x509.load_der_x509_csr(base64.b64decode(body)))

    def parts(self) -> tuple[str, str]:
        """(label, operation) of /.well-known/est[/LABEL]/OPERATION."""
        found = self.path.removeprefix("/.well-known/est/").split("/")
        return ("", found[0]) if len(found) == 1 else (found[0], found[-1])

    def who(self) -> str:
        """Who asks: the common name of a client certificate, or the user of a good password; "" nobody."""
        shown = self.connection.getpeercert(binary_form=True)
        if shown:
            return str(x509.load_der_x509_certificate(shown).subject.rfc4514_string())
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return USER if self.headers.get("Authorization") == f"Basic {basic}" else ""

    def enrol(self, label: str, operation: str, csr: x509.CertificateSigningRequest) -> None:
        der, identity = csr.public_bytes(DER), identity_of(csr)
        if operation == "simplereenroll" and identity not in self.server.issued:
            self.reply(400, b"there is no certificate of that subject and those names to renew")
        elif label == "strict":
            self.reply(400, b"the policy does not\r\nallow these names")
        elif label == "busy":
            self.reply(503, b"too much to do", {"Retry-After": "120"})
        elif label == "garbage":
            self.reply(200, b"", raw=b"<html>welcome to the guest network</html>")
        elif label == "foreign":
            self.reply(200, bag(self.certificate("issuing")))
        elif label == "slow" and der not in self.server.seen:
            self.server.seen.add(der)
            self.reply(202, b"", {"Retry-After": "7"})
        else:
            self.server.issued.add(identity)
            self.reply(200, bag(self.sign(csr)))

    def sign(self, csr: x509.CertificateSigningRequest) -> x509.Certificate:
        now, issuing = datetime.now(UTC), (self.server.base / "issuing.pem", self.server.base / "issuing.key")
        span = {"not_before": now - timedelta(minutes=1), "not_after": now + timedelta(days=30)}
        made = sign_csr(csr.public_bytes(PEM), *(p.read_bytes() for p in issuing), server=True, client=True, **span)
        return x509.load_pem_x509_certificate(made)

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.server.base / f"{name}.pem").read_bytes())

    def reply(self, status: int, data: bytes, headers: dict[str, str] | None = None, raw: bytes | None = None) -> None:
        """A success is base64 of DER, an error text."""
        body = raw if raw is not None else base64.encodebytes(data) if status == 200 else data
        with open(self.server.base / "requests", "a") as log:
            log.write(
                json.dumps({"method": self.command, "path": self.path, "who": self.who(), "status": status}) + "\n"
            )
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header(
            "Content-Type", "application/pkcs7-mime; smime-type=certs-only" if status == 200 else "text/plain"
        )
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The log is DIR/requests."""


def bag(*certificates: x509.Certificate) -> bytes:
    """PKCS#7 certs-only."""
    return pkcs7.serialize_certificates(list(certificates), DER)


def identity_of(csr: x509.CertificateSigningRequest) -> tuple[bytes, frozenset[str]]:
    """Subject and SANs: what a renewal must repeat (section 4.2.2)."""
    found = [e.value for e in csr.extensions if isinstance(e.value, x509.SubjectAlternativeName)]
    return csr.subject.public_bytes(), frozenset(str(n.value) for names in found for n in names)


def intermediate(root: bytes, root_key: bytes, at: datetime) -> tuple[bytes, bytes]:
    """An issuing CA under a root, of that moment: certificate and key as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    above = x509.load_pem_x509_certificate(root)
    signer = serialization.load_pem_private_key(root_key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuing CA of a test")])
    made = (
        x509.CertificateBuilder(above.subject, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(at - timedelta(hours=1))
        .not_valid_after(at + timedelta(days=300))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return made.public_bytes(PEM), key.private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@dataclass(frozen=True)
class Material:
    """What the server needs and a client is given, in one directory."""

    base: Path
    tls: ServerPair
    enrolment_cert: Path
    enrolment_key: Path
    root: Path


def material(base: Path) -> Material:
    """Make it: TLS pair, root and issuing CA, enrolment CA and one enrolment pair."""
    tls, now = server_pair(base), datetime.now(UTC)
    root, root_key = make_ca("root CA of a test", timedelta(days=3000), now)
    issuing, issuing_key = intermediate(root, root_key, now)
    ca, ca_key = make_ca("enrolment CA of a test", timedelta(days=300), now)
    key = generate_key("ecdsa-p256")
    span = {"not_before": now - timedelta(hours=1), "not_after": now + timedelta(days=90)}
    pair = sign_csr(make_csr(key, "db1-enrolment", ()), ca, ca_key, server=False, client=True, **span)
    files = {"root.pem": root, "issuing.pem": issuing, "issuing.key": issuing_key, "enrolment-ca.pem": ca}
    for name, data in {**files, "enrolment.pem": pair, "enrolment.key": key}.items():
        (base / name).write_bytes(data)
    (base / "enrolment.key").chmod(0o600)
    return Material(base, tls, base / "enrolment.pem", base / "enrolment.key", base / "root.pem")


class EstServer(Running):
    """The server as its own process."""

    def __init__(self, base: Path) -> None:
        self.material = material(base)
        command = [sys.executable, "-m", "tests.servers.est", str(base)]
        super().__init__(command, base / "log", (base / "port").exists)
        self.base = base

    @property
    def url(self) -> str:
        return f"https://localhost:{(self.base / 'port').read_text()}"

    def requests(self) -> list[dict[str, Any]]:
        """What it was asked: method, path, who, status."""
        path = self.base / "requests"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    server = Server(Path(sys.argv[1]))
    written = server.base / "port.new"
    written.write_text(str(server.server_port))
    written.rename(server.base / "port")
    server.serve_forever()
