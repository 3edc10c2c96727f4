"""X.509: what is made can be parsed, verified and shaken hands with; openssl agrees."""

import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from certagent import x509
from tests.making import DAY, Ca, make_ca
from tests.moments import now

KINDS = ["ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-2048"]


def leaf_for(
    ca: Ca, key: bytes, *, server: bool = True, client: bool = True, days: int = 30, name: str = "node"
) -> bytes:
    csr = x509.make_csr(key, name, ("localhost", "::1"))
    span = {"not_before": ca.at - DAY, "not_after": ca.at + days * DAY}
    return x509.sign_csr(csr, ca.cert, ca.key, server=server, client=client, **span)


@pytest.mark.parametrize("kind", KINDS)
def test_csr_and_leaf_of_every_key_type(kind: str) -> None:
    """Every kind of key signs a request; the leaf has the requested names, and belongs to the key."""
    key = x509.generate_key(kind)
    leaf = x509.parse_certificates(leaf_for(make_ca(), key))[0]
    assert (leaf.spki, leaf.key) == x509.parse_key(key) == (leaf.spki, kind)
    assert (leaf.common_names, leaf.dns, leaf.ips) == (("node",), ("localhost",), ("::1",))
    assert (leaf.eku, leaf.is_ca) == (("serverAuth", "clientAuth"), False)


def test_csr_uri_is_signed() -> None:
    """A URI of the request is a URI SAN of the request and of the leaf, beside names and addresses."""
    ca, key, uri = make_ca(), x509.generate_key("ecdsa-p256"), "crdb://tenant/10/user/root"
    csr = x509.make_csr(key, "root", ("db1", "10.0.0.5", uri))
    span = {"not_before": ca.at - DAY, "not_after": ca.at + 30 * DAY}
    cert = x509.sign_csr(csr, ca.cert, ca.key, server=False, client=True, **span)
    leaf, asked = x509.parse_certificates(cert)[0], x509.parse_request(csr)
    assert (leaf.dns, leaf.ips, leaf.uris) == (asked.dns, asked.ips, asked.uris) == (("db1",), ("10.0.0.5",), (uri,))
    assert leaf.sans == ("DNS:db1", "IP:10.0.0.5", f"URI:{uri}")
    assert x509.same_identity(csr, cert)
    assert not x509.same_identity(x509.make_csr(key, "root", ("db1", "10.0.0.5")), cert)


def test_leaf_never_outlives_its_ca() -> None:
    """notAfter is clipped to the CA's."""
    ca = make_ca(days=5)
    leaf = x509.parse_certificates(leaf_for(ca, x509.generate_key("ecdsa-p256"), days=30))[0]
    assert leaf.not_after == x509.parse_certificates(ca.cert)[0].not_after


def test_key_pkcs1_and_sec1_are_parsed(tmp_path: Path) -> None:
    """Keys as `cockroach cert` (PKCS#1) and openssl (SEC 1, with parameters before) write them."""
    for words in (["genrsa", "-traditional", "2048"], ["ecparam", "-name", "prime256v1", "-genkey"]):
        out = tmp_path / "key"
        subprocess.run(["openssl", *words], check=True, stdout=out.open("wb"), stderr=subprocess.DEVNULL)
        assert x509.parse_key(out.read_bytes())[1] in {"rsa-2048", "ecdsa-p256"}


USES = [(True, True), (True, False), (False, True)]


@pytest.mark.parametrize(("server", "client"), USES)
def test_handshake_of_valid_pair_succeeds(server: bool, client: bool) -> None:
    """A valid pair shakes hands in its roles; with another's key, or under another bundle, it does not."""
    ca, key = make_ca(), x509.generate_key("ecdsa-p256")
    cert = leaf_for(ca, key, server=server, client=client)

    def shake(key: bytes, roots: bytes) -> str | None:
        served, shown = (roots if used else None for used in (server, client))
        return x509.handshake(cert, key, server_roots=served, client_roots=shown)

    assert shake(key, ca.cert) is None
    assert "cannot be loaded" in (shake(x509.generate_key("ecdsa-p256"), ca.cert) or "")
    assert shake(key, make_ca("other").cert)


VERDICTS = [
    ("a sound chain", lambda ca, key: (leaf_for(ca, key), ca.cert), "server", True),
    ("another CA of the same name", lambda _, key: (leaf_for(make_ca(), key), make_ca().cert), "server", False),
    ("no serverAuth", lambda ca, key: (leaf_for(ca, key, server=False), ca.cert), "server", False),
    ("no clientAuth", lambda ca, key: (leaf_for(ca, key, client=False), ca.cert), "client", False),
    ("a bundle of two", lambda ca, key: (leaf_for(ca, key), make_ca("old").cert + ca.cert), "server", True),
]


@pytest.mark.parametrize(("label", "make", "usage", "sound"), VERDICTS, ids=[r[0] for r in VERDICTS])
def test_chain_verdict_agrees_with_openssl(label: str, make: object, usage: str, sound: bool, tmp_path: Path) -> None:
    """Our verdict on a chain is openssl's."""
    if shutil.which("openssl") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no openssl here: apt-get install -y openssl")
    cert, bundle = make(make_ca(), x509.generate_key("ecdsa-p256"))  # type: ignore[operator]
    (tmp_path / "leaf").write_bytes(cert)
    (tmp_path / "bundle").write_bytes(bundle)
    purpose = {"server": "sslserver", "client": "sslclient"}[usage]
    words = ["openssl", "verify", "-purpose", purpose, "-CAfile", str(tmp_path / "bundle"), str(tmp_path / "leaf")]
    theirs = subprocess.run(words, capture_output=True, check=False).returncode == 0
    ours = x509.verify_chain(cert, bundle, usage, now()) is None  # type: ignore[arg-type]
    assert (ours, theirs) == (sound, sound), label


def test_chain_verdict_follows_the_moment() -> None:
    """Before notBefore and after notAfter there is no chain, and the sentence says when."""
    ca, key = make_ca(), x509.generate_key("ecdsa-p256")
    cert = leaf_for(ca, key)
    assert "expired at" in (x509.verify_chain(cert, ca.cert, "server", ca.at + timedelta(days=31)) or "")
    assert "not valid before" in (x509.verify_chain(cert, ca.cert, "server", ca.at - timedelta(days=2)) or "")


@pytest.mark.parametrize(
    "data", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\0" * 1000]
)
def test_certificate_rubbish_is_an_error_not_a_crash(data: bytes) -> None:
    """One exception with one sentence, for certificates and keys."""
    for parse in (x509.parse_certificates, x509.parse_key):
        with pytest.raises(x509.X509Error):
            parse(data)
    assert x509.verify_chain(data, data, "server", now())
    assert x509.handshake(data, data, server_roots=data, client_roots=data)
