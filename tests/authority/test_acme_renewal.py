"""Renewal information and profiles against acme2certifier."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from datetime import timedelta

import pytest

from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Issued, Renewal
from certagent.host import x509
from tests.authority.asking import Client, now
from tests.servers.acme2certifier import Acme2certifier
from tests.servers.proxy import Proxy

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.root]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Acme2certifier]:
    with Acme2certifier(tmp_path_factory.mktemp("a2c")) as running:
        yield running


def client_of(server: Acme2certifier, **options: object) -> Client:
    return Client(
        server.directory_url,
        options={"listen_address": server.address, "contact": ["mailto:ops@example.com"], **options},
    )


def payload(body: bytes) -> dict[str, object]:
    """What a signed request says."""
    text = json.loads(body)["payload"]
    return json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4))) if text else {}


def test_the_window_and_what_it_replaces(server: Acme2certifier) -> None:
    """The window lies in the leaf's last fifth and is asked for again at Retry-After; the next order names the leaf."""
    client = client_of(server)
    answer = client.ask("issue", (server.address,))
    assert isinstance(answer, Issued)
    leaf = x509.parse_certificates(answer.chain.encode())[0]
    assert (server.address,) == leaf.ips
    window = client.ask("renewal", live=answer.chain)
    assert isinstance(window, Renewal)
    life = leaf.not_after - leaf.not_before
    assert (leaf.not_after - life / 5).timestamp() < window.start < window.end <= leaf.not_after.timestamp()
    assert abs(window.again_at - (now() + timedelta(seconds=120)).timestamp()) < 60
    with Proxy() as proxy:
        client.proxy = proxy.url
        again = client.ask("issue", (server.address,), live=answer.chain)
    assert isinstance(again, Issued)
    sent = [payload(body) for body in proxy.bodies if body]
    (order,) = [p for p in sent if "identifiers" in p]
    assert x509.renewal_id(answer.chain.encode()) == order["replaces"]


def test_profiles(server: Acme2certifier) -> None:
    """One that the CA has is ordered; one that it has not is refused before anything is ordered."""
    assert isinstance(client_of(server, profile="short").ask("issue", (server.address,)), Issued)
    with pytest.raises(AuthorityError, match="the CA's profiles are: long, short") as caught:
        client_of(server, profile="none").ask("issue", (server.address,))
    assert caught.value.refused


def test_a_certificate_that_the_ca_does_not_know(server: Acme2certifier) -> None:
    """No window, and an order that names it as replaced goes through all the same."""
    ca, key = x509.make_ca("stranger", timedelta(days=1), now())
    csr = x509.make_csr(x509.generate_key("ecdsa-p256"), None, (server.address,))
    span = {"not_before": now(), "not_after": now() + timedelta(hours=1)}
    stranger = x509.sign_csr(csr, ca, key, server=True, client=False, **span).decode()
    with pytest.raises(AuthorityError):
        client_of(server).ask("renewal", live=stranger)
    assert isinstance(client_of(server).ask("issue", (server.address,), live=stranger), Issued)
