"""CFSSL and its multirootca: real servers, in this process."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certagent import x509
from tests.authority.asker import Asker, facts, now, trusted
from tests.servers.cfssl import Cfssl, MultiRoot
from tests.servers.process import closed_port
from tests.servers.tls import server_pair

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cfssl]:
    with Cfssl(tmp_path_factory.mktemp("cfssl")) as running:
        yield running


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MultiRoot]:
    with MultiRoot(tmp_path_factory.mktemp("multiroot")) as running:
        yield running


def asker(server: Cfssl, **options: Any) -> Asker:
    found = {"url": server.url, "profile": "node", **options}
    return Asker("cfssl", found, {"auth_key": f"{server.auth_key}\n"}, trusted(server.ca))


def test_cfssl_first_issuance(server: Cfssl) -> None:
    """Principal and names as asked, the profile's lifetime; the intermediate, which CFSSL does not send, is there."""
    key = x509.generate_key("ecdsa-p256")
    chain = asker(server).issue(key)
    leaf, *above = facts(chain)
    assert x509.verify_chain(chain.encode(), server.root.encode(), "server", now()) is None
    assert (x509.parse_key(key)[0], ("node",)) == (leaf.spki, leaf.common_names)
    assert (leaf.dns, leaf.ips, leaf.eku) == (("localhost",), ("127.0.0.1",), ("serverAuth", "clientAuth"))
    assert leaf.not_after - leaf.not_before == timedelta(hours=1)
    assert [server.issuer_fingerprint] == [c.fingerprint for c in above]


def test_cfssl_renewal_is_another_certificate(server: Cfssl) -> None:
    """A renewal is the same request as the first."""
    mine = asker(server)
    assert facts(mine.issue())[0].serial != facts(mine.issue())[0].serial


@pytest.mark.parametrize("kind", ["ecdsa-p384", "rsa-2048"])
def test_cfssl_key_types_ecdsa_and_rsa(server: Cfssl, kind: str) -> None:
    """ECDSA and RSA; this CFSSL takes no Ed25519."""
    assert facts(asker(server).issue(x509.generate_key(kind)))[0].key == kind


def test_cfssl_ui_certificate(server: Cfssl) -> None:
    """ui has no principal: the first name is its CN."""
    leaf = facts(asker(server).issue(names=("localhost", "console.example.com"), principal="", client=False))[0]
    assert (leaf.common_names, leaf.dns) == (("localhost",), ("localhost", "console.example.com"))


def test_cfssl_client_certificate_has_no_names(server: Cfssl) -> None:
    """client.root: no names at all."""
    leaf = facts(asker(server).issue(names=(), principal="root", server=False))[0]
    assert (leaf.common_names, leaf.sans) == (("root",), ())


def test_cfssl_default_profile(server: Cfssl) -> None:
    """Without a profile: the server's default, of a day."""
    leaf = facts(asker(server, profile="").issue())[0]
    assert leaf.not_after - leaf.not_before == timedelta(days=1)


def test_cfssl_roots_are_signing_ca(server: Cfssl, labels: MultiRoot) -> None:
    """The signing CA, by `info`. CFSSL does not offer the root above an intermediate."""
    assert [server.issuer_fingerprint] == [c.fingerprint for c in asker(server).roots()]
    assert [labels.backup_fingerprint] == [c.fingerprint for c in asker(labels, label="backup").roots()]


@pytest.mark.parametrize(("label", "issuer"), [("", "CFSSL intermediate"), ("backup", "CFSSL backup")])
def test_cfssl_label_selects_ca(labels: MultiRoot, label: str, issuer: str) -> None:
    """multirootca signs by the CA of the label, its default without one; a root is not part of the chain."""
    chain = asker(labels, label=label).issue()
    assert issuer in facts(chain)[0].issuer
    assert len(facts(chain)) == (1 if label else 2)


def test_cfssl_wrong_auth_key_is_credentials(server: Cfssl, labels: MultiRoot) -> None:
    """A token by another key is an error of credentials at both servers."""
    for running in (server, labels):
        mine = asker(running)
        mine.secrets = {"auth_key": "00" * 16}
        error = mine.refusal()
        assert (error.kind, "see auth_key" in str(error)) == ("credentials", True), error


def test_cfssl_auth_key_not_hex_is_refused_before_request(server: Cfssl) -> None:
    """The error comes before anything is sent, without the key."""
    mine = asker(server, url=f"https://localhost:{closed_port()}")
    mine.secrets = {"auth_key": "correct horse"}
    assert mine.refusal().kind == "credentials"


REFUSALS = [
    ("names outside of the whitelist", False, {"profile": "picky"}, "whitelist"),
    ("the same at multirootca", True, {"profile": "picky"}, "bad request"),
    ("a profile that is not there", True, {"profile": "nope"}, "invalid profile"),
    ("a label that is not there", True, {"label": "nope"}, "bad request"),
]


@pytest.mark.parametrize(("label", "many", "options", "text"), REFUSALS, ids=[r[0] for r in REFUSALS])
def test_cfssl_policy_refusal_names_settings(
    server: Cfssl, labels: MultiRoot, label: str, many: bool, options: dict[str, str], text: str
) -> None:
    """Refused, which no repeat changes; the error names the settings."""
    error = asker(labels if many else server, **options).refusal()
    assert (error.refused, text in str(error), "see profile and label" in str(error)) == (True, True, True), label


def test_cfssl_unreachable(server: Cfssl) -> None:
    """The port is closed."""
    assert asker(server, url=f"https://localhost:{closed_port()}").refusal().kind == "unreachable"


def test_cfssl_endpoint_untrusted_is_refused(server: Cfssl, tmp_path: Path) -> None:
    """tls_roots of another CA."""
    mine = asker(server)
    mine.tls = trusted(server_pair(tmp_path).ca)
    assert mine.refusal().kind == "tls"


def test_cfssl_wrong_path_is_refused(server: Cfssl) -> None:
    """Not CFSSL's API: refused, with the URL that was asked."""
    error = asker(server, url=f"{server.url}/elsewhere").refusal()
    assert (error.kind, "404" in str(error)) == ("refused", True)


def test_cfssl_ed25519_key_is_refused(server: Cfssl) -> None:
    """A key type that this version of CFSSL does not know: refused, with its reason."""
    mine = asker(server)
    error = mine.refusal(mine.node(x509.generate_key("ed25519")))
    assert (error.kind, "unimplemented" in str(error)) == ("refused", True), error
