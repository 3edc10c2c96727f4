"""The PKI engine of OpenBao, a fork of Vault: a real server, in this process."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certagent import x509
from certagent.authority.messages import Tls
from tests.authority.asker import Asker, facts, now, trusted
from tests.servers.openbao import ROLE, OpenBao, RefusedError
from tests.servers.process import closed_port
from tests.servers.tls import server_pair

pytestmark = [pytest.mark.real, pytest.mark.slow]

DOCUMENTED_ROLE = {  # of docs/authorities/vault.md
    "allowed_domains": "node,root,localhost,db1.example.com",
    "allow_bare_domains": True,
    "allow_ip_sans": True,
    "enforce_hostnames": False,
    "key_type": "any",
    "organization": "Cockroach",
    "require_cn": False,
    "server_flag": True,
    "client_flag": True,
    "ttl": "720h",
    "max_ttl": "2160h",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with OpenBao(tmp_path_factory.mktemp("bao")) as running:
        yield running


def asker(server: OpenBao, **options: Any) -> Asker:
    """By AppRole, on the role `node`."""
    secrets = {"role_id": server.role_id, "secret_id": f"{server.secret_id}\n"}
    return Asker(
        "vault", {"url": server.url, "role": "node", "auth": "approle", **options}, secrets, trusted(server.ca)
    )


def by_token(server: OpenBao, token: str, **options: Any) -> Asker:
    mine = asker(server, auth="token", **options)
    mine.secrets = {"token": f"{token}\n"}
    return mine


def new_token(server: OpenBao, **fields: Any) -> str:
    """A token that may sign, and look after itself."""
    asked = {"policies": ["certagent"], **fields}
    return str(server.call("POST", "auth/token/create", asked)["auth"]["client_token"])


def test_vault_first_issuance_by_approle(server: OpenBao) -> None:
    """Principal, names and lifetime as asked; no further names: the CN is not a DNS name."""
    key = x509.generate_key("ecdsa-p256")
    chain = asker(server).issue(key, lifetime=300.0)
    (leaf,) = facts(chain)
    assert x509.verify_chain(chain.encode(), server.root.encode(), "server", now()) is None
    assert (x509.parse_key(key)[0], ("node",)) == (leaf.spki, leaf.common_names)
    assert (leaf.dns, leaf.ips, leaf.eku) == (("localhost",), ("127.0.0.1",), ("serverAuth", "clientAuth"))
    assert leaf.not_after - leaf.not_before == timedelta(seconds=330)


def test_vault_renewal_is_another_certificate(server: OpenBao) -> None:
    """A renewal is a login and a signature again."""
    mine = asker(server)
    assert facts(mine.issue())[0].serial != facts(mine.issue())[0].serial


@pytest.mark.parametrize("kind", ["ecdsa-p384", "ed25519", "rsa-2048"])
def test_vault_key_types(server: OpenBao, kind: str) -> None:
    """`key_type = any` signs each key type; the key stays on this host."""
    assert facts(asker(server).issue(x509.generate_key(kind)))[0].key == kind


def test_vault_role_that_takes_names_from_request(server: OpenBao) -> None:
    """use_csr_sans and use_csr_common_name off: names, addresses and CN are sent beside the CSR."""
    role = ROLE | {"use_csr_sans": False, "use_csr_common_name": False}
    server.call("POST", "pki/roles/beside", role)
    leaf = facts(by_token(server, server.token, role="beside").issue())[0]
    assert (leaf.common_names, leaf.dns, leaf.ips) == (("node",), ("localhost",), ("127.0.0.1",))


def test_vault_ui_certificate(server: OpenBao) -> None:
    """ui has no principal: the first name is its CN."""
    leaf = facts(asker(server).issue(names=("localhost", "console.example.com"), principal="", client=False))[0]
    assert (leaf.common_names, leaf.dns) == (("localhost",), ("localhost", "console.example.com"))


def test_vault_client_certificate_has_no_names(server: OpenBao) -> None:
    """client.root: no names at all."""
    leaf = facts(asker(server).issue(names=(), principal="root", server=False))[0]
    assert (leaf.common_names, leaf.sans) == (("root",), ())


def test_vault_documented_role_refuses_other_names(server: OpenBao) -> None:
    """Signs for the node and its users, and refuses another name: by policy, which no repeat changes."""
    server.call("POST", "pki/roles/documented", DOCUMENTED_ROLE)
    mine = by_token(server, server.token, role="documented")
    assert mine.issue(names=("localhost", "db1.example.com", "10.0.0.5"))
    assert mine.issue(names=(), principal="root")
    error = mine.refusal(mine.node(names=("db2.example.com",)))
    assert error.refused
    assert "db2.example.com" in str(error)


def test_vault_login_token_is_revoked(server: OpenBao) -> None:
    """Its token is revoked after use, whether the certificate was signed or refused."""
    before = accessors(server)
    mine = asker(server)
    mine.issue()
    mine.options = {**mine.options, "role": "nope"}
    mine.refusal()
    assert accessors(server) == before


def accessors(server: OpenBao) -> set[str]:
    return set(server.call("LIST", "auth/token/accessors")["data"]["keys"])


def test_vault_token_past_third_of_life_is_renewed(server: OpenBao) -> None:
    """A token past a third of its lifetime is renewed; a fresh one is left alone."""
    fresh, old = (new_token(server, ttl="1h", renewable=True) for _ in range(2))
    server.call("POST", "auth/token/renew-self", {"increment": "10m"}, old)
    for token in (fresh, old):
        by_token(server, token).issue()
    assert [renewed(server, fresh), renewed(server, old) is not None] == [None, True]
    assert server.call("GET", "auth/token/lookup-self", token=old)["data"]["ttl"] > 3000


def renewed(server: OpenBao, token: str) -> Any:
    return server.call("GET", "auth/token/lookup-self", token=token)["data"].get("last_renewal")


def test_vault_token_without_default_policy_signs(server: OpenBao) -> None:
    """Without the policy `default` it cannot renew itself, and still signs."""
    assert by_token(server, new_token(server, no_default_policy=True)).issue()


def test_vault_certificate_login_by_bootstrap_credential(server: OpenBao) -> None:
    """Certificate login: a bootstrap credential in the TLS handshake, whose CA OpenBao knows."""
    ca, ca_key = x509.make_ca("enrolment CA", timedelta(days=30), datetime.now(UTC))
    key = x509.generate_key("ecdsa-p256")
    span = {"not_before": now() - timedelta(hours=1), "not_after": now() + timedelta(days=1)}
    cert = x509.sign_csr(x509.make_csr(key, "host-1", ()), ca, ca_key, server=False, client=True, **span)
    with suppress(RefusedError):  # once for the module
        server.call("POST", "sys/auth/cert", {"type": "cert"})
    entry = {"certificate": ca.decode(), "token_policies": "certagent", "allowed_common_names": "host-1"}
    server.call("POST", "auth/cert/certs/hosts", entry)
    mine = asker(server, auth="cert", cert_role="hosts")
    mine.secrets = {}
    mine.tls = Tls(server.ca.read_text(), client_cert=cert.decode(), client_key=key.decode())
    assert mine.issue()
    mine.tls = trusted(server.ca)
    error = mine.refusal()
    assert (error.kind, "log in by cert" in str(error)) == ("credentials", True)


def test_vault_namespace(server: OpenBao) -> None:
    """A mount inside a namespace, with its own CA; the token is invalid outside."""
    server.call("POST", "sys/namespaces/team", {})
    server.call("POST", "team/sys/mounts/pki", {"type": "pki", "config": {"max_lease_ttl": "8760h"}})
    root = {"common_name": "the team's CA", "key_type": "ec", "ttl": "8760h"}
    server.call("POST", "team/pki/root/generate/internal", root)
    server.call("POST", "team/pki/roles/node", ROLE)
    mine = by_token(server, server.token, namespace="team")
    assert facts(mine.issue())[0].issuer == "CN=the team's CA"
    assert [c.subject for c in mine.roots()] == ["CN=the team's CA"]
    error = by_token(server, server.token, namespace="nobody").refusal()
    assert (error.kind, "namespace" in str(error)) == ("refused", True), error


def test_vault_intermediate_chain(server: OpenBao) -> None:
    """A mount whose CA another one signed: the chain has the intermediate without the root, the bundle has both."""
    server.call("POST", "sys/mounts/below", {"type": "pki", "config": {"max_lease_ttl": "4000h"}})
    csr = server.call("POST", "below/intermediate/generate/internal", {"common_name": "below", "key_type": "ec"})
    asked = {"csr": csr["data"]["csr"], "common_name": "below", "ttl": "4000h", "format": "pem_bundle"}
    signed = server.call("POST", "pki/root/sign-intermediate", asked)["data"]["certificate"]
    server.call("POST", "below/intermediate/set-signed", {"certificate": f"{signed}\n{server.root}"})
    server.call("POST", "below/roles/node", ROLE)
    mine = by_token(server, server.token, mount="below")
    chain = mine.issue()
    assert ["CN=node,O=Cockroach", "CN=below"] == [c.subject for c in facts(chain)]
    assert x509.verify_chain(chain.encode(), server.root.encode(), "server", now()) is None
    assert {"CN=below", "CN=OpenBao test CA"} == {c.subject for c in mine.roots()}


def test_vault_issuer_by_name(server: OpenBao) -> None:
    """One of several in a mount: the signature and the bundle are that one's."""
    root = {"common_name": "second", "key_type": "ec", "ttl": "8760h", "issuer_name": "second"}
    server.call("POST", "pki/root/generate/internal", root)
    mine = by_token(server, server.token, issuer="second")
    assert facts(mine.issue())[0].issuer == "CN=second"
    assert [c.subject for c in mine.roots()] == ["CN=second"]
    assert [c.subject for c in asker(server).roots()] == ["CN=OpenBao test CA"]


