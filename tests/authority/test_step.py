"""step-ca by its own API: a real server, in this process."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from certagent import x509
from certagent.authority.backends import step_jose, step_token
from certagent.authority.messages import Request, Tls
from tests.authority.asker import NAMES, Asker, facts, now, trusted
from tests.servers.process import closed_port
from tests.servers.stepca import StepCa, new_jwk
from tests.servers.tls import server_pair
from tests.waiting import wait_until

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StepCa]:
    with StepCa(tmp_path_factory.mktemp("step")) as running:
        yield running


def asker(server: StepCa, secrets: dict[str, str] | None = None, **options: Any) -> Asker:
    """By the JWK provisioner, its endpoint trusted by the fingerprint of its root alone."""
    known = {"provisioner_key": server.provisioner_key} if secrets is None else secrets
    return Asker("step", {"url": server.url, "provisioner": "jwk", "root": [server.fingerprint], **options}, known)


def live(ca: StepCa, key: bytes, **fields: Any) -> str:
    """A first certificate for a key."""
    return asker(ca).issue(key, **fields)


def signed(request: Request, key: bytes) -> Request:
    """What the daemon does: the token, signed by the live key."""
    token = step_token.live_token(request, now(), token_hex(16))
    assert token is not None
    return replace(request, proof=x509.sign_jws(key, *token))


def test_step_first_issuance_by_one_time_token(server: StepCa) -> None:
    """The chain builds to the root, with principal, names and lifetime as asked, without the root in it."""
    key = x509.generate_key("ecdsa-p256")
    chain = asker(server).issue(key, lifetime=300.0)
    leaf, *above = facts(chain)
    assert x509.verify_chain(chain.encode(), server.root.encode(), "server", now()) is None
    assert x509.parse_key(key)[0] == leaf.spki
    assert (leaf.common_names, leaf.dns, leaf.ips) == (("node",), ("localhost",), ("127.0.0.1",))
    assert leaf.not_after - leaf.not_before == timedelta(seconds=330)  # backdated by 30 s
    assert ["CN=step-ca test intermediate"] == [c.subject for c in above]


def test_step_ui_certificate(server: StepCa) -> None:
    """ui has no principal: the first name is its CN."""
    leaf = facts(asker(server).issue(names=("localhost", "console.example.com"), principal="", client=False))[0]
    assert (leaf.common_names, leaf.dns) == (("localhost",), ("localhost", "console.example.com"))


def test_step_client_certificate(server: StepCa) -> None:
    """client.root: no names; step-ca makes the token's subject one, which a user's certificate may bear."""
    leaf = facts(asker(server).issue(names=(), principal="root", server=False, stem="client.root"))[0]
    assert "root" in leaf.principals


@pytest.mark.parametrize("kind", ["ecdsa-p384", "ed25519", "rsa-2048"])
def test_step_key_types(server: StepCa, kind: str) -> None:
    """Every key type that step-ca accepts."""
    assert facts(asker(server).issue(x509.generate_key(kind)))[0].key == kind


def test_step_renewal_is_another_certificate(server: StepCa) -> None:
    """By the provisioner's key again: a new token each time, and a new key."""
    mine = asker(server)
    assert facts(mine.issue())[0].fingerprint != facts(mine.issue())[0].fingerprint


def test_step_renewal_by_live_key(server: StepCa) -> None:
    """A token signed by the live key: the same key and names, a new certificate, without the provisioner's key."""
    key = x509.generate_key("ecdsa-p256")
    before = live(server, key)
    mine = asker(server, {}, renewal="live")
    after = mine.ask(signed(mine.node(key, live=before), key))
    old, new = facts(before)[0], facts(after.chain)[0]  # type: ignore[union-attr]
    assert (old.spki, old.sans) == (new.spki, new.sans)
    assert old.serial != new.serial


