"""step-ca, OpenBao and CFSSL under a whole daemon: first issuance, served, renewed, served again; what refuses."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from certagent.host.x509 import parse_certificates
from tests.servers.cfssl import Cfssl
from tests.servers.openbao import OpenBao
from tests.servers.stepca import StepCa, fingerprint
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
    extra: str = ""  # of the certs-dir

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
    ca = stack.enter_context(StepCa(base))
    table = f'type = "step"\nurl = "{ca.url}"\nroot = "{ca.fingerprint}"\nprovisioner = "jwk"\nrenewal = "live"\n'
    table += f'issuing_fingerprints = ["{ca.fingerprint}"]'
    reuse = "[certs_dir.file.node]\nreuse_key = true"
    return Case(table, {"provisioner_key": ca.provisioner_key}, ca.fingerprint, base / "step-ca.log", reuse)


def vault(base: Path, stack: ExitStack) -> Case:
    base.mkdir()
    bao = stack.enter_context(OpenBao(base))
    root = fingerprint(bao.root.encode())
    table = f'type = "vault"\nurl = "{bao.url}"\ntls_roots = "{bao.ca}"\nrole = "node"\nauth = "approle"\n'
    table += f'issuing_fingerprints = ["{root}"]'
    return Case(table, {"role_id": bao.role_id, "secret_id": bao.secret_id}, root, base / "openbao.log")


def cfssl(base: Path, stack: ExitStack) -> Case:
    base.mkdir()
    ca = stack.enter_context(Cfssl(base))
    roots = base / "roots.pem"
    roots.write_text(ca.root)
    table = f'type = "cfssl"\nurl = "{ca.url}"\ntls_roots = "{ca.ca}"\nprofile = "node"\nissuing_roots = "{roots}"'
    return Case(table, {"auth_key": ca.auth_key}, fingerprint(ca.root.encode()), base / "cfssl.log")


@pytest.fixture(scope="module", params=[step, vault, cfssl], ids=lambda make: make.__name__)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    with ExitStack() as stack:
        yield request.param(tmp_path_factory.mktemp("ca") / "server", stack)


def test_from_nothing_to_a_served_renewal(host: Host, case: Case) -> None:
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
    ways = [line for line in case.log.read_text(errors="replace").splitlines() if "/1.0/renew" in line]
    assert bool(ways) == ("reuse_key" in case.extra)


@pytest.mark.parametrize("case", [vault], indirect=True, ids=["vault"])
def test_credentials_that_are_none(host: Host, case: Case) -> None:
    """The pair in service stays, and the reason names the CA, never a secret; the right ones are taken at once."""
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
