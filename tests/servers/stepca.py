"""step-ca: root, intermediate, and the provisioners `jwk`, `acme` and `x5c`.

Its certificates come from the intermediate; its own endpoint shows one from there too, so `root` is what to trust.
ACME is at `directory`: its http-01 goes to port 80 of what the system's resolver answers, its template makes CN=node.
`x5c` trusts a CA of its own, `enrolment`. Install: tests/servers/stepca/packages, tests/servers/stepca/install.
"""

import json
from base64 import b64encode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from cryptography import x509 as pyca
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certagent import x509
from tests.servers.process import SERVERS, Running, free_port, listens, missing

INSTALL = "tests/install"
YEAR = timedelta(days=365)
NODE = """{"subject": {"commonName": "node", "organization": "Cockroach"}, "sans": {{ toJson .SANs }},
 "keyUsage": ["digitalSignature"], "extKeyUsage": ["serverAuth", "clientAuth"]}"""


def step_file(name: str) -> str:
    """A file that step wrote, from its own tests; the password is "pass"."""
    path = Path("/usr/share/gocode/src/github.com/smallstep/certificates/authority/testdata/secrets", name)
    return path.read_text() if path.exists() else missing("test data of step-ca", INSTALL)


def binary() -> str:
    """Where the built server is."""
    found = SERVERS / "step-ca" / "bin" / "step-ca"
    return str(found) if found.exists() else missing("step-ca", INSTALL)


def intermediate(
    root: bytes, root_key: bytes, common: str = "step-ca test intermediate", lifetime: timedelta = YEAR
) -> tuple[bytes, bytes]:
    """Given a root and its key, return a CA below it: certificate and key as PEM."""
    parent = pyca.load_pem_x509_certificate(root)
    key_pem = x509.generate_key("ecdsa-p256")
    key = serialization.load_pem_private_key(key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    name = pyca.Name([pyca.NameAttribute(pyca.NameOID.COMMON_NAME, common)])
    usage = pyca.KeyUsage(False, False, False, False, False, True, True, False, False)
    now = datetime.now(UTC)
    builder = (
        pyca.CertificateBuilder(parent.subject, name, key.public_key(), pyca.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + lifetime)
        .add_extension(pyca.BasicConstraints(True, 0), True)
        .add_extension(usage, True)
        .add_extension(pyca.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    signer = serialization.load_pem_private_key(root_key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    above = pyca.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())  # as step writes it
    builder = builder.add_extension(above, False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), key_pem


def base64url(number: int) -> str:
    """A coordinate of a P-256 key as a JWK writes it."""
    return urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()


def new_jwk(kid: str = "provisioner-1") -> dict[str, str]:
    """A private P-256 key as a JWK."""
    numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()
    point = numbers.public_numbers
    made = {"kty": "EC", "crv": "P-256", "x": base64url(point.x), "y": base64url(point.y)}
    return made | {"d": base64url(numbers.private_value), "use": "sig", "alg": "ES256", "kid": kid}


def fingerprint(pem: bytes) -> str:
    """SHA-256 of a certificate's DER, as step prints it."""
    return sha256(pyca.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)).hexdigest()


class StepCa:
    """One server on loopback, for the `with` block. It may be entered again: the data stays."""

    def __init__(self, directory: Path, instead_of: "StepCa | None" = None, **authority: Any) -> None:
        """Everything it writes is below `directory`; `authority` goes into that part of its configuration.

        `instead_of`: one that is stopped, whose address and provisioners this one has, with a root of its own.
        """
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.port = instead_of.port if instead_of else free_port()
        self.url = f"https://localhost:{self.port}"
        self.directory_url = f"{self.url}/acme/acme/directory"
        now = datetime.now(UTC)
        root, root_key = x509.make_ca("step-ca test root", 2 * YEAR, now)
        crt, key = intermediate(root, root_key)
        self.root, self.fingerprint = root.decode(), fingerprint(root)
        other = x509.make_ca("federated root", YEAR, now)[0]
        self.federated, self.federated_fingerprint = other.decode(), fingerprint(other)
        self.enrolment = x509.make_ca("enrolment CA", YEAR, now)
        self.jwk = instead_of.jwk if instead_of else new_jwk()
        files = {"root.crt": root, "int.crt": crt, "int.key": key, "federated.crt": other}
        for name, data in files.items():
            (directory / name).write_bytes(data)
            (directory / name).chmod(0o600)
        self.ca = directory / "root.crt"
        self.config = directory / "ca.json"
        self.configure(**authority)
        command = [binary(), str(self.config)]
        self.running = Running(command, directory / "step-ca.log", lambda: listens(self.port))

    @property
    def provisioner_key(self) -> str:
        """The private key of the provisioner `jwk`, as JSON."""
        return json.dumps(self.jwk)

    def provisioners(self) -> list[dict[str, Any]]:
        """As ca.json lists them."""
        public = {k: v for k, v in self.jwk.items() if k != "d"}
        return [
            {"type": "JWK", "name": "jwk", "key": public},
            {"type": "ACME", "name": "acme", "options": {"x509": {"template": NODE}}},
            {"type": "X5C", "name": "x5c", "roots": b64encode(self.enrolment[0]).decode()},
        ]

    def configure(self, **authority: Any) -> None:
        """Write ca.json; SIGHUP or a start takes it."""
        here = self.directory
        claims = {"minTLSCertDuration": "5s", "maxTLSCertDuration": "24h", "defaultTLSCertDuration": "10m"}
        settings = {"claims": claims, "backdate": "30s", "provisioners": self.provisioners(), **authority}
        document = {
            "root": f"{here}/root.crt",
            "crt": f"{here}/int.crt",
            "key": f"{here}/int.key",
            "federatedRoots": [f"{here}/federated.crt"],
            "address": f"127.0.0.1:{self.port}",
            "dnsNames": ["localhost", "127.0.0.1"],
            "logger": {"format": "text"},
            "db": {"type": "badgerv2", "dataSource": f"{here}/db"},
            "tls": {"minVersion": 1.2, "maxVersion": 1.3},
            "authority": settings,
        }
        self.config.write_text(json.dumps(document, indent=1))

    def enrol(self, name: str = "host-1", lifetime: timedelta = YEAR) -> tuple[bytes, bytes]:
        """A pair of the enrolment CA: what the provisioner `x5c` accepts."""
        key = x509.generate_key("ecdsa-p256")
        now = datetime.now(UTC)
        span = {"not_before": now - timedelta(hours=1), "not_after": now + lifetime}
        csr = x509.make_csr(key, name, ())
        return x509.sign_csr(csr, *self.enrolment, server=False, client=True, **span), key

    def __enter__(self) -> Self:
        self.running.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.running.stop()
