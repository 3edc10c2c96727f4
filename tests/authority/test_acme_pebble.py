"""ACME against pebble: strict, a quarter of its good nonces refused, three certificates to a chain, several roots."""

import copy
import re
import socket
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from certagent import x509
from certagent.authority.backends.acme.listening import inherited, listening
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Done, Issued, Pending
from tests.authority.asking import Client, now
from tests.servers.pebble import Pebble
from tests.servers.process import Running, listens

pytestmark = [pytest.mark.real, pytest.mark.slow]
EAB = ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W")


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    environ = {"PEBBLE_CHAIN_LENGTH": "3", "PEBBLE_ALTERNATE_ROOTS": "2", "PEBBLE_AUTHZREUSE": "100"}
    with Pebble(tmp_path_factory.mktemp("pebble"), environ=environ) as server:
        yield server


def client_of(pebble: Pebble, **options: object) -> Client:
    ports = {"http_port": pebble.http_port, "tls_port": pebble.tls_port, "listen_address": "127.0.0.1"}
    return Client(pebble.directory_url, pebble.ca.read_text(), {**ports, "terms_accepted": True, **options})


def issued(client: Client, *names: str, **fields: object) -> str:
    answer = client.ask("issue", names, **fields)
    assert isinstance(answer, Issued)
    return answer.chain


def test_acme_http01_first_issuance_and_renewal(pebble: Pebble) -> None:
    """A name and an address by http-01: the chain verifies at pebble's root, the second order uses the same account."""
    client = client_of(pebble)
    chain = issued(client, "n1.test", "127.0.0.1").encode()
    leaf, *rest = x509.parse_certificates(chain)
    assert ("n1.test",) == leaf.dns
    assert ("127.0.0.1",) == leaf.ips
    assert x509.parse_key(client.key)[0] == leaf.spki
    assert 3 == len(rest)
    assert x509.verify_chain(chain, pebble.root(), "server", now()) is None
    (account,) = client.shared["accounts"].values()
    uri = account["uri"]
    again = x509.parse_certificates(issued(client, "n1.test", "127.0.0.1", live=chain.decode()).encode())[0]
    assert again.fingerprint != leaf.fingerprint
    assert uri == client.shared["accounts"][pebble.directory_url]["uri"]
    assert client.own == {}


def test_acme_tls_alpn01_name_and_address(pebble: Pebble) -> None:
    """tls-alpn-01, for a name and for an address (RFC 8738)."""
    chain = issued(client_of(pebble, challenge="tls-alpn-01"), "n1.test", "127.0.0.1")
    leaf = x509.parse_certificates(chain.encode())[0]
    assert (("n1.test",), ("127.0.0.1",)) == (leaf.dns, leaf.ips)


def test_acme_webroot_of_running_server(pebble: Pebble, tmp_path: Path) -> None:
    """http-01 by files: another server serves them; they are world-readable, and gone afterwards."""
    command = [sys.executable, "-m", "http.server", str(pebble.http_port), "--bind", "127.0.0.1", "-d", str(tmp_path)]
    with Running(command, tmp_path / "http.log", lambda: listens(pebble.http_port)):
        leaf = x509.parse_certificates(issued(client_of(pebble, webroot=str(tmp_path)), "n1.test").encode())[0]
    assert ("n1.test",) == leaf.dns
    assert [] == list((tmp_path / ".well-known" / "acme-challenge").iterdir())


def test_acme_http01_systemd_socket_is_used(pebble: Pebble) -> None:
    """The listening socket that systemd made and the daemon passed on answers; the worker binds no port."""
    with socket.create_server(("127.0.0.1", pebble.http_port)) as made:
        found = listening("certagent-http01", "", 80, {"certagent-http01": made.fileno()})
        assert pebble.http_port == found[0].getsockname()[1]
        found[0].close()
        assert {"certagent-http01": 3, "other": 4} == inherited(
            {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "certagent-http01:other:more"}
        )


