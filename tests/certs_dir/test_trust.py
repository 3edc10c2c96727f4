"""Who verifies what: the roots of the machine for the DB Console, tenants, anchors, bundles put together."""

import base64
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from certagent import x509
from certagent.certs_dir import Scanner, staged
from certagent.certs_dir import system_roots as roots
from certagent.certs_dir.verify import TrustStore
from certagent.core.facts import Trust
from certagent.core.names import CLIENT_NODE, NODE, Name
from certagent.core.policy import Want
from certagent.core.roles import Role
from tests.making import Ca, filled, keyed, make_ca, put
from tests.moments import now
from tests.system.running import open_tmp

UI = Name(Role.UI)


def trust_of(scanner: Scanner, directory: Path, stem: str, at: datetime | None = None) -> Trust | None:
    return {p.name.stem: p for p in scanner.scan(str(directory), at or now()).pairs}[stem].trust


def spki(ca: Ca) -> str:
    return x509.parse_certificates(ca.cert)[0].spki


@pytest.fixture
def public(tmp_path: Path) -> Ca:
    """A public CA, whose root is in the file `roots.pem` beside others."""
    ca = make_ca("public")
    (tmp_path / "roots.pem").write_bytes(make_ca("another").cert + ca.cert)
    return ca


@pytest.mark.usefixtures("usual_umask")
def test_ui_roots_that_others_may_write_are_not_used(tmp_path: Path, public: Ca) -> None:
    """The agent verifies by the configured file until another user may change it; then it says so, at the next look."""
    directory, scanner, file = tmp_path / "certs", Scanner(), tmp_path / "roots.pem"
    filled(directory, "node")
    put(directory, "ui", public.pair("ui"))
    file.chmod(0o644)
    scanner.verdicts.roots = partial(roots.load_trusted, str(file))
    assert trust_of(scanner, directory, "ui") == Trust("system")
    file.chmod(0o666)
    refused = trust_of(scanner, directory, "ui")
    assert refused is not None
    assert f"the configured roots are not used: everybody may write {file}; chmod go-w {file}" in str(refused.problem)


def test_ui_verified_by_system_roots(tmp_path: Path, public: Ca) -> None:
    """`ui` builds to the roots file if ca.crt does not verify it; `node` never; and the verdict follows the file."""
    directory, scanner = tmp_path / "certs", Scanner()
    house = filled(directory, "node")
    put(directory, "ui", public.pair("ui"))
    scanner.verdicts.roots = partial(roots.load, str(tmp_path / "nothing"))
    refused = trust_of(scanner, directory, "ui")
    assert refused is not None
    assert "the system's roots do not verify it either" in str(refused.problem)
    scanner.verdicts.roots = partial(roots.load, str(tmp_path / "roots.pem"))
    assert trust_of(scanner, directory, "ui") == Trust("system")
    (tmp_path / "roots.pem").write_bytes(house.cert)
    changed = trust_of(scanner, directory, "ui")
    assert changed is not None
    assert changed.problem
    put(directory, "ui", house.pair("ui"))
    assert trust_of(scanner, directory, "ui") == Trust("ca")
    (directory / "ca-ui.crt").write_bytes(public.cert)
    put(directory, "node", public.pair("node"))
    for stem, bundle in (("ui", "ca-ui"), ("node", "ca")):
        found = trust_of(scanner, directory, stem)
        assert found is not None
        assert (found.bundle, bool(found.problem)) == (bundle, True)


