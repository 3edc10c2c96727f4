"""A directory with too much in it: what is examined, what is said of the rest, and that its keys are still closed."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509 as pyca
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certagent import x509
from certagent.certs_dir import Scanner
from certagent.certs_dir.as_cockroach import Runner, load
from certagent.certs_dir.budget import LIMITS, Limits, ordered
from certagent.certs_dir.scanner import Scan
from tests.making import DAY, Ca, filled, put
from tests.moments import now

FEW = Limits(files=8)


def stems(scan: Scan) -> set[str]:
    return {p.name.stem for p in scan.pairs}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A node's directory that twenty files of others were put into, whose names come first in the alphabet."""
    filled(tmp_path / "certs", "node", "client.root")
    for n in range(10):
        for ending in ("crt", "key"):
            path = tmp_path / "certs" / f"client.a{n}.{ending}"
            path.touch(mode=0o600)
    return tmp_path / "certs"


def test_scan_within_limits_says_nothing(directory: Path) -> None:
    """No finding, and every file."""
    scan = Scanner().scan(str(directory), now())
    assert (scan.directory.too_large, len(scan.pairs)) == ("", 13)


def test_scan_beyond_file_limit_examines_wanted_pairs_first(directory: Path) -> None:
    """What the configuration names, then what servers load, then as many clients as fit; the rest is named."""
    scanner = Scanner(FEW)
    scanner.first = frozenset({"client.root"})
    for _ in range(2):
        scan = scanner.scan(str(directory), now())
        assert stems(scan) >= {"ca", "node", "client.root"}
        assert (len(scan.pairs), scan.directory.too_large) == (
            5,
            "8 files and 64 MiB are examined, 17 more .crt and .key files are not: client.a1.key to client.a9.key",
        )
    for path in directory.glob("client.a*"):
        path.unlink()
    scan = scanner.scan(str(directory), now())
    assert (scan.directory.too_large, stems(scan)) == ("", {"ca", "node", "client.root"})


def test_scan_beyond_size_limit_examines_wanted_pairs_first(directory: Path) -> None:
    """The sum of what would be read; a file that is too large by itself is not read, and does not count."""
    for n in range(5):
        os.truncate(directory / f"client.a{n}.crt", 900_000)
    os.truncate(directory / "client.a9.crt", 1 << 30)
    scanner = Scanner(Limits(size=2_000_000))
    scanner.first = frozenset({"client.root"})
    scan = scanner.scan(str(directory), now())
    assert stems(scan) >= {"ca", "node", "client.root", "client.a0", "client.a1"}
    assert "client.a4.crt" not in {p.cert.file.name for p in scan.pairs if p.cert}
    assert scan.directory.too_large.endswith("client.a2.crt to client.a9.key")


def test_keys_beyond_limit_are_still_found_open(directory: Path) -> None:
    """Each check looks at as many keys as it would examine files, so that a few checks have seen all of them."""
    scanner, opened = Scanner(FEW), set[str]()
    scanner.scan(str(directory), now())
    keys = sorted(directory.glob("*.key"))
    for key in keys:
        key.chmod(0o644)
    for _ in range(2):
        found = scanner.scan_changed_keys(str(directory))
        opened |= {p.key.file.name for p in found.pairs if p.key}
    assert opened == {key.name for key in keys}
    for key in keys:
        key.chmod(0o600)
    scanner.scan(str(directory), now())
    assert () == scanner.scan_changed_keys(str(directory)).pairs + scanner.scan_changed_keys(str(directory)).pairs


def test_check_of_too_large_directory_says_what_it_left_out(tmp_path: Path) -> None:
    """`certagent check` has the same limits."""
    filled(tmp_path / "certs", "node")
    for n in range(LIMITS.files):
        os.close(os.open(tmp_path / "certs" / f"a{n:05}.crt", os.O_CREAT | os.O_WRONLY, 0o600))
    scan = load(str(tmp_path / "certs"), now(), Runner(os.geteuid(), os.getegid()))
    assert stems(scan) == {"ca", "node"}
    assert scan.directory.too_large.endswith(" are not: a23997.crt to a23999.crt")


def test_names_are_examined_in_the_order_of_their_worth() -> None:
    """Configured, loaded by servers, clients, unknown; by name within each."""
    files = ["zzz.crt", "client.b.crt", "client.a.crt", "node.key", "node.crt", "ca.crt", "client.w.crt"]
    expected = ["client.w.crt", "ca.crt", "node.crt", "node.key", "client.a.crt", "client.b.crt", "zzz.crt"]
    assert ordered(files, frozenset({"client.w"})) == expected


def constrained(count: int) -> Ca:
    """A CA for names below that many domains."""
    key, at = ec.generate_private_key(ec.SECP256R1()), now()
    name = pyca.Name([pyca.NameAttribute(pyca.NameOID.COMMON_NAME, "constrained")])
    builder = pyca.CertificateBuilder(name, name, key.public_key(), 7, at - DAY, at + 90 * DAY)
    domains = [pyca.DNSName(f"d{n}.example") for n in range(count)]
    for extension in (pyca.BasicConstraints(ca=True, path_length=None), pyca.NameConstraints(domains, None)):
        builder = builder.add_extension(extension, critical=True)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Ca(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), pem, at)


def named(ca: Ca, user: str, count: int) -> tuple[bytes, bytes]:
    """A client's pair with that many names."""
    key = x509.generate_key("ecdsa-p256")
    csr = x509.make_csr(key, user, tuple(f"h{n}.d1.example" for n in range(count)))
    span = {"not_before": ca.at - DAY, "not_after": ca.at + 30 * DAY}
    return x509.sign_csr(csr, ca.cert, ca.key, server=False, client=True, **span), key


def test_certificates_that_cost_too_much_are_verified_in_later_scans(tmp_path: Path) -> None:
    """Name constraints times names, for one scan; the wanted pairs come first, and each scan verifies at least one."""
    ca = constrained(20)
    directory = tmp_path / "certs"
    directory.mkdir(mode=0o700)
    (directory / "ca.crt").write_bytes(ca.cert)
    for user in ("a", "b", "c", "d"):
        put(directory, f"client.{user}", named(ca, user, 10))
    scanner = Scanner(replace(LIMITS, comparisons=450))
    scanner.first = frozenset({"client.d"})
    said = []
    for _ in range(3):
        scan = scanner.scan(str(directory), now())
        said.append((scan.directory.too_large, {p.name.stem for p in scan.pairs if p.trust and not p.trust.unread}))
    why = "because of their many names and name constraints"
    assert said == [
        (f"2 certificates are not verified yet, {why}: client.b, client.c", {"client.d", "client.a"}),
        ("", {"client.a", "client.b", "client.c", "client.d"}),
        ("", {"client.a", "client.b", "client.c", "client.d"}),
    ]
