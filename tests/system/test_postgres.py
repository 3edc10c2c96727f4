"""A real server that nobody here wrote: what would break it is caught before the signal; a rotation is proven."""

import os
import pwd
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.postgres import USER, Postgres, binaries
from tests.system.running import Agent, Host, open_tmp
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.real]


@pytest.fixture
def shared() -> Iterator[Host]:
    """A certs-dir of root's for the group postgres, with pairs in it, and the server's pid_file configured."""
    binaries()
    host = Host(open_tmp())
    account = pwd.getpwnam(USER)
    host.certs.mkdir(mode=0o750)
    os.chown(host.certs, 0, account.pw_gid)
    configure(host)
    assert host.once().returncode == 1  # a warning: the server has not written its pid_file yet
    yield host
    shutil.rmtree(host.base)


def configure(host: Host, **options: str) -> None:
    pid_file = host.base / "pg" / "data" / "postmaster.pid"
    host.write(
        owner=f'"root:{USER}"', extra=f"[certs_dir.process]\nnames = ['postgres']\npid_file = '{pid_file}'", **options
    )


def proven(host: Host) -> bool:
    return bool(host.file("node")["proof"] == "served")


def test_postgres_rotation_is_verified(shared: Host) -> None:
    """Found by pid_file, signalled as its owner, verified by handshake; client pair accepted, CA advertised."""
    with Postgres(shared.base / "pg", shared.certs) as server, shared.agent():
        wait_until(lambda: proven(shared), "proven")
        before = server.served()
        done = shared.run("renew", "node")
        assert (done.returncode, done.stderr) == (0, "")
        assert before != server.served() == shared.file("node")["fingerprint"]
        wait_until(lambda: shared.file("client.root")["proof"] == "accepted", "the client pair is accepted")
        wait_until(lambda: shared.file("ca")["proof"] == "advertised", "the CA is advertised")


def other_key(certs: Path) -> None:
    (certs / "node.key").write_bytes((certs / "client.root.key").read_bytes())


def garbage(certs: Path) -> None:
    (certs / "node.crt").write_text("garbage\n")


def missing(certs: Path) -> None:
    (certs / "node.key").unlink()


def empty_bundle(certs: Path) -> None:
    (certs / "ca.crt").write_text("")


BROKEN: list[tuple[Callable[[Path], None], str]] = [
    (other_key, "key.mismatch"),
    (garbage, "cert.unparsable"),
    (missing, "key.missing"),
    (empty_bundle, "cert.empty"),
]


@pytest.mark.parametrize(("damage", "code"), BROKEN)
def test_postgres_damage_blocks_the_reload(shared: Host, damage: Callable[[Path], None], code: str) -> None:
    """No authority repairs it: a finding, the reload is blocked even on request, the old pair is still served."""
    with Postgres(shared.base / "pg", shared.certs) as server:
        before = server.served()
        configure(shared, authority="[]")
        with shared.agent() as agent:
            wait_until(lambda: proven(shared), "proven")
            damage(shared.certs)
            wait_until(lambda: code in shared.codes(), code)
            refused = shared.run("reload", "--wait", "2")
            assert refused.returncode == 1
            barred(agent)
        assert server.served() == before
        assert "received SIGHUP" not in server.said()


def barred(agent: Agent) -> None:
    assert agent.events("reload.sent") == []


def test_postgres_key_mode_is_repaired_before_sighup(shared: Host) -> None:
    """PostgreSQL refuses a key that others may read; the mode is repaired before it reads one."""
    with Postgres(shared.base / "pg", shared.certs) as server, shared.agent() as agent:
        wait_until(lambda: proven(shared), "proven")
        os.chmod(shared.certs / "node.key", 0o644)
        assert shared.run("reload").returncode == 0
        agent.wait_event("mode.repaired")
        assert "has group or world access" not in server.said()
        assert server.served() == shared.file("node")["fingerprint"]
