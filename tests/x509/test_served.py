"""To which CAs of this host the chain leads that another host serves: by signatures, never by names."""

import ssl
from datetime import timedelta

import pytest

from certagent import x509
from tests.making import Ca, cross_signed, make_ca


def ders(*pems: bytes) -> list[bytes]:
    """Certificates as a server sends them."""
    return [ssl.PEM_cert_to_DER_cert(pem.decode()) for pem in pems]


def spki(ca: Ca) -> str:
    """By which a CA is known, whoever signed it."""
    return x509.parse_certificates(ca.cert)[0].spki


def test_served_chain_leads_to_the_root_that_signed_it() -> None:
    """Of two roots with one name only the right one counts, also where it is the only one of the bundle."""
    old, new = make_ca("same"), make_ca("same")
    served = ders(new.pair()[0])
    assert x509.led_to(served, old.cert + new.cert + new.cert, new.at) == (spki(new),)
    assert x509.led_to(served, new.cert, new.at) == (spki(new),)
    assert x509.led_to(served, old.cert, new.at) == ()
    assert x509.led_to(served, b"", new.at) == ()


def test_served_chain_with_a_cross_certificate_leads_to_both_roots() -> None:
    """Who knows the old root alone accepts it as well."""
    old, new = make_ca("old"), make_ca("new")
    served = ders(new.pair()[0], cross_signed(new.cert, old))
    assert set(x509.led_to(served, old.cert + new.cert, new.at)) == {spki(old), spki(new)}
    assert x509.led_to(served, old.cert, new.at) == (spki(old),)


def test_served_chain_that_has_expired_still_leads_somewhere() -> None:
    """Its end is a finding of its own host."""
    ca = make_ca()
    served = ders(ca.pair()[0])
    assert x509.led_to(served, ca.cert, ca.at + timedelta(days=100)) == (spki(ca),)


@pytest.mark.parametrize("served", [[], [b""], [b"rubbish"], [b"0\x82"]])
def test_served_chain_that_is_none_is_an_error(served: list[bytes]) -> None:
    """What does not parse leads nowhere, and is said."""
    with pytest.raises(x509.X509Error, match=r"."):
        x509.led_to(served, make_ca().cert, make_ca().at)


def test_served_chain_with_rubbish_behind_the_leaf_is_an_error() -> None:
    """A client that parses all of it ends the handshake."""
    ca = make_ca()
    with pytest.raises(x509.X509Error, match=r"."):
        x509.led_to([*ders(ca.pair()[0]), b"rubbish"], ca.cert, ca.at)


def test_served_chain_is_judged_by_what_can_be_read_of_a_bundle() -> None:
    """Text between certificates is passed over, and so is a certificate that nobody can read."""
    ca = make_ca()
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    assert x509.led_to(ders(ca.pair()[0]), b"# ours\n" + broken + ca.cert, ca.at) == (spki(ca),)