def test_step_renewal_of_client_by_live_key(server: StepCa) -> None:
    """The name that step-ca added is not a change of names."""
    key = x509.generate_key("ecdsa-p256")
    user: dict[str, Any] = {"names": (), "principal": "root", "server": False, "stem": "client.root"}
    before = live(server, key, **user)
    mine = asker(server, {}, renewal="live")
    after = mine.ask(signed(mine.node(key, live=before, **user), key))
    assert facts(before)[0].serial != facts(after.chain)[0].serial  # type: ignore[union-attr]


def test_step_renewal_of_ui_by_live_key(server: StepCa) -> None:
    """Without a principal the first name identifies the certificate."""
    key = x509.generate_key("ecdsa-p256")
    console: dict[str, Any] = {"names": ("localhost", "console.example.com"), "principal": "", "client": False}
    before = live(server, key, **console)
    mine = asker(server, {}, renewal="live")
    after = mine.ask(signed(mine.node(key, live=before, **console), key))
    assert facts(before)[0].serial != facts(after.chain)[0].serial  # type: ignore[union-attr]


def test_step_rekey_by_live_pair(server: StepCa) -> None:
    """`credential = "leaf"`: the live pair in the handshake of /rekey; the names are the live ones, the key is new."""
    key, new = x509.generate_key("ecdsa-p256"), x509.generate_key("ecdsa-p256")
    before = live(server, key)
    mine = asker(server, {}, renewal="live", credential="leaf")
    mine.tls = Tls(client_cert=before, client_key=key.decode())
    old, leaf = facts(before)[0], facts(mine.issue(new, live=before))[0]
    assert (leaf.sans, leaf.spki) == (old.sans, x509.parse_key(new)[0])
    assert mine.refusal(mine.node(new, names=("elsewhere",), live=before)).kind == "credentials"


def test_step_expired_certificate_is_renewed_by_provisioner(server: StepCa) -> None:
    """step-ca does not renew an expired certificate; if a provisioner's key is configured, it is used instead."""
    key = x509.generate_key("ecdsa-p256")
    before = live(server, key, lifetime=1.0)
    wait_until(lambda: facts(before)[0].not_after < now(), "the certificate expires")
    alone, both = asker(server, {}, renewal="live"), asker(server, renewal="live")
    request = signed(alone.node(key, live=before), key)
    leaf = asker(server, renewal="live", credential="leaf")
    leaf.tls = Tls(client_cert=before, client_key=key.decode())
    assert leaf.issue(live=before)
    assert alone.refusal(request).kind == "credentials"
    assert both.ask(request)