def test_pre_install_ui_verified_by_system_roots(tmp_path: Path, public: Ca) -> None:
    """The facts of a staged `ui` are established by the same roots; those of a staged node are not."""
    bundles = {"ca": make_ca("house").cert}
    for name, stem, good in ((UI, "ui", True), (NODE, "node", False)):
        cert, key = keyed(public.pair(stem))
        want = Want(name, ("public",), server=True, client=False, roots=str(tmp_path / "roots.pem"))
        pair = staged.pair_fact(stem, cert, key, 0.0)
        assert pair is not None
        store = TrustStore(bundles=bundles, roots=partial(roots.load, want.roots), split=False)
        found = staged.judge(pair, want, cert, key, store, asked=True, at=0.0, now=now())
        assert found.pair.trust is not None
        assert (found.pair.trust.bundle, found.pair.trust.problem is None, found.handshake) == (
            "system" if good else "ca",
            good,
            None,
        )


def test_system_roots_unreadable_are_empty(tmp_path: Path) -> None:
    """Missing, a directory, a FIFO, rubbish: no roots, no hang, no crash."""
    import os

    os.mkfifo(tmp_path / "fifo")
    assert [b"", b"", b""] == [roots.load(str(tmp_path / name)).pem for name in ("missing", "fifo", "")]
    (tmp_path / "rubbish").write_text("rubbish")
    directory, scanner = tmp_path / "certs", Scanner()
    filled(directory, "node")
    put(directory, "ui", make_ca("public").pair("ui"))
    scanner.verdicts.roots = partial(roots.load, str(tmp_path / "rubbish"))
    found = trust_of(scanner, directory, "ui")
    assert found is not None
    assert found.problem


def test_system_roots_unusable_root_is_skipped(tmp_path: Path, public: Ca) -> None:
    """A serial number 0, a truncated certificate, a key among them, a word: skipped, as in Go's system pool."""
    zero, broken = serial_zero(), base64.b64encode(b"\x30\x03\x02\x01\x05").decode()
    rubbish = f"-----BEGIN CERTIFICATE-----\n{broken}\n-----END CERTIFICATE-----\n".encode()
    place = tmp_path / "store.pem"
    place.write_bytes(b"# roots\n" + zero + rubbish + x509.generate_key("ecdsa-p256") + public.cert)
    assert public.cert in roots.load(str(place)).pem
    assert len(x509.parse_certificates(roots.load(str(place)).pem)) in {
        1,
        2,
    }  # cryptography may read the 0 some day, or not
    directory, scanner = tmp_path / "certs", Scanner()
    filled(directory, "node")
    put(directory, "ui", public.pair("ui"))
    scanner.verdicts.roots = partial(roots.load, str(place))
    assert trust_of(scanner, directory, "ui") == Trust("system")


def serial_zero() -> bytes:
    """A root with the serial number 0, as old ones have; its own signature is nobody's business."""
    der = bytearray(base64.b64decode("".join(make_ca("zero").cert.decode().split("\n")[1:-2])))
    at = der.index(b"\xa0\x03\x02\x01\x02\x02") + 5  # behind the version
    less = der[at + 1] - 1
    der[at : at + 2 + der[at + 1]] = b"\x02\x01\x00"
    for length in (2, 6):  # of the certificate, and of what is signed; both in two bytes
        assert der[length - 1] == 0x82
        der[length : length + 2] = (int.from_bytes(der[length : length + 2]) - less).to_bytes(2)
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(bytes(der)) + b"-----END CERTIFICATE-----\n"


def test_system_roots_of_this_machine_are_read() -> None:
    """If the machine has roots, they are read and usable."""
    if not roots.place():
        pytest.skip("apt-get install ca-certificates")
    assert "not in the bundle" in str(x509.verify_chain(make_ca().pair("ui")[0], roots.load().pem, "server", now()))


def test_trust_anchors_of_pair(tmp_path: Path) -> None:
    """A node's and a client's pairs name the CAs of the bundle that verify them, and no others."""
    directory = tmp_path / "certs"
    old, new = filled(directory, "node", "client.node", "client.root"), make_ca("new")
    (directory / "ca-client.crt").write_bytes(new.cert + old.cert)
    scanner = Scanner()
    assert trust_of(scanner, directory, "client.node") == Trust("ca-client", None, (spki(old),))
    assert trust_of(scanner, directory, "node") == Trust("ca", None, (spki(old),))
    assert trust_of(scanner, directory, "client.root") == Trust("ca-client", None, (spki(old),))
    put(directory, "client.node", new.pair("client.node"))
    assert trust_of(scanner, directory, "client.node") == Trust("ca-client", None, (spki(new),))


