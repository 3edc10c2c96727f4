"""Disks that are full or read-only: small file systems of their own, mounted as root."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.running import Host, unmount
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.root]


@contextmanager
def mounted(path: Path, size: str) -> Iterator[Path]:
    """A tmpfs of that size."""
    path.mkdir(mode=0o700, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        unmount(path)


def fill(place: Path) -> Path:
    """Take every block that is left."""
    ballast = place / "ballast"
    fd = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(fd, b"x" * 4096)
    except OSError:
        return ballast
    finally:
        os.close(fd)


def repaired(host: Host) -> None:
    os.chmod(host.certs / "node.key", 0o644)
    wait_until(lambda: os.stat(host.certs / "node.key").st_mode & 0o777 == 0o600, "repaired")


def test_disk_full_certs_directory_keeps_old_pair(host: Host) -> None:
    """No block for the new pair: the old one stays, an alarm, no signal, no loop; with space again it is renewed."""
    with mounted(host.certs, "256k"):
        host.once()
        with host.server() as server, host.agent() as agent:
            wait_until(lambda: host.file("node")["proof"] == "served", "proven")
            before = host.file("node")["fingerprint"]
            ballast = fill(host.certs)
            done = host.run("renew", "node")
            assert (done.returncode, "No space left" in done.stdout) == (1, True), done.stdout
            assert f"{host.certs}: " in done.stdout
            assert "inodes are free; free space there" in done.stdout
            assert {"issue.failed", "pair.refused"} & {e["event"] for e in agent.events()}
            repaired(host)
            assert host.file("node")["fingerprint"] == server.served() == before
            assert agent.events("reload.sent") == []
            assert len(agent.events("issue.started")) < 4
            ballast.unlink()
            assert host.run("renew", "node", "--force").returncode == 0
            assert host.file("node")["fingerprint"] == server.served() != before


def test_disk_full_ledger_blocks_issuance_only(host: Host) -> None:
    """No block for the ledger: nothing is issued; modes are repaired, a reload is made and verified; written later."""
    with mounted(host.base / "state", "512k") as state:
        host.once()
        with host.server() as server:
            with host.agent() as agent:
                wait_until(lambda: host.file("node")["proof"] == "served", "proven")
                ballast = fill(state)
                assert host.run("renew", "node", "--wait", "3").returncode == 1
                said = agent.wait_event("finding.appeared", lambda e: e["code"] == "ledger.unwritable")
                assert f"the file system of {state} is full (" in said["reason"]
                repaired(host)
                done = host.run("reload")
                assert done.returncode == 0, done.stdout
                assert [e["event"] for e in server.log()].count("reload") == 1
                assert len(agent.events("action.failed")) + len(agent.events("ledger.failed")) < 10
            with host.agent() as agent:  # a restart on a full disk
                repaired(host)
                ballast.unlink()
                wait_until(lambda: "ledger.unwritable" not in host.codes(), "it clears")
                assert host.run("renew", "node").returncode == 0
                assert host.file("node")["fingerprint"] == server.served()


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """The same directory, by a mount over it that takes no write."""
    subprocess.run(["mount", "--bind", path, path], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)
        yield
    finally:
        unmount(path)


def test_disk_read_only_certs_directory_keeps_serving(host: Host) -> None:
    """The certs directory takes no write: the old pair is still served, without a loop; a later request is done."""
    host.once()
    with host.server() as server, host.agent() as agent:
        wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        before = host.file("node")["fingerprint"]
        with read_only(host.certs):
            refused = host.run("renew", "node")
            assert (refused.returncode, "Read-only" in refused.stdout) == (1, True), refused.stdout
            assert host.file("node")["fingerprint"] == server.served() == before
            assert agent.events("reload.sent") == []
        assert host.run("renew", "node", "--force").returncode == 0
        assert server.served() == host.file("node")["fingerprint"] != before
        assert len(agent.events("issue.failed")) + len(agent.events("action.failed")) < 10


def test_disk_read_only_state_directory_exits_3(host: Host) -> None:
    """Nothing could be recorded: it does not start, exit 3, and says the path and what to do; nothing is touched."""
    host.make_certs()
    state = host.base / "state"
    with mounted(state, "1m"):
        subprocess.run(["mount", "-o", "remount,ro", state], check=True)
        for words in (("run",), ("run", "--once")):
            told = host.run(*words)
            assert (told.returncode, told.stdout) == (3, "")
            assert told.stderr.startswith(f"certagent: cannot write to {state}: the file system is mounted read-only;")
            assert "set agent.state_dir" in told.stderr
        assert list(host.certs.iterdir()) == []
    assert host.once().returncode == 0