CHANGES: dict[str, dict[str, Any]] = {
    "another key": {"key": x509.generate_key("ecdsa-p256")},
    "another name": {"names": (*NAMES, "db2.example.com")},
    "a name less": {"names": NAMES[:1]},
    "no live certificate": {"live": ""},
    "a live one that is none": {"live": "no PEM"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_step_renewal_with_changed_names_is_not_signed(server: StepCa, change: dict[str, Any]) -> None:
    """step-ca would repeat the old names, so no token is signed; without another credential the error says so."""
    key = x509.generate_key("ecdsa-p256")
    asked: dict[str, Any] = {"key": key, "live": live(server, key), **change}
    mine = asker(server, {}, renewal="live")
    request = mine.node(**asked)
    assert step_token.live_token(request, now(), "nonce") is None
    error = mine.refusal(request)
    assert error.kind == "credentials"
    assert "reuse_key = true" in str(error)


def test_step_x5c_by_bootstrap_credential(server: StepCa) -> None:
    """X5C: the token is signed by a bootstrap credential, which another CA issued."""
    cert, key = server.enrol()
    secrets = {"x5c_cert": cert.decode(), "x5c_key": key.decode()}
    leaf = facts(asker(server, secrets, provisioner="x5c").issue())[0]
    assert leaf.common_names == ("node",)


def test_step_external_token_is_good_once(server: StepCa) -> None:
    """Good for one issuance: step-ca refuses it the second time."""
    mine = asker(server)
    request = mine.node()
    key, kid = step_jose.read_jwk(server.provisioner_key)
    token = step_jose.signed(key, step_token.by_provisioner(request, kid, now(), "once"))
    mine = asker(server, {"one_time_token": f"{token}\n"}, renewal="live")
    mine.ask(request)
    assert mine.refusal(request).kind == "credentials"


def test_step_token_is_bound_to_csr_and_root(server: StepCa) -> None:
    """Its `cnf` is the digest of the CSR, which later versions of step-ca enforce; its `sha` the root's."""
    request = asker(server).node()
    header, claims = step_token.by_provisioner(request, "kid", now(), "nonce")
    assert header == {"typ": "JWT", "kid": "kid"}
    assert claims["sha"] == server.fingerprint
    assert len(claims["cnf"]["x5rt#S256"]) == 43
    other, _ = step_token.by_provisioner(asker(server).node(), "kid", now(), "nonce"), None
    assert other[1]["cnf"] != claims["cnf"]


def test_step_roots_pinned_and_federated(server: StepCa) -> None:
    """The pinned root; with `federation` the federated ones too."""
    assert [c.fingerprint for c in asker(server).roots()] == [server.fingerprint]
    federation = {c.fingerprint for c in asker(server, federation=True).roots()}
    assert federation == {server.fingerprint, server.federated_fingerprint}


def test_step_root_is_fetched_once(server: StepCa) -> None:
    """It is stored, and the stored root is checked against the fingerprint again."""
    mine = asker(server)
    mine.issue()
    assert mine.state.shared == {"roots": [server.root]}
    mine.state.shared["roots"] = [server.federated]
    mine.issue()
    assert mine.state.shared == {"roots": [server.root]}


def test_step_root_not_pinned_is_sent_no_secret(server: StepCa) -> None:
    """A CA without the pinned root receives only the fingerprint."""
    error = asker(server, root=["ab" * 32]).refusal()
    assert error.kind == "tls"
    assert "see root" in str(error)


def test_step_endpoint_untrusted_is_refused(server: StepCa, tmp_path: Path) -> None:
    """tls_roots of another CA."""
    mine = asker(server, root="")
    mine.tls = trusted(server_pair(tmp_path).ca)
    error = mine.refusal()
    assert (error.kind, "tls_roots" in str(error)) == ("tls", True)
    mine.tls = Tls(roots=server.root)
    assert mine.issue()


ERRORS: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "another provisioner's key": (
        {"provisioner_key": json.dumps(new_jwk())},
        {},
        "credentials",
        "the token was refused",
    ),
    "a provisioner that is not there": ({}, {"provisioner": "jwq"}, "credentials", "see provisioner"),
    "a key that is none": ({"provisioner_key": "{}"}, {}, "credentials", "cannot use provisioner_key"),
    "no X5C pair": (
        {"x5c_cert": "not PEM", "x5c_key": "nor this"},
        {},
        "credentials",
        "cannot use x5c_cert and x5c_key",
    ),
}


@pytest.mark.parametrize(("secrets", "options", "kind", "text"), ERRORS.values(), ids=ERRORS)
def test_step_credentials_wrong_name_setting(
    server: StepCa, secrets: dict[str, str], options: dict[str, Any], kind: str, text: str
) -> None:
    """The CA rejects the credentials: the error says which setting to check."""
    known = secrets or {"provisioner_key": server.provisioner_key}
    error = asker(server, known, **options).refusal()
    assert (kind, text in str(error)) == (error.kind, True), error


def test_step_policy_lifetime_is_refused(server: StepCa) -> None:
    """Two days are more than the provisioner allows: refused, which no repeat changes."""
    mine = asker(server)
    error = mine.refusal(mine.node(lifetime=2 * 86400.0))
    assert (error.kind, error.refused) == ("refused", True)
    assert "lifetime" in str(error)


def test_step_unreachable(server: StepCa) -> None:
    """The port is closed."""
    assert asker(server, url=f"https://localhost:{closed_port()}").refusal().kind == "unreachable"


def test_step_renewal_information_is_unavailable(server: StepCa) -> None:
    """step-ca's own API offers no renewal information."""
    mine = asker(server)
    assert mine.refusal(mine.request("renewal")).kind == "refused"
