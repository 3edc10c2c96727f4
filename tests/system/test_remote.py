"""Remote authorities under a whole daemon, against step-ca: the worker, pinned roots, renewal, failover."""

from collections.abc import Iterator

import pytest

from certagent.host.x509 import parse_certificates
from tests.servers.stepca import StepCa
from tests.system.running import Host
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.real]

HOUSE = """
[authority.pki]
type = "step"
url = "{url}"
provisioner = "jwk"
root = "{fingerprint}"
provisioner_key = "{key}"
{pin}
"""


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StepCa]:
    with StepCa(tmp_path_factory.mktemp("step")) as running:
        yield running


def configure(host: Host, ca: StepCa, pin: str = "", extra: str = "", **options: str) -> None:
    """The host's certificates come from step-ca; its key lies in a file."""
    key = host.base / "provisioner.jwk"
    key.write_text(ca.provisioner_key)
    key.chmod(0o600)
    pinned = pin or f'issuing_fingerprints = ["{ca.fingerprint}"]'
    table = HOUSE.format(url=ca.url, fingerprint=ca.fingerprint, key=key, pin=pinned)
    host.write(house=table + extra, **{"authority": '"pki"', **options})


def test_first_issuance_until_served(host: Host, ca: StepCa) -> None:
    """An empty directory: the bundle of pinned roots, both pairs, served and accepted; `reuse` of nothing is left."""
    configure(host, ca)
    assert host.once().returncode == 0
    assert [c.fingerprint for c in parse_certificates((host.certs / "ca.crt").read_bytes())] == [ca.fingerprint]
    with host.server() as server, host.agent():
        wait_until(lambda: host.file("node")["proof"] == "served", "the node's pair is proven")
        wait_until(lambda: host.file("client.root")["proof"] == "accepted", "the client's pair is accepted")
        assert host.file("node")["fingerprint"] == server.served("sql")
    assert list((host.certs / ".certagent" / "pending").iterdir()) == []
