"""A CA that is hostile, or broken, under a whole daemon: refused with the right finding, the old pair untouched.

The server speaks CFSSL's protocol; what it does wrong is named by the common name that it is asked to sign.
"""

import base64
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509 as pyca
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certagent import x509
from tests.moments import now
from tests.servers.web import Handler, Web
from tests.system.running import Agent, Host
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
PEM = serialization.Encoding.PEM
DAY = timedelta(days=1)
SHORT = (-timedelta(minutes=1), timedelta(minutes=9))  # a changed name waits up to 5 % of it
TIMEOUT = 3
MOST_SECONDS = 120.0  # until the last of them is refused, on a machine that others use
MOST_GROWTH = 40 << 10  # KiB of the daemon's memory, over all of them


def leaf(ca: "Ca", csr: pyca.CertificateSigningRequest, **wrong: Any) -> str:
    """What the request asks for, but for what is said to be wrong."""
    key, issuer = wrong.get("issuer", (ca.key, ca.name))
    public = wrong.get("public", csr.public_key())
    after, until = wrong.get("span", (-DAY / 24, DAY * 30))
    start = wrong.get("begins", now() + after)
    end = now() + until
    builder = pyca.CertificateBuilder(
        issuer, wrong.get("subject", csr.subject), public, pyca.random_serial_number(), start, end
    )
    builder = builder.add_extension(pyca.BasicConstraints(wrong.get("is_ca", False), None), True)
    usages = wrong.get("usages", [pyca.ExtendedKeyUsageOID.SERVER_AUTH, pyca.ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = builder.add_extension(pyca.ExtendedKeyUsage(usages), False)
    if names := wrong.get("names", ca.names(csr)):
        builder = builder.add_extension(pyca.SubjectAlternativeName(names), False)
    return builder.sign(key, hashes.SHA256()).public_bytes(PEM).decode()


class Ca:
    """A root in memory."""

    def __init__(self, name: str = "hostile root") -> None:
        pem, key = x509.make_ca(name, DAY * 365, now())
        self.pem = pem
        self.name = pyca.load_pem_x509_certificate(pem).subject
        loaded = serialization.load_pem_private_key(key, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        self.key = loaded

    def names(self, csr: pyca.CertificateSigningRequest) -> list[pyca.GeneralName]:
        try:
            return list(csr.extensions.get_extension_for_class(pyca.SubjectAlternativeName).value)
        except pyca.ExtensionNotFound:
            return []


CA, STRANGER = Ca(), Ca("another root")
OTHER_KEY = ec.generate_private_key(ec.SECP256R1()).public_key()


def signed(**wrong: Any) -> Callable[[Handler, pyca.CertificateSigningRequest], None]:
    def answer(handler: Handler, csr: pyca.CertificateSigningRequest) -> None:
        certificate(handler, leaf(CA, csr, **wrong))

    return answer


def certificate(handler: Handler, pem: str) -> None:
    handler.reply(200, json.dumps({"success": True, "result": {"certificate": pem}}).encode())


def raw(body: bytes) -> Callable[[Handler, pyca.CertificateSigningRequest], None]:
    return lambda handler, _: handler.reply(200, body)


def drip(handler: Handler, first: bytes, each: bytes) -> None:
    handler.wfile.write(first)
    while not handler.server.over.wait(0.05):
        handler.wfile.write(each)


def flood(handler: Handler, first: bytes, each: bytes) -> None:
    handler.wfile.write(first)
    while not handler.server.over.is_set():
        handler.wfile.write(each)


OK = b"HTTP/1.1 200 OK\r\n"
BROKEN_DER = (
    "-----BEGIN CERTIFICATE-----\n"
    + base64.b64encode(b"\x30\x82\xff\xff" * 64).decode()
    + "\n-----END CERTIFICATE-----\n"
)
NESTED = b"[" * 200_000
Wrong = tuple[Callable[[Handler, pyca.CertificateSigningRequest], None], str, str]
REFUSED, FAILING = "renewal.refused", "renewal.failing"
WRONGS: dict[str, Wrong] = {
    "drips-its-body": (lambda h, _: drip(h, OK + b"\r\n", b"{"), "did not answer|deadline|within `timeout`", FAILING),
    "drips-its-headers": (lambda h, _: drip(h, OK + b"X: ", b"x"), "did not answer|deadline|within `timeout`", FAILING),
    "never-answers": (lambda h, _: h.server.over.wait(), "did not answer|deadline|within `timeout`|timed out", FAILING),
    "floods-its-body": (lambda h, _: flood(h, OK + b"\r\n", b"x" * 65536), "over 1048576 bytes", FAILING),
    "floods-its-headers": (lambda h, _: flood(h, OK, b"X-A: " + b"x" * 60000 + b"\r\n"), "cannot reach", FAILING),
    "hangs-up": (lambda h, _: h.connection.close(), "cannot reach", FAILING),
    "redirects-to-a-file": (
        lambda h, _: h.reply(302, Location="file:///etc/shadow"),
        "redirects to .withheld",
        FAILING,
    ),
    "redirects-elsewhere": (
        lambda h, _: h.reply(307, Location="http://10.0.0.1/"),
        "redirects to .withheld",
        FAILING,
    ),
    "sends-no-json": (raw(b"{'success': True}"), "not JSON", FAILING),
    "sends-nested-json": (raw(NESTED), "not JSON", FAILING),
    "sends-no-pem": (
        raw(b'{"success": true, "result": {"certificate": "none"}}'),
        "the certificate is not PEM",
        FAILING,
    ),
    "sends-broken-der": (lambda h, _: certificate(h, BROKEN_DER), "cannot", FAILING),
    "sends-another-type": (raw(b'{"success": true, "result": {"certificate": 7}}'), "cannot", FAILING),
    "takes-another-key": (signed(public=OTHER_KEY), "does not match", REFUSED),
    "names-another-user": (
        signed(subject=pyca.Name([pyca.NameAttribute(pyca.NameOID.COMMON_NAME, "root")])),
        "not the principal",
        REFUSED,
    ),
    "is-expired": (signed(span=(-DAY * 1.5, -DAY / 24)), "expired at", REFUSED),
    "is-of-tomorrow": (signed(span=(DAY, DAY * 9)), "not valid before", REFUSED),
    "is-a-ca": (signed(is_ca=True), "is a CA certificate", REFUSED),
    "is-of-another-root": (signed(issuer=(STRANGER.key, STRANGER.name)), "not trusted by ca.crt", REFUSED),
    "claims-our-root": (signed(issuer=(STRANGER.key, CA.name)), "not trusted by ca.crt", REFUSED),
    "cannot-be-a-client": (signed(usages=[pyca.ExtendedKeyUsageOID.SERVER_AUTH]), "lacks clientAuth", REFUSED),
}
NODE = signed(names=[pyca.DNSName("elsewhere.example.com"), pyca.IPAddress(ip_address("127.0.0.1"))])


STEMS = ("node", *(f"client.{user}" for user in WRONGS))


def request_of(handler: Handler) -> pyca.CertificateSigningRequest:
    asked = json.loads(base64.b64decode(json.loads(handler.body)["request"]))
    return pyca.load_pem_x509_csr(asked["certificate_request"].encode())


class Hostile:
    """The server, its host and its daemon; good until `evil` is set."""

    def __init__(self, host: Host) -> None:
        self.host, self.evil, self.asked = host, threading.Event(), 0
        self.agent: Agent
        self.before: dict[str, bytes] = {}
        self.start = 0

    def configure(self, server: Web, name: str, stems: Iterable[str] = STEMS) -> None:
        table = f"[authority.evil]\ntype = 'cfssl'\nurl = '{server.url}'\nauth_key = '{self.host.base}/auth.hex'\n"
        table += f"timeout = '{TIMEOUT}s'\nissuing_roots = '{self.host.base}/root.crt'"
        files = "\n".join(f"[certs_dir.file.'{stem}']\nnames = ['127.0.0.1', 'localhost', '{name}']" for stem in stems)
        self.host.write(house=table, authority='"evil"', clients="[]", extra=files)

    def answer(self, handler: Handler) -> None:
        if handler.path.endswith("/info"):
            certificate(handler, CA.pem.decode())
            return
        self.asked += 1
        csr = request_of(handler)
        name = str(csr.subject.get_attributes_for_oid(pyca.NameOID.COMMON_NAME)[0].value)
        if not self.evil.is_set():
            certificate(handler, leaf(CA, csr, span=SHORT))
        elif name == "node":
            NODE(handler, csr)
        else:
            WRONGS[name][0](handler, csr)

    def files(self) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in self.host.certs.iterdir() if p.is_file()}

    def memory(self) -> int:
        assert self.agent.process is not None
        status = Path(f"/proc/{self.agent.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def refused(self, stem: str, reason: str, code: str) -> None:
        """Its renewal ended with that reason, in the log and as that finding; nothing live has changed."""

        def ended() -> list[str]:
            events = [e for e in self.agent.events() if e["file"] == stem]
            return [e["reason"] for e in events if e["event"] in {"issue.failed", "issue.refused", "pair.refused"}]

        def told() -> bool:  # a slow machine may be late for the first answer, and asks again
            return any(re.search(reason, said) for said in ended())

        wait_until(told, lambda: f"{stem} is refused: {reason}, not {ended()}", MOST_SECONDS)
        wait_until(lambda: (code, f"{stem}.crt") in self.findings(), f"{code} of {stem}")
        assert self.files() == self.before

    def findings(self) -> set[tuple[str, str]]:
        return {(f["code"], f["file"]) for d in self.host.json("status")["certs_dirs"] for f in d["findings"]}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    host = Host(tmp_path_factory.mktemp("hostile"))
    made = Hostile(host)
    (host.base / "root.crt").write_bytes(CA.pem)
    (host.base / "auth.hex").write_text("00112233445566778899aabbccddeeff")
    with Web(made.answer) as server:
        made.configure(server, "localhost")
        host.make_certs()
        with host.agent() as agent:
            made.agent = agent
            wait_until(lambda: len(agent.events("pair.installed")) == len(WRONGS) + 2, "all pairs are there")
            made.before, made.start = made.files(), made.memory()
            made.evil.set()
            made.configure(server, "db9.example.com")  # a new name: everything is asked for again
            yield made


@pytest.mark.parametrize("name", WRONGS)
def test_hostile_ca_answers_are_refused(hostile: Hostile, name: str) -> None:
    """Each is refused with a sentence that says what is wrong, in bounded time; the live pair stays."""
    _, reason, code = WRONGS[name]
    hostile.refused(f"client.{name}", reason, code)


def test_answer_without_configured_names_is_refused(hostile: Hostile) -> None:
    """A node's certificate without the configured names is refused by the pre-install checks."""
    hostile.refused("node", "lacks the configured names localhost, db9.example.com", REFUSED)


def test_hostile_ca_leaves_daemon_unchanged(hostile: Hostile) -> None:
    """After all of it: the same files, no more memory, no process or directory of a worker is left."""
    assert hostile.memory() - hostile.start < MOST_GROWTH
    assert hostile.files() == hostile.before
    assert hostile.host.json("status")["daemon"]


def test_answer_not_yet_valid_is_installed_later(tmp_path: Path) -> None:
    """It backdates nothing, and its certificates begin some seconds later: installed then, and asked for once."""
    host = Host(tmp_path)
    begins: list[datetime] = []

    def answer(handler: Handler) -> None:
        if handler.path.endswith("/info"):
            certificate(handler, CA.pem.decode())
            return
        begins.append(now().replace(microsecond=0) + timedelta(seconds=6))
        certificate(handler, leaf(CA, request_of(handler), begins=begins[-1]))

    (host.base / "root.crt").write_bytes(CA.pem)
    (host.base / "auth.hex").write_text("00112233445566778899aabbccddeeff")
    host.make_certs()
    with Web(answer) as server:
        Hostile(host).configure(server, "localhost", ("node",))
        with host.agent() as agent:
            done = wait_until(lambda: [e for e in agent.events("pair.installed") if e["file"] == "node"], "installed")
    assert len(begins) == 1
    assert datetime.fromisoformat(done[0]["ts"]) >= begins[0]
