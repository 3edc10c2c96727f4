"""`certagent recover --converge` before a server starts: with an agent and without one."""

import json
from pathlib import Path

import pytest

from tests.making import make_ca
from tests.system.running import Host
from tests.system.test_none import put
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("usual_umask")]


def converge(host: Host, *words: str) -> tuple[int, str]:
    done = host.run("recover", "--converge", "--wait", "90s", *words)
    return done.returncode, done.stdout + done.stderr


def test_converge_brings_what_is_missing(host: Host) -> None:
    """Without an agent it issues and installs what a server needs; then the server may start."""
    host.make_certs()
    code, told = converge(host)
    assert (code, f"{host.certs}: the server may start" in told) == (0, True), told
    with host.server() as cockroach:
        assert cockroach.served("sql") == host.file("node")["fingerprint"]


def test_converge_stops_a_server_that_nobody_could_use(host: Host) -> None:
    """Its own bundle does not verify its pair, so no member would; the reason is said, and the exit code is 2."""
    host.once()
    put(host.certs, "ca.crt", make_ca("another CA").cert)
    done = host.run("recover", "--converge", "--wait", "3s", "--json")
    assert (done.returncode, "the server must not start" in done.stderr) == (2, True), done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["certs_dirs"][str(host.certs)][0] is False
    other = host.run("recover", "--converge", str(host.base / "elsewhere"))
    assert (other.returncode, "no such certs directory" in other.stderr) == (2, True)


def test_converge_asks_the_agent(host: Host, tmp_path: Path) -> None:
    """It has the lock, and does the work; a directory that it does not manage is refused."""
    host.make_certs()
    with host.agent():
        wait_until((host.certs / "node.crt").exists, "issued")
        code, told = converge(host)
        assert (code, "the server may start" in told) == (0, True), told
        assert converge(host, str(tmp_path / "elsewhere"))[0] == 2