def test_tenant_pairs_verified_by_tenant_ca(tmp_path: Path) -> None:
    """A tenant's pair is verified by the tenants' CA, else as a client; its signing pair by nothing."""
    directory, scanner, tenants = tmp_path / "certs", Scanner(), make_ca("tenants")
    filled(directory, "node", "tenant-signing.5")
    put(directory, "client-tenant.5", tenants.pair("client-tenant.5"))
    put(directory, "tenant-signing.5", make_ca("itself").pair("tenant-signing.5"))
    assert trust_of(scanner, directory, "tenant-signing.5") is None
    for bundle in ("ca", "ca-client", "ca-client-tenant"):
        ca = tenants if bundle == "ca-client-tenant" else make_ca("clients")
        (directory / f"{bundle}.crt").write_bytes(ca.cert)
        found = trust_of(scanner, directory, "client-tenant.5")
        assert found is not None
        assert (found.bundle, found.problem is None) == (bundle, bundle == "ca-client-tenant")


def test_bundles_merged_in_order() -> None:
    """Bundles in order, each CA once; rubbish is an error."""
    one, two = make_ca("one").cert, make_ca("two").cert
    both = x509.merged(one, two + one)
    assert [c.subject for c in x509.parse_certificates(both)] == ["CN=one,O=Cockroach", "CN=two,O=Cockroach"]
    with pytest.raises(x509.X509Error):
        x509.merged(one, b"rubbish")


def test_tenant_request_has_ou_tenants() -> None:
    """cockroach knows a tenant by OU=Tenants; no other certificate gets an OU."""
    ca, own = make_ca(), x509.generate_key("ecdsa-p256")
    for name, unit in ((Name(Role.TENANT, "5"), "Tenants"), (CLIENT_NODE, "")):
        csr = x509.make_csr(own, "5", (), unit=name.kind.unit)
        cert = x509.sign_csr(
            csr, ca.cert, ca.key, server=False, client=True, not_before=ca.at, not_after=ca.at + timedelta(days=1)
        )
        assert ("OU=Tenants" in x509.parse_certificates(cert)[0].subject) == bool(unit)


UNREAD = """
import os, sys
from certagent.certs_dir.system_roots import load
os.seteuid(65534)
before = len(load(sys.argv[1]).pem)
os.seteuid(0)
os.chmod(sys.argv[1], 0o644)
os.seteuid(65534)
print(before, len(load(sys.argv[1]).pem))
"""


@pytest.mark.root
@pytest.mark.slow
def test_system_roots_after_chmod_are_read_again() -> None:
    """A chmod changes the ctime, and not the mtime."""
    base = open_tmp()
    file = base / "roots.pem"
    file.write_bytes(make_ca().cert)
    file.chmod(0o600)
    ran = subprocess.run([sys.executable, "-c", UNREAD, str(file)], capture_output=True, text=True, check=True)
    shutil.rmtree(base)
    before, after = map(int, ran.stdout.split())
    assert before == 0 < after


def test_system_roots_are_parsed_only_where_something_verifies_by_them() -> None:
    """A look at the system's roots tells whether they changed; a configured file is read at once."""
    assert roots.load() == roots.Roots(roots.stat_key(), None)


def test_system_roots_configured_are_those_of_that_moment(tmp_path: Path) -> None:
    """A configured file is read by who may wait for it, so what was read does not change with the file."""
    file = tmp_path / "roots.pem"
    file.write_bytes(make_ca().cert)
    found = roots.load(str(file))
    file.unlink()
    assert found.pem
