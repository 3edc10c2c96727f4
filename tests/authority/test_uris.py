"""A `crdb://` URI SAN that a renewal carries over, as each kind of authority is asked for it."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from certagent.authority.backends import command, vault
from certagent.authority.backends.acme import operations
from certagent.authority.backends.dropbox_contents import letter
from certagent.authority.backends.step_token import repeated
from certagent.authority.errors import AuthorityError
from tests.authority.calling import context, key_and_csr, request
from tests.making import make_ca

URI = "crdb://tenant/10/user/root"
NAMES = ("db1.example.com", "10.0.0.5", URI)


def test_uri_san_in_command_environment() -> None:
    """In openssl's notation, among the other names."""
    told = command._environ(replace(request("command", {"command": ["/x"]}), names=NAMES), context(), "/tmp")
    assert told["CERTAGENT_SAN"] == f"DNS:db1.example.com,IP:10.0.0.5,URI:{URI}"


def test_uri_san_in_vault_field() -> None:
    """It is not a DNS name; without a URI the request is unchanged."""
    body = vault._body(replace(request("vault", {}), names=NAMES))
    assert (body["alt_names"], body["ip_sans"], body["uri_sans"]) == ("db1.example.com", "10.0.0.5", URI)
    assert "uri_sans" not in vault._body(request("vault", {}))


def test_uri_san_is_refused_for_acme() -> None:
    """The CA would refuse the order, so no CA is asked."""
    with pytest.raises(AuthorityError, match="ACME has no URI SANs") as raised:
        operations.ask(replace(request("acme", {}), names=NAMES), context())
    assert raised.value.refused


def test_uri_san_in_dropbox_request() -> None:
    """The text above the request lists it."""
    _, csr = key_and_csr(names=NAMES)
    asked = replace(request("dropbox", {"outbox": "/o", "inbox": "/i"}), csr=csr.decode(), names=NAMES)
    assert f" {URI}\n" in letter(asked, "db1", "cockroach", datetime(2026, 11, 24, tzinfo=UTC))


@pytest.mark.parametrize(("names", "same"), [(NAMES, True), (NAMES[:2], False)])
def test_uri_san_is_repeated_by_step_renewal(names: tuple[str, ...], *, same: bool) -> None:
    """A renewal at step-ca repeats all names of the live certificate: usable if the request has all of them."""
    live = make_ca().pair("node", names=NAMES)[0].decode()
    found = repeated(replace(request("step", {}), live=live, names=names))
    assert (found is not None) == same
