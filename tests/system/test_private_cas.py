"""step-ca, OpenBao and CFSSL under a whole daemon: first issuance, served, renewed, served again; what refuses."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from certagent.x509 import parse_certificates
from tests.making import make_ca
from tests.servers.cfssl import Cfssl
from tests.servers.openbao import OpenBao
from tests.servers.stepca import StepCa, fingerprint, step_file
from tests.system.running import Host
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.real]


@dataclass(frozen=True)
class Case:
    """One server, running, and how a host is configured for it."""

    table: str  # of [authority.pki], without its secrets
    secrets: dict[str, str]
    root: str  # fingerprint of what the trust bundle must hold
    log: Path
    extra: str = "[certs_dir.file.ui]"  # of the certs-dir
    way: str = ""  # the renewal's endpoint, in the log of the CA

    def configure(self, host: Host, **changed: str) -> None:
        """Each secret lies in a file of its own."""
        lines = ["[authority.pki]", self.table]
        for name, value in {**self.secrets, **changed}.items():
            path = host.base / name
            path.write_text(f"{value}\n")
            path.chmod(0o600)
            lines.append(f'{name} = "{path}"')
        host.write(house="\n".join(lines), extra=self.extra, authority='"pki"')


def step(base: Path, stack: ExitStack) -> Case:
    """The provisioner's key as step encrypted it; renewals by the live key, which stays."""
    public, sealed = json.loads(step_file("step_cli_key_pub.jwk")), step_file("step_cli_key_priv.jwk")
    ca = StepCa(base)
    ca.configure(provisioners=[{"type": "JWK", "name": "jwk", "key": public}])
    stack.enter_context(ca)
    reuse = "[certs_dir.file.node]\nreuse_key = true\n[certs_dir.file.ui]\nreuse_key = true"
    secrets = {"provisioner_key": sealed, "provisioner_password": "pass"}
    return Case(step_table(ca), secrets, ca.fingerprint, base / "step-ca.log", reuse, "/1.0/renew")


def rekey(base: Path, stack: ExitStack) -> Case:
    """step-ca's /rekey: the worker is handed the live pair, asked for by name."""
    ca = stack.enter_context(StepCa(base))
    table = f'{step_table(ca)}\ncredential = "leaf"'
    secrets = {"provisioner_key": ca.provisioner_key}
    return Case(table, secrets, ca.fingerprint, base / "step-ca.log", way="/1.0/rekey")


def step_table(ca: StepCa) -> str:
    table = f'type = "step"\nurl = "{ca.url}"\nroot = "{ca.fingerprint}"\nprovisioner = "jwk"\nrenewal = "live"\n'
    return f'{table}issuing_fingerprints = ["{ca.fingerprint}"]'


def vault(base: Path, stack: ExitStack) -> Case:
    base.mkdir()
    bao = stack.enter_context(OpenBao(base))
    secrets = {"role_id": bao.role_id, "secret_id": bao.secret_id}
    return Case(f'{vault_table(bao)}\nauth = "approle"', secrets, fingerprint(bao.root.encode()), base / "openbao.log")


def by_certificate(base: Path, stack: ExitStack) -> Case:
    """OpenBao by an enrolment pair in the handshake."""
    base.mkdir()
    bao = stack.enter_context(OpenBao(base))
    ca = make_ca("enrolment CA")
    bao.call("POST", "sys/auth/cert", {"type": "cert"})
    bao.call("POST", "auth/cert/certs/hosts", {"certificate": ca.cert.decode(), "token_policies": "certagent"})
    cert, key = ca.pair("client.host-1")
    for name, data in (("enrolment.crt", cert), ("enrolment.key", key)):
        (base / name).write_bytes(data)
        (base / name).chmod(0o600)
    shown = f'client_cert = "{base}/enrolment.crt"\nclient_key = "{base}/enrolment.key"'
    table = f'{vault_table(bao)}\nauth = "cert"\n{shown}'
    return Case(table, {}, fingerprint(bao.root.encode()), base / "openbao.log")


def vault_table(bao: OpenBao) -> str:
    root = fingerprint(bao.root.encode())
    table = f'type = "vault"\nurl = "{bao.url}"\ntls_roots = "{bao.ca}"\nrole = "node"\n'
    return f'{table}issuing_fingerprints = ["{root}"]'


def cfssl(base: Path, stack: ExitStack) -> Case:
    base.mkdir()
    ca = stack.enter_context(Cfssl(base))
    roots = base / "roots.pem"
    roots.write_text(ca.root)
    table = f'type = "cfssl"\nurl = "{ca.url}"\ntls_roots = "{ca.ca}"\nprofile = "node"\nissuing_roots = "{roots}"'
    return Case(table, {"auth_key": ca.auth_key}, fingerprint(ca.root.encode()), base / "cfssl.log")


@pytest.fixture(scope="module", params=[step, rekey, vault, by_certificate, cfssl], ids=lambda make: make.__name__)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    with ExitStack() as stack:
        yield request.param(tmp_path_factory.mktemp("ca") / "server", stack)


def test_private_ca_from_empty_directory_to_served_renewal(host: Host, case: Case) -> None:
    """An empty directory: bundle and pairs; served and accepted; then a renewal, until the new pair is served."""
    case.configure(host)
    result = host.once()
    assert result.returncode == 0, result.stdout
    assert [case.root] == [c.fingerprint for c in parse_certificates((host.certs / "ca.crt").read_bytes())]
    with host.server() as server, host.agent():
        wait_until(lambda: host.file("node")["proof"] == "served", "the node's pair is proven")
        wait_until(lambda: host.file("client.root")["proof"] == "accepted", "the client's pair is accepted")
        before = server.served("sql")
        renewed = host.run("renew", "node")
        assert renewed.returncode == 0, renewed.stderr
        assert before != server.served("sql") == host.file("node")["fingerprint"]
        assert server.served("http") == host.file("ui")["fingerprint"]
    assert case.way in case.log.read_text(errors="replace")


@pytest.mark.parametrize("case", [vault], indirect=True, ids=["vault"])
def test_private_ca_wrong_credentials_keep_live_pair(host: Host, case: Case) -> None:
    """The pair in service stays, and the reason names the CA, never a secret; the right ones work immediately."""
    case.configure(host)
    assert host.once().returncode == 0
    live = (host.certs / "node.crt").read_bytes()
    case.configure(host, **dict.fromkeys(case.secrets, "0123456789abcdef"))
    with host.server(), host.agent() as agent:
        assert host.run("renew", "client.root").returncode == 1
        event = agent.wait_event("issue.failed")
        assert "cannot " in event["reason"]
        assert (host.certs / "node.crt").read_bytes() == live
        assert "0123456789abcdef" not in agent.log_path.read_text()
        case.configure(host)
        wait_until(lambda: host.run("renew", "client.root", "--force").returncode == 0, "with the right ones")
