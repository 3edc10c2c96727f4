"""Which addresses a certificate or a redirect may have this host ask."""

import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from certagent import revocation as ocsp
from certagent import x509
from certagent.core.policy import OcspRule
from certagent.operations.ocsp_advice import advise
from certagent.revocation.addresses import NOT_PUBLIC, is_public, may_be_public
from certagent.revocation.fetching import Fetch, FetchError, fetch
from tests.making import make_ca
from tests.revocation.responders import Script, counted, reply, responder, sending
from tests.revocation.test_ocsp import CA, GOOD, LEAF, links

PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",  # noqa: S104 - it is this host
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "239.1.1.1",
    "255.255.255.255",
    "240.0.0.1",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "fe80::1%eth0",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "192.0.0.192",
    "no address",
    "",
]
PUBLIC = ["1.1.1.1", "172.32.0.1", "193.0.14.129", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("address", PRIVATE)
def test_ocsp_address_is_not_public(address: str) -> None:
    """Loopback, link-local, private, shared, multicast, reserved; also inside an IPv6 address."""
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_ocsp_address_is_public(address: str) -> None:
    """One of the internet, by whatever form it is written."""
    assert is_public(address)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("ocsp.example.com", True),
        ("1.1.1.1", True),
        ("localhost", False),
        ("LOCALHOST.", False),
        ("a.localhost", False),
        ("10.0.0.1", False),
        ("[::1]", False),
        ("127.1", False),
        ("0x7F.1", False),
        ("2130706433", False),
        ("0177.0.0.1", False),
        ("1.example", True),
    ],
)
def test_ocsp_host_behind_a_proxy(host: str, expected: bool) -> None:
    """The proxy resolves names: an address in the URL, and this host's own names, are judged as they are."""
    assert may_be_public(host) == expected


def get(url: str, *known: str) -> bytes:
    """What a URL returns, where the configuration names those that are known."""
    return fetch(Fetch("GET", url, None, {}, "", 1 << 20, configured=frozenset(known)), time.monotonic() + 20)


def test_ocsp_loopback_is_not_asked_unless_configured() -> None:
    """No connection is made to an address that is not public, by its name either; a configured URL may be anywhere."""
    calls: list[int] = []
    with responder(counted(sending(reply(b"here")), calls)) as url:
        for place in (url, url.replace("127.0.0.1", "localhost")):
            with pytest.raises(FetchError, match="no request was sent"):
                get(place)
        assert calls == []
        assert get(url, url) == b"here"
        assert len(calls) == 1


def test_ocsp_redirect_is_judged_and_not_quoted() -> None:
    """A configured responder redirects to another port of this host: it is not followed; its Location is not told."""
    calls: list[int] = []
    moved: Script = sending(b"")
    with ExitStack() as running:
        inside = running.enter_context(responder(counted(sending(reply(b"inside")), calls)))
        moved = sending(reply(b"", b"302 Go", extra=b"Location: %bsecret-path\r\n" % inside.encode()))
        first = running.enter_context(responder(moved))
        with pytest.raises(FetchError) as caught:
            get(first, first)
    assert (str(caught.value), calls) == (NOT_PUBLIC, [])


@pytest.mark.parametrize("place", ["file:///secret-path", "http://[::1secret-path", "gopher://secret-path"])
def test_ocsp_redirect_that_is_refused_is_not_quoted(place: str) -> None:
    """Nothing of where a redirect leads is in the reason, whatever it is."""
    moved = sending(reply(b"", b"307 Go", extra=b"Location: %b\r\n" % place.encode()))
    with responder(moved) as url, pytest.raises(FetchError) as caught:
        get(url, url)
    assert "secret-path" not in str(caught.value)


@pytest.mark.slow
def test_ocsp_worker_refuses_private_responders_by_default() -> None:
    """The whole way: refused with the setting that allows it, and good with that setting or where it is configured."""
    cert, issuer = links(LEAF, CA)
    with responder(sending(reply(GOOD))) as url:
        question = ocsp.Question(cert, issuer, (url,))
        ways = (ocsp.Reach(), ocsp.Reach(allow_private=True), ocsp.Reach(configured=(url,)))
        found = [ocsp.ask(ocsp.asker(), [question], 20.0, reach=reach)[0][0] for reach in ways]
    assert [a.status for a in found] == ["unreachable", "good", "good"]
    assert "allow_private = true in [certs_dir.ocsp]" in found[0].reason


@pytest.mark.slow
def test_ocsp_advice_asks_private_responders_where_told(tmp_path: Path) -> None:
    """A responder on this host that a certificate names gets no request, until --allow-private allows it."""
    calls: list[int] = []
    with responder(counted(sending(reply(b"rubbish")), calls)) as url:
        house, key = make_ca(), x509.generate_key("ecdsa-p256")
        csr = x509.make_csr(key, "node", ("localhost",))
        span = {"not_before": house.at - timedelta(days=1), "not_after": house.at + timedelta(days=9)}
        leaf = x509.sign_csr(csr, house.cert, house.key, server=True, client=True, urls=(url, ""), **span)
        for name, data in (("ca.crt", house.cert), ("node.crt", leaf), ("node.key", key)):
            (tmp_path / name).write_bytes(data)
        told = [str(advise([(str(tmp_path), OcspRule(crl=False))], allow_private=given)) for given in (False, True)]
    assert [NOT_PUBLIC in words for words in told] == [True, False]
    assert len(calls) == 1
