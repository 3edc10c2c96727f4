"""What CAs and people send back: forms, order, and bytes that are no answer."""

import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certagent import x509
from certagent.x509 import X509Error
from certagent.x509.bags import any_certificates, from_pkcs7
from tests.making import Ca, cross_signed, make_ca
from tests.servers.est import intermediate

KEY = x509.generate_key("ecdsa-p256")
CSR = x509.make_csr(KEY, "node", ("db1.example.com", "10.0.0.5", "::1"), challenge="open sesame")
SPKI = x509.parse_key(KEY)[0]
ROOT = make_ca("root")
ISSUING = Ca(*intermediate(ROOT.cert, ROOT.key, ROOT.at), ROOT.at)
OTHER = make_ca("another")


def signed(ca: Ca, days: int = 30) -> bytes:
    now = datetime.now(UTC)
    span = {"not_before": now - timedelta(hours=1), "not_after": now + timedelta(days=days)}
    return x509.sign_csr(CSR, ca.cert, ca.key, server=True, client=True, **span)


LEAF = signed(ISSUING)


def test_csr_is_read_back() -> None:
    """The contents of a request are read back: key, names, subject."""
    asked = x509.parse_request(CSR)
    assert (asked.spki, asked.key, asked.subject_text) == (SPKI, "ecdsa-p256", "CN=node,O=Cockroach")
    assert (asked.dns, asked.ips) == (("db1.example.com",), ("10.0.0.5", "::1"))
    assert x509.same_identity(CSR, LEAF)
    assert not x509.same_identity(x509.make_csr(KEY, "node", ("db1.example.com",)), LEAF)
    assert not x509.same_identity(x509.make_csr(KEY, "root", ("db1.example.com", "10.0.0.5", "::1")), LEAF)


def test_chain_from_shuffled_certificates() -> None:
    """In any order: the leaf of our key, then its issuers, no root, no unrelated certificate."""
    bag = [LEAF, ISSUING.cert, ROOT.cert, OTHER.cert, OTHER.pair()[0]]
    for seed in range(20):
        shuffled = random.Random(seed).sample(bag, len(bag))
        assert x509.arranged(b"".join(shuffled), SPKI) == LEAF + ISSUING.cert


def test_chain_with_cross_signed_issuer_keeps_both() -> None:
    """Both of its certificates stay, whichever comes first: one of them leads to a node's root."""
    crossed = cross_signed(ISSUING.cert, OTHER)
    for above in ([ISSUING.cert, crossed], [crossed, ISSUING.cert]):
        found = x509.arranged(b"".join([*above, ROOT.cert, LEAF]), SPKI)
        assert b"".join([LEAF, *above]) == found
        now = datetime.now(UTC)
        assert [x509.verify_chain(found, root.cert, "server", now) for root in (ROOT, OTHER)] == [None, None]


def test_chain_with_cross_signed_root_of_same_name_keeps_it() -> None:
    """`cockroach cert create-ca` gives every CA one subject: the cross-signed certificate of the new one is no root.

    It stays in the chain, so that a host that has only the old root in its bundle can verify the new leaf.
    """
    old, new = make_ca("Cockroach CA"), make_ca("Cockroach CA")
    crossed, leaf = cross_signed(new.cert, old), signed(new)
    found = x509.arranged(leaf + new.cert + crossed, SPKI)
    assert (found, x509.is_root(new.cert), x509.is_root(crossed)) == (leaf + crossed, True, False)
    now = datetime.now(UTC)
    assert [x509.verify_chain(found, root.cert, "server", now) for root in (old, new)] == [None, None]


def test_chain_of_several_leaves_takes_the_longest() -> None:
    """An old and a new certificate of the same key: the one that lasts longest."""
    assert x509.arranged(signed(ROOT, 5) + signed(ROOT, 50), SPKI) != x509.arranged(signed(ROOT, 5), SPKI)
    newest = signed(ROOT, 50)
    assert x509.arranged(signed(ROOT, 5) + newest, SPKI) == newest


def test_chain_issuer_is_decided_by_signature() -> None:
    """Another CA of the issuer's name: its signature decides."""
    impostor = make_ca("root")
    assert x509.arranged(signed(ISSUING) + impostor.cert + ISSUING.cert, SPKI).endswith(ISSUING.cert)
    lone = Ca(*intermediate(impostor.cert, impostor.key, impostor.at), impostor.at)
    assert lone.cert not in x509.arranged(LEAF + lone.cert, SPKI)


def test_chain_without_our_key_is_error() -> None:
    """No certificate of our key, or too many certificates: an error, in one line."""
    for pem in (ROOT.cert, ROOT.cert * 65, b"", b"hello"):
        with pytest.raises(X509Error) as caught:
            x509.arranged(pem, SPKI)
        assert "\n" not in str(caught.value)


def test_roots_are_self_signed() -> None:
    """Certificates that signed themselves; not those that only claim it."""
    assert x509.roots_of(LEAF + ISSUING.cert + ROOT.cert + OTHER.cert) == ROOT.cert + OTHER.cert
    assert x509.roots_of(LEAF) == b""


READERS = [
    from_pkcs7,
    any_certificates,
    x509.parse_request,
    x509.request_der,
    x509.roots_of,
    lambda data: x509.arranged(data, SPKI),
    lambda data: x509.same_identity(CSR, data),
]


@pytest.mark.slow
@pytest.mark.parametrize("read", READERS)
@settings(max_examples=100)
@given(data=st.binary(max_size=400), at=st.integers(0, 600), wrap=st.booleans())
def test_certificate_any_bytes_answer_or_x509_error(read: object, data: bytes, at: int, wrap: bool) -> None:
    """Rubbish, and certificates with rubbish in their middle: an answer or X509Error, never anything else."""
    given_bytes = LEAF[:at] + data + LEAF[at + len(data) :] if wrap else data
    with suppress(X509Error):
        read(given_bytes)  # type: ignore[operator]