def test_acme_alternate_chain_by_fingerprint_or_name(pebble: Pebble) -> None:
    """The chain to the root with the wanted fingerprint or name; if no chain has it, the error lists the names."""
    roots = [pebble.root(i) for i in range(3)]
    facts = [x509.parse_certificates(root)[0] for root in roots]
    wish = {"preferred_chain": facts[1].fingerprint, "issuing_roots_pem": b"".join(roots).decode()}
    chain = issued(client_of(pebble, **wish), "n1.test").encode()
    assert x509.verify_chain(chain, roots[1], "server", now()) is None
    assert x509.verify_chain(chain, roots[0], "server", now()) is not None
    chain = issued(client_of(pebble, preferred_chain=facts[2].common_names[0]), "n1.test").encode()
    assert x509.verify_chain(chain, roots[2], "server", now()) is None
    with pytest.raises(AuthorityError, match=re.escape(facts[0].subject)) as caught:
        issued(client_of(pebble, preferred_chain="No Such Root"), "n1.test")
    assert caught.value.refused


@pytest.mark.parametrize(
    ("names", "options", "kind", "words"),
    [
        (("blocked.test",), {}, "refused", "rejectedIdentifier"),
        (("n1.test",), {"listen_address": "127.0.0.9"}, "failed", "connection"),
        (("n1.test",), {"profile": "short"}, "refused", "profiles are: none"),
        (("n1.test",), {"terms_accepted": False}, "refused", "terms_accepted = true"),
        (("*.n1.test",), {}, "refused", "the CA offers «dns-01»"),
        ((), {}, "refused", "set `names`"),
    ],
)
def test_acme_problem_document_names_remedy(
    pebble: Pebble, names: tuple[str, ...], options: dict[str, object], kind: str, words: str
) -> None:
    """The CA's problem document and the remedy, by who can act."""
    with pytest.raises(AuthorityError, match=words) as caught:
        client_of(pebble, **options).ask("issue", names)
    assert kind == caught.value.kind


def test_acme_http01_answered_by_other_server_is_refused(pebble: Pebble, tmp_path: Path) -> None:
    """Another server answers the challenge with 404: the request is refused, because a repeat changes nothing."""
    command = [sys.executable, "-m", "http.server", str(pebble.http_port), "--bind", "127.0.0.1", "-d", str(tmp_path)]
    with Running(command, tmp_path / "http.log", lambda: listens(pebble.http_port)):
        with pytest.raises(AuthorityError, match="unauthorized") as caught:
            issued(client_of(pebble, webroot=str(tmp_path / "elsewhere")), "n1.test")
        assert caught.value.refused
        with pytest.raises(AuthorityError, match=r"cannot listen on port .*certagent-http01\.socket") as busy:
            issued(client_of(pebble), "n1.test")
        assert "failed" == busy.value.kind


def test_acme_name_that_fails_validation_is_asked_for_five_times_an_hour(pebble: Pebble) -> None:
    """The fifth failure says when the next request is useful; the sixth reaches no CA, unless an operator forces it."""
    client = client_of(pebble, listen_address="127.0.0.9")

    def refusal(**fields: object) -> AuthorityError:
        with pytest.raises(AuthorityError) as caught:
            client.ask("issue", ("limited.test",), **fields)
        return caught.value

    assert [None] * 4 == [refusal().retry_at for _ in range(4)]
    fifth, orders = refusal(), pebble.running.log.read_text().count("order-plz")
    assert fifth.retry_at is not None
    assert timedelta(minutes=58) < fifth.retry_at - now() < timedelta(hours=1)
    assert "limit of public CAs; the next is at" in str(fifth)
    sixth = refusal()
    assert ("rate-limited", fifth.retry_at) == (sixth.kind, sixth.retry_at)
    assert orders == pebble.running.log.read_text().count("order-plz")
    issued(client_of(pebble), "n1.test")
    assert "connection" in str(refusal(forced=True))


def test_acme_endpoint_untrusted_is_refused(pebble: Pebble) -> None:
    """Without the CA's root the directory is not even read; a closed port is unreachable."""
    with pytest.raises(AuthorityError) as caught:
        Client(pebble.directory_url).ask("issue", ("n1.test",))
    assert "tls" == caught.value.kind
    with pytest.raises(AuthorityError) as caught:
        Client("https://localhost:9/dir", pebble.ca.read_text()).ask("issue", ("n1.test",))
    assert "unreachable" == caught.value.kind