ERRORS: dict[str, tuple[dict[str, Any], dict[str, str], str, str]] = {
    "a secret ID that is none": (
        {},
        {"role_id": "r0le-1d", "secret_id": "5ec2e7-of-nobody"},
        "credentials",
        "log in by approle",
    ),
    "a token that is none": ({"auth": "token"}, {"token": "hvs.of-nobody"}, "credentials", "is the token valid"),
    "a token with a line in it": ({"auth": "token"}, {"token": "two\nlines"}, "credentials", "token"),
    "a role that is not there": ({"role": "nope", "auth": "token"}, {"token": "ROOT"}, "refused", "nope"),
    "a mount that is not there": ({"mount": "pkk", "auth": "token"}, {"token": "ROOT"}, "refused", "see mount"),
    "a login that is not there": ({"auth_mount": "approle2"}, {}, "credentials", "approle2"),
}


@pytest.mark.parametrize(("options", "secrets", "kind", "text"), ERRORS.values(), ids=ERRORS)
def test_vault_errors_are_told_apart(
    server: OpenBao, options: dict[str, Any], secrets: dict[str, str], kind: str, text: str
) -> None:
    """Each is told apart, and says what to check."""
    mine = asker(server, **options)
    mine.secrets = {k: server.token if v == "ROOT" else v for k, v in (secrets or mine.secrets).items()}
    error = mine.refusal()
    assert (kind, text in str(error)) == (error.kind, True), error


