"""Certificates that Go and cryptography read differently: each is one example of its kind, from the field."""

import ssl
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509 import load_pem_x509_certificate

from certagent import x509
from certagent.x509.bags import any_certificates
from tests.core.building import file
from tests.making import make_ca

VECTORS = Path(cryptography_vectors.__file__).parent / "x509"
CORPUS = Path(__file__).parent / "corpus"
AT = datetime(2026, 12, 15, tzinfo=UTC)  # in the lifetime of all of them
LOADED = [  # that cryptography does not read as they stand
    "bc-false-explicit",
    "crit-false-explicit",
    "ecdsa-alg-null",
    "ext-crl-badurl",
    "utctime-no-seconds",
]
SOUND = [*LOADED, "bmp-ca", "country-3"]
REFUSED = [
    ("san-uri-bad", r"Go cannot parse the URI 'http://\[bad': missing '\]' in host"),
    ("rsa-spki-no-null", "its RSA key lacks the NULL parameters"),
    ("ext-big-oid", "malformed object identifier"),
]
DISPUTED = [
    ("neg-serial-ca", "ca", "Go from 1.23 on refuses a negative serial number"),
    ("san-dns-trailing-dot", "node", "refuse the DNS name 'db1.example.com.'"),
]


def both(name: str) -> tuple[bytes, bytes]:
    """The certificate of a node, and its CA."""
    return (CORPUS / name / "node.crt").read_bytes(), (CORPUS / name / "ca.crt").read_bytes()


@pytest.mark.parametrize("name", SOUND)
def test_certificate_that_go_loads_is_read_and_verified(name: str) -> None:
    """It has facts, verifies by its CA over the bytes of the file, and by no other CA of that name."""
    cert, ca = both(name)
    leaf = x509.parse_certificates(cert)[0]
    assert ("node" in leaf.principals, leaf.eku, leaf.caveat) == (True, ("serverAuth", "clientAuth"), "")
    assert {x509.verify_chain(cert, ca, usage, AT) for usage in ("server", "client")} == {None}  # type: ignore[arg-type]
    other = (CORPUS / ("country-3" if name != "country-3" else "bmp-ca") / "ca.crt").read_bytes()
    if other != ca:
        assert x509.verify_chain(cert, other, "server", AT)


@pytest.mark.parametrize("name", LOADED)
def test_certificate_reencoded_with_damaged_signature_is_refused(name: str) -> None:
    """The signature is verified over the bytes of the file, not over the re-encoded ones."""
    cert, ca = both(name)
    der = bytearray(ssl.PEM_cert_to_DER_cert(cert.decode()))
    der[-1] ^= 1
    assert "signature" in (x509.verify_chain(ssl.DER_cert_to_PEM_cert(bytes(der)).encode(), ca, "server", AT) or "")


@pytest.mark.parametrize("name", LOADED)
def test_certificate_keeps_its_bytes(name: str) -> None:
    """Every writer writes the bytes that the CA signed: bundles, chains and answers of a drop box."""
    cert, _ = both(name)
    fingerprint = x509.parse_certificates(cert)[0].fingerprint
    for written in (x509.merged(cert, cert), x509.split_certificates(cert)[0][1], any_certificates(cert)):
        assert [leaf.fingerprint for leaf in x509.parse_certificates(written)] == [fingerprint]


@pytest.mark.parametrize("name", LOADED)
def test_bundle_with_root_that_cryptography_refuses_is_readable(name: str) -> None:
    """In a bundle it is one certificate among others, which verify as before."""
    cert, ca = both("country-3")
    assert x509.verify_chain(cert, both(name)[0] + ca, "server", AT) is None


def test_bundle_with_unread_root_is_readable() -> None:
    """One that Go loads and certagent cannot read: the others verify; a leaf that none of them verifies is unknown."""
    (unread,) = VECTORS.rglob("dsa_null_alg_params.pem")
    cert, ca = both("country-3")
    bundle = unread.read_bytes() + ca
    assert x509.verify_chain(cert, bundle, "server", AT) is None
    assert x509.verify_chain(cert, unread.read_bytes() + make_ca().cert, "server", AT)
    assert [x509.undecided(b) for b in (bundle, unread.read_bytes(), ca, b"")] == [True, True, False, False]
    fact = x509.cert_file(file("ca.crt"), bundle)
    assert (fact.leaf is not None, "certagent cannot read" in fact.unread, fact.problem) == (True, True, None)


@pytest.mark.parametrize("name", LOADED)
def test_dropbox_answer_with_odd_encoding_is_taken(name: str) -> None:
    """An odd encoding is no reason to ignore a CA's answer: it is the one to the request of its key."""
    cert, ca = both(name)
    leaf = x509.parse_certificates(cert)[0]
    taken = x509.arranged(any_certificates(ca + cert), leaf.spki)
    assert x509.parse_certificates(taken)[0].fingerprint == leaf.fingerprint


@pytest.mark.parametrize(("name", "reason"), REFUSED)
def test_certificate_that_go_refuses_is_unparsable(name: str, reason: str) -> None:
    """cockroach refuses the file when it loads it: so do the pre-install checks, and they say why."""
    with pytest.raises(x509.X509Error, match=reason) as error:
        x509.parse_certificates(both(name)[0])
    assert error.value.kind == "unparsable"
    with pytest.raises(x509.X509Error, match=reason):
        any_certificates(both(name)[0])


@pytest.mark.parametrize(("name", "stem", "reason"), DISPUTED)
def test_certificate_that_some_go_refuses_has_a_caveat(name: str, stem: str, reason: str) -> None:
    """It is read, because the running cockroach may accept it; core/rules.py decides on it."""
    assert reason in x509.parse_certificates((CORPUS / name / f"{stem}.crt").read_bytes())[0].caveat


BOM = b"\xef\xbb\xbf"


def test_dropbox_answer_in_any_wrapping_is_taken() -> None:
    """PKCS#7 under the label of a certificate, as Windows CAs send it; a BOM, CR, text around it, DER."""
    cert, ca = both("country-3")
    der = ssl.PEM_cert_to_DER_cert(cert.decode())
    loaded = [load_pem_x509_certificate(pem) for pem in (cert, ca)]
    bag = pkcs7.serialize_certificates(loaded, Encoding.DER)
    label = ssl.DER_cert_to_PEM_cert(bag).encode()
    for data in (label, BOM + label.replace(b"\n", b"\r\n"), bag, pkcs7.serialize_certificates(loaded, Encoding.PEM)):
        assert len(x509.parse_certificates(any_certificates(data))) == 2
    for data in (BOM + cert, cert.replace(b"\n", b"\r"), b"Dear all, " + cert.strip() + b" regards", der):
        assert x509.parse_certificates(any_certificates(data)) == x509.parse_certificates(cert)


WITHOUT_LIBRARY = """
import sys
from pathlib import Path
from certagent import x509
from certagent.certs_dir.reading import printable
sys.meta_path.clear()  # as where the interpreter's library is closed to the user that the process has become
for path in Path(sys.argv[1]).rglob("*.crt"):
    try:
        x509.parse_certificates(path.read_bytes())
    except x509.X509Error as error:
        assert error.kind == "unparsable", error
print(printable("client.a\\nb\\udcff.crt"))
"""


def test_certificate_parsing_imports_nothing() -> None:
    """Encodings of names are loaded with the package: `check` reads files with another user's rights."""
    words = [sys.executable, "-c", WITHOUT_LIBRARY, str(CORPUS)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("client.a\\nb\\xff.crt\n", "")
