"""Renewal information and profiles against acme2certifier."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from certagent import x509
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Issued, Renewal
from tests.authority.asking import Client, now
from tests.servers.acme2certifier import Acme2certifier
from tests.servers.proxy import Proxy, payload

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


def test_acme_renewal_window_and_replaces(server: Acme2certifier) -> None:
    """The window lies in the leaf's last fifth and is refreshed at Retry-After; the next order names the leaf."""
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


def test_acme_profile_offered_or_refused(server: Acme2certifier) -> None:
    """A profile that the CA has is ordered; another one is refused before anything is ordered."""
    assert isinstance(client_of(server, profile="short").ask("issue", (server.address,)), Issued)
    with pytest.raises(AuthorityError, match="the CA's profiles are: «long, short»") as caught:
        client_of(server, profile="none").ask("issue", (server.address,))
    assert caught.value.refused


def test_acme_certificate_unknown_to_ca_is_renewed(server: Acme2certifier) -> None:
    """No window, and an order that names it as replaced succeeds anyway."""
    ca, key = x509.make_ca("stranger", timedelta(days=1), now())
    csr = x509.make_csr(x509.generate_key("ecdsa-p256"), None, (server.address,))
    span = {"not_before": now(), "not_after": now() + timedelta(hours=1)}
    stranger = x509.sign_csr(csr, ca, key, server=True, client=False, **span).decode()
    with pytest.raises(AuthorityError) as caught:
        client_of(server).ask("renewal", live=stranger)
    assert "failed" == caught.value.kind
    assert isinstance(client_of(server).ask("issue", (server.address,), live=stranger), Issued)


PROBLEM = "urn:ietf:params:acme:error:"


def test_acme_rate_limited_carries_retry_after(server: Acme2certifier) -> None:
    """rateLimited is not a refusal: it carries the moment of its Retry-After, and the CA's explanation."""

    def judge(_url: str, said: dict[str, Any]) -> tuple[int, dict[str, str], dict[str, Any]] | None:
        document = {"type": f"{PROBLEM}rateLimited", "detail": "too many certificates for this set of names"}
        return (429, {"Retry-After": "3600"}, document) if "identifiers" in said else None

    with Proxy(judge) as proxy:
        client = client_of(server)
        client.proxy = proxy.url
        with pytest.raises(AuthorityError, match="too many certificates") as caught:
            client.ask("issue", (server.address,))
    assert "rate-limited" == caught.value.kind
    assert caught.value.retry_at is not None
    assert abs(caught.value.retry_at - now() - timedelta(hours=1)) < timedelta(minutes=1)
    assert {} == client.own


def test_acme_replaces_already_replaced_is_ordered_without(server: Acme2certifier) -> None:
    """The CA rejects `replaces`: ordered again without it, within the same request."""
    orders: list[dict[str, Any]] = []

    def judge(_url: str, said: dict[str, Any]) -> tuple[int, dict[str, str], dict[str, Any]] | None:
        orders.extend([said] if "identifiers" in said else [])
        document = {"type": f"{PROBLEM}alreadyReplaced", "detail": "it was replaced before"}
        return (409, {"Replay-Nonce": "bm9uY2U"}, document) if "replaces" in said else None

    client = client_of(server)
    first = client.ask("issue", (server.address,))
    assert isinstance(first, Issued)
    with Proxy(judge) as proxy:
        client.proxy = proxy.url
        assert isinstance(client.ask("issue", (server.address,), live=first.chain), Issued)
    assert [True, False] == ["replaces" in order for order in orders]


def test_acme_authorization_for_unordered_name_is_not_answered(server: Acme2certifier) -> None:
    """An authorization for a name that was not ordered is not answered: it would validate another party's name."""
    challenge = {"type": "http-01", "url": "http://127.0.0.1/c", "token": "token", "status": "pending"}
    document = {"identifier": {"type": "dns", "value": "victim.test"}, "status": "pending", "challenges": [challenge]}

    def judge(url: str, _said: dict[str, Any]) -> tuple[int, dict[str, str], dict[str, Any]] | None:
        return (200, {"Replay-Nonce": "bm9uY2U"}, document) if "/authz/" in url else None

    client = client_of(server)
    with Proxy(judge) as proxy:
        client.proxy = proxy.url
        with pytest.raises(AuthorityError, match=r"«victim\.test»: the name was not ordered") as caught:
            client.ask("issue", (server.address,))
    assert "malformed" == caught.value.kind
