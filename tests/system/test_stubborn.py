"""What cannot be used stays what it is, a finding: the agent neither ends nor turns in circles because of it."""

import io
import os
import pwd
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509 as pyca
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certagent import x509
from certagent.agent.jobs.work import ProcessScan
from certagent.agent.observe import Staging
from certagent.agent.start import put_together
from certagent.certs_dir import Scanner
from certagent.certs_dir.swap import Store
from certagent.config import load
from certagent.control.admission import Peer
from certagent.core.facts import Snapshot
from certagent.events import Log
from certagent.posix.clock import clock
from certagent.state.ledger import Ledger
from tests.core.building import process, served
from tests.making import keyed
from tests.system.running import ME, Host, open_tmp
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
PEM = serialization.Encoding.PEM


def weak_pair(host: Host) -> None:
    """A client pair by the house CA whose key is too weak for OpenSSL to offer."""
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    ca = pyca.load_pem_x509_certificate((host.base / "ca" / "ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((host.base / "ca" / "ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    now, name = datetime.now(UTC), pyca.Name([pyca.NameAttribute(pyca.NameOID.COMMON_NAME, "root")])
    builder = pyca.CertificateBuilder(ca.subject, name, key.public_key(), pyca.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=300))
    usage = pyca.ExtendedKeyUsage([pyca.ExtendedKeyUsageOID.CLIENT_AUTH])
    made = builder.add_extension(usage, critical=False).sign(signer, hashes.SHA256())
    (host.certs / "client.root.crt").write_bytes(made.public_bytes(PEM))
    secret = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (host.certs / "client.root.key").write_bytes(secret)


def test_client_pair_refused_by_openssl_is_finding(host: Host) -> None:
    """A client key that OpenSSL refuses is a finding with the reason, probed as seldom as a silent port."""
    host.once()
    weak_pair(host)
    with host.server(), host.agent() as agent:
        told = agent.wait_event("finding.appeared", lambda e: e["code"] == "served.unreachable")
        assert "too small" in told["reason"]
        assert agent.events("action.failed") == []


def test_ca_key_unreadable_does_not_stop_bundle(host: Host) -> None:
    """A bundle is staged, judged and installed beside an unreadable `ca.key`."""
    host.make_certs()
    os.mkfifo(host.certs / "ca.key", 0o600)
    host.once()
    assert (host.certs / "ca.crt").exists()
    assert (host.certs / "node.crt").exists()


def told(host: Host) -> list[str]:
    """The files and messages of every finding."""
    return [f"{f['file']}: {f['message']}" for d in host.status()["certs_dirs"] for f in d["findings"]]


@pytest.mark.parametrize("how", ["link", "number"])
def test_staging_area_unusable_is_finding(host: Host, how: str, tmp_path: Path) -> None:
    """Whatever its owner makes of the staging area under a running agent, the agent goes on, and says so."""
    host.once()
    area = host.certs / ".certagent"
    with host.agent() as agent:
        if how == "number":
            odd = area / "old" / "node" / "²"
            odd.mkdir(parents=True)
            (odd / "crt").write_bytes((host.certs / "node.crt").read_bytes())
        else:
            area.rename(tmp_path / "away")
            area.symlink_to(tmp_path / "away")
            agent.wait_event("finding.appeared", lambda e: e["code"] == "dir.foreign")
        (host.certs / "client.root.crt").unlink()
        wait_until(lambda: any("client.root.crt" in said for said in told(host)), "its absence is told of")
        assert host.json("status")["daemon"] is not None
        if how == "number":
            wait_until((host.certs / "client.root.crt").exists, "it is issued anew")


@pytest.mark.root
@pytest.mark.parametrize("victim", [0, 1])
def test_symlink_of_user_is_not_followed_by_root(host: Host, victim: int) -> None:
    """A user replaced their certs directory by a symlink to another user's: root changes nothing there."""
    base = open_tmp()
    home, other = base / "home", base / "other"
    home.mkdir()
    other.mkdir()
    host.certs = home / "certs"
    host.write(owner='"nobody"')
    host.certs.symlink_to(other)
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(home, nobody, nobody)
    os.chown(other, victim, victim)
    os.chown(host.certs, nobody, nobody, follow_symlinks=False)
    (other / "node.key").write_text("somebody's own")
    (other / "node.key").chmod(0o644)
    told = host.run("run", "--once", "--log", "json")
    assert [p.name for p in other.iterdir()] == ["node.key"]
    assert (other / "node.key").read_text() == "somebody's own"
    assert (other / "node.key").stat().st_mode & 0o777 == 0o644
    assert f"{home} belongs to nobody" in told.stdout


@pytest.mark.parametrize("how", ["file", "link", "fifo"])
def test_lock_unusable_of_one_directory_spares_the_others(host: Host, how: str) -> None:
    """The owner of one certs directory replaced its lock: the agent still manages all the others."""
    other = host.base / "other"
    other.mkdir(mode=0o700)
    table = f"[[certs_dir]]\npath = '{other}'\nowner = '{ME}'\nauthority = 'house'\nnames = ['localhost']"
    host.write(extra=table)
    host.make_certs()
    area = host.certs / ".certagent"
    if how == "file":
        area.write_text("")
    elif how == "link":
        area.symlink_to(host.base)
    else:
        area.mkdir(mode=0o700)
        os.mkfifo(area / "lock")
    told = host.once().stdout
    assert (other / "node.crt").exists()
    assert not (host.certs / "node.crt").exists()
    assert "dir.foreign" in told


def test_plan_for_other_users_waits_for_no_directory(host: Host) -> None:
    """A read-only user gets the plan of the last reconcile while the thread is busy; and no more rows than exist."""
    host.make_certs()
    ledger = Ledger.writing(str(host.base / "ledger.db"))
    log = Log(io.StringIO(), "json", clock)
    agent = put_together(load(str(host.config)), str(host.config), ledger, log, lambda _reason: None)
    service, answer, busy = agent.service, agent.commands.answer, threading.Event()
    other = Peer(1, 65534, 65534)
    try:
        (host.base / "state").mkdir()
        service.take_locks()
        service.go()
        service.wait_until_looked(60)
        agent.directories.threads[str(host.certs)].do(lambda: bool(busy.wait(60)))
        told = answer("plan", {}, other)
        assert [d["path"] for d in told["document"]["certs_dirs"]] == [str(host.certs)]
        assert answer("history", {"limit": -1}, other)["rows"] == []
    finally:
        busy.set()
        service.stop()


def test_staged_pair_blocked_uses_constant_memory(host: Host) -> None:
    """A pair that is staged for a day is judged anew every minute, and only the newest result is kept."""
    host.make_certs()
    store, policy = Store(str(host.certs)), load(str(host.config)).policies[0]
    cert, key = x509.make_ca("root", timedelta(days=30), datetime.now(UTC))
    store.stage("node", *keyed((cert, key)))
    staging, now = Staging(store, policy.path), datetime.now(UTC)
    scan = Scanner().scan(policy.path, now)
    seen = Snapshot(scan.directory, scan.pairs, scan.unmanaged_files)

    def look(minutes: int) -> int:
        found = staging.add(seen, policy, None, now + timedelta(minutes=minutes)).staged
        assert [s.pair.name.stem for s in found] == ["node"]
        return len(staging._judged)

    assert {look(minutes) for minutes in range(60)} == {1}


def test_probe_answers_of_removed_ports_are_forgotten(host: Host) -> None:
    """A port that was closed, a client pair that is no longer configured: their last answers are forgotten."""
    host.make_certs()
    log = Log(io.StringIO(), "json", clock)
    ledger = Ledger.writing(str(host.base / "ledger.db"))
    agent = put_together(load(str(host.config)), str(host.config), ledger, log, lambda _reason: None)
    world, one = agent.directories.worlds[str(host.certs)], process()
    kept = served()
    refused = served(client="client.gone", outcome="refused")
    for message in (
        ProcessScan((one,), clock()),
        kept,
        refused,
        served(address="127.0.0.1:1"),
        ProcessScan((one,), clock()),
    ):
        world.put(message)
    try:
        assert world.observe(clock()).served == (kept,)
    finally:
        agent.service.stop()


@pytest.mark.root
def test_immutable_certificate_is_named_and_replaced_later(host: Host) -> None:
    """`chattr +i node.crt`: a warning at once, critical once a renewal waits; nothing changes until the flag goes."""
    host.once()
    cert, key = host.certs / "node.crt", host.certs / "node.key"
    before = cert.read_bytes(), key.read_bytes()
    subprocess.run(["chattr", "+i", cert], check=True)
    try:
        with host.agent() as agent:
            told = agent.wait_event("finding.appeared", lambda e: e["code"] == "install.blocked")
            assert (told["file"], told["severity"], told["remedy"]) == ("node.crt", "warning", f"chattr -i {cert}")
            assert host.run("renew", "node", "--wait", "0").returncode != 0
            agent.wait_event("finding.changed", lambda e: (e["code"], e["severity"]) == ("install.blocked", "critical"))
            assert (cert.read_bytes(), key.read_bytes()) == before
            assert agent.events("action.failed") == []
            subprocess.run(["chattr", "-i", cert], check=True)
            agent.wait_event("finding.cleared", lambda e: e["code"] == "install.blocked")
            agent.wait_event("pair.installed", lambda e: e["file"] == "node")
    finally:
        subprocess.run(["chattr", "-i", cert], check=True)
    assert cert.read_bytes() != before[0]
    assert host.codes().isdisjoint({"key.mismatch", "install.blocked"})


def test_odd_staging_area_is_one_finding(host: Host) -> None:
    """What somebody put into the staging area is a finding, and a renewal goes on beside it."""
    host.once()
    (host.certs / ".certagent" / "staged" / "node.key").mkdir(parents=True)
    (host.certs / "old.crt").mkdir()
    before = (host.certs / "node.crt").read_bytes()
    with host.agent():
        assert host.run("renew", "node").returncode in {0, 1}
        assert (host.certs / "node.crt").read_bytes() != before
        assert {"dir.staging", "name.unknown"} <= host.codes()
    assert host.run("recover").returncode == 0
