"""ACME at step-ca, whose template makes a certificate that cockroach takes for `node`."""

from collections.abc import Iterator

import pytest

from certagent import x509
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Issued
from tests.authority.asking import Client, now
from tests.servers.process import free_address
from tests.servers.stepca import StepCa

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.root]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StepCa]:
    with StepCa(tmp_path_factory.mktemp("step-ca")) as running:
        yield running


@pytest.fixture(scope="module")
def address() -> str:
    """For these tests alone: step-ca asks at its port 80."""
    return free_address()


def test_step_ca_acme_node_certificate(server: StepCa, address: str) -> None:
    """An IP identifier by http-01: CN=node by the CA's template, both usages, for as long as was asked; renewed."""
    client = Client(server.directory_url, server.root, {"listen_address": address})
    answer = client.ask("issue", (address,), lifetime=1800.0)
    assert isinstance(answer, Issued)
    leaf = x509.parse_certificates(answer.chain.encode())[0]
    assert ("node",) == leaf.common_names
    assert (address,) == leaf.ips
    assert {"serverAuth", "clientAuth"} == set(leaf.eku or ())
    assert abs((leaf.not_after - now()).total_seconds() - 1800) < 120
    assert x509.verify_chain(answer.chain.encode(), server.root.encode(), "client", now()) is None
    assert isinstance(client.ask("issue", (address,), live=answer.chain), Issued)


def test_step_ca_acme_lifetime_beyond_maximum_is_refused(server: StepCa, address: str) -> None:
    """step-ca answers with an error of its own: its text is reported, and nothing of the order is stored."""
    client = Client(server.directory_url, server.root, {"listen_address": address})
    with pytest.raises(AuthorityError, match="serverInternal") as caught:
        client.ask("issue", (address,), lifetime=10 * 86400.0)
    assert ("failed", {}) == (caught.value.kind, client.own)