def test_acme_account_rollover_and_deactivation(pebble: Pebble) -> None:
    """Two requests give a new key; stored state that missed a rollover is repaired; then the account is deactivated."""
    client = client_of(pebble, contact=["mailto:ops@example.test"])
    issued(client, "n1.test")
    entry = client.shared["accounts"][pebble.directory_url]
    old, uri = entry["key"], entry["uri"]
    assert isinstance(client.ask("rollover"), Pending)
    crashed = copy.deepcopy(client.shared)  # as it was remembered before the CA was told
    assert isinstance(client.ask("rollover"), Done)
    assert (entry["key"] != old, entry["uri"]) == (True, uri)
    issued(client, "n1.test")
    client.shared = crashed
    assert isinstance(client.ask("rollover"), Done)
    assert entry["key"] == client.shared["accounts"][pebble.directory_url]["key"]
    issued(client, "n1.test")
    kept = copy.deepcopy(client.shared)
    assert isinstance(client.ask("deactivate"), Done)
    assert {} == client.shared["accounts"][pebble.directory_url]
    client.shared = kept
    with pytest.raises(AuthorityError, match="account NAME deactivate") as caught:
        issued(client, "n1.test")
    assert caught.value.kind in {"refused", "credentials"}
    assert "before" in str(client.ask("deactivate"))
    issued(client, "n1.test")
    assert uri != client.shared["accounts"][pebble.directory_url]["uri"]


@pytest.mark.parametrize("acted", [True, False])
def test_acme_deactivation_broken_off_is_asked_about(pebble: Pebble, *, acted: bool) -> None:
    """The agent ended before the CA's answer: the next request makes another account only if the CA had acted."""
    client = client_of(pebble)
    issued(client, "n1.test")
    entry = client.shared["accounts"][pebble.directory_url]
    before = {**entry, "deactivating": True}
    if acted:
        assert isinstance(client.ask("deactivate"), Done)
    client.shared["accounts"][pebble.directory_url] = dict(before)
    issued(client, "n1.test")
    after = client.shared["accounts"][pebble.directory_url]
    assert "deactivating" not in after
    assert (acted, acted) == (before["key"] != after["key"], before["uri"] != after["uri"])


def test_acme_account_unknown_to_ca_is_registered_again(pebble: Pebble) -> None:
    """It is registered again under the same key, within the same request."""
    client = client_of(pebble)
    issued(client, "n1.test")
    entry = client.shared["accounts"][pebble.directory_url]
    key, entry["uri"] = entry["key"], f"https://localhost:{pebble.port}/my-account/nobody"
    issued(client, "n1.test")
    assert (key, True) == (entry["key"], "nobody" not in entry["uri"])


def test_acme_order_processing_is_pending_then_resumed(pebble: Pebble) -> None:
    """The order is still processing at the deadline: Pending; the next request resumes the same order."""
    client = client_of(pebble)
    issued(client, "n1.test")
    client.options["patience"] = 0.01
    assert isinstance(client.ask("issue", ("n1.test",)), Pending)
    orders = pebble.running.log.read_text().count("order-plz")
    assert orders > 0
    client.options["patience"] = 30.0
    assert isinstance(client.ask("issue", ("n1.test",), again=True), Issued)
    assert (orders, {}) == (pebble.running.log.read_text().count("order-plz"), client.own)


def test_acme_external_account_binding(tmp_path: Path) -> None:
    """Without the key from the CA, with a wrong one, with the right one."""
    with Pebble(tmp_path / "pebble", eab=EAB) as server:
        with pytest.raises(AuthorityError, match="eab_kid") as caught:
            issued(client_of(server), "n1.test")
        assert "credentials" == caught.value.kind
        wrong = client_of(server, eab_kid="kid-1")
        wrong.secrets = {"eab_key": EAB[1][::-1]}
        with pytest.raises(AuthorityError) as caught:
            issued(wrong, "n1.test")
        assert caught.value.kind in {"refused", "credentials"}
        assert EAB[1][::-1] not in str(caught.value)
        client = client_of(server, eab_kid=EAB[0])
        client.secrets = {"eab_key": EAB[1]}
        issued(client, "n1.test")


def test_acme_roots_and_renewal_information_unavailable(pebble: Pebble) -> None:
    """ACME offers no request for roots; a CA without renewal information says so."""
    with pytest.raises(AuthorityError, match="issuing_roots") as caught:
        client_of(pebble).ask("roots")
    assert caught.value.refused