def test_vault_policy_missing_path_is_named(server: OpenBao) -> None:
    """The token may sign on `node` alone: the error names the path that its policy lacks."""
    server.call("POST", "pki/roles/other", ROLE)
    error = asker(server, role="other").refusal()
    assert (error.kind, "allow update on pki/sign/other" in str(error)) == ("credentials", True)


def test_vault_rate_limited(server: OpenBao) -> None:
    """A quota of the server is told apart, with the moment of its Retry-After if it has one."""
    server.call("POST", "pki/roles/busy", ROLE)
    quota = {"path": "pki/sign/busy", "rate": 1, "interval": "300s"}
    server.call("POST", "sys/quotas/rate-limit/busy", quota)
    mine = by_token(server, server.token, role="busy")
    mine.issue()
    assert (mine.refusal().kind, mine.refusal().retry_at) == ("rate-limited", None)
    server.call("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": True})
    error = mine.refusal()
    assert error.kind == "rate-limited"
    assert error.retry_at is not None
    assert now() < error.retry_at < now() + timedelta(seconds=301)


def test_vault_unreachable(server: OpenBao) -> None:
    """The port is closed."""
    assert asker(server, url=f"https://localhost:{closed_port()}").refusal().kind == "unreachable"


def test_vault_endpoint_untrusted_is_refused(server: OpenBao, tmp_path: Path) -> None:
    """tls_roots of another CA: no credential is sent."""
    mine = asker(server)
    mine.tls = trusted(server_pair(tmp_path).ca)
    assert mine.refusal().kind == "tls"


def test_vault_sealed_is_not_refused(tmp_path: Path) -> None:
    """Sealed is neither a refusal nor an error of credentials."""
    with OpenBao(tmp_path) as own:
        own.call("PUT", "sys/seal")
        error = asker(own).refusal()
    assert (error.kind, "sealed" in str(error)) == ("failed", True)
