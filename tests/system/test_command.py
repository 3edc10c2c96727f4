"""Any program as a CA, under a whole daemon: `openssl ca`, what a program may do, answers that come later, SCEP."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from certagent import sandbox as confine
from certagent.x509 import parse_certificates
from tests.making import make_ca
from tests.servers.scep import ScepServer
from tests.servers.sshd import Sshd
from tests.system.running import Host, open_tmp
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples"
WORKER = 65534
needs_all = pytest.mark.skipif(confine.landlock_abi() < confine.SCOPE_ABI, reason="this kernel's Landlock is too old")


@pytest.fixture
def shared() -> Iterator[Host]:
    """A host whose directories the worker's user may enter."""
    made = Host(open_tmp())
    yield made
    shutil.rmtree(made.base)


def program(host: Host, name: str, body: str = "") -> Path:
    """An example, or a script of a test, where the worker's user can read it."""
    path = host.base / name
    path.write_text(f"#!/bin/bash\nset -eu\n{body}\n") if body else shutil.copy(EXAMPLES / name, path)
    path.chmod(0o755)
    return path


def ca_dir(host: Host) -> Path:
    """A CA in files that the worker's user owns."""
    place, ca = host.base / "openssl-ca", make_ca()
    place.mkdir()
    for name, data in (("ca.crt", ca.cert), ("ca.key", ca.key)):
        (place / name).write_bytes(data)
        (place / name).chmod(0o600)
    shutil.copy(EXAMPLES / "openssl-ca.cnf", place / "openssl.cnf")
    if os.geteuid() == 0:
        for path in (place, *place.iterdir()):
            os.chown(path, WORKER, WORKER)
    return place


def table(command: Path, *lines: str) -> str:
    return "\n".join(["[authority.pki]", "type = 'command'", f"command = ['{command}']", *lines])


def test_command_openssl_ca_until_served(shared: Host) -> None:
    """The bundle of the pinned root, both pairs, served; a renewal; the lifetime that was asked for."""
    place = ca_dir(shared)
    pin = parse_certificates((place / "ca.crt").read_bytes())[0].fingerprint
    lines = [f"environment = {{ CA_DIR = '{place}' }}", f"writable = ['{place}']", f"issuing_fingerprints = ['{pin}']"]
    script = program(shared, "command-openssl-ca.sh")
    shared.write(house=table(script, *lines), authority='"pki"', extra="[certs_dir.file.node]\nlifetime = '2h'")
    done = shared.once()
    assert done.returncode == 0, done.stdout
    assert [pin] == [c.fingerprint for c in parse_certificates((shared.certs / "ca.crt").read_bytes())]
    with shared.server() as cockroach, shared.agent():
        wait_until(lambda: shared.file("node")["proof"] == "served", "served")
        first = cockroach.served("sql")
        assert shared.run("renew", "node").returncode == 0
        assert cockroach.served("sql") not in {None, first}
    leaf = parse_certificates((shared.certs / "node.crt").read_bytes())[0]
    assert 7100 < (leaf.not_after - leaf.not_before).total_seconds() <= 7300


TRIES = """
try() {{ if "$@" > /dev/null 2>&1; then echo "$1 $2 was allowed" >&2; exit 1; fi; }}
try cat {certs}/node.key
try cat {state}/ledger.db
try touch {base}/written
try touch {certs}/written
try chmod 0644 {certs}/node.key
try kill -HUP {pid}
touch "$TMPDIR/mine"
cat {base}/readable > /dev/null
echo done > {base}/writable/note
echo "all was refused" >&2
exit 77
"""


@needs_all
def test_command_program_is_confined(shared: Host) -> None:
    """It runs, reads and writes the configured paths and its own directory: no key, state, signal or other file."""
    shared.write()
    assert shared.once().returncode == 0
    (shared.base / "readable").write_text("x")
    (shared.base / "writable").mkdir()
    (shared.base / "writable").chmod(0o777)
    places = {"base": shared.base, "certs": shared.certs, "state": shared.base / "state"}
    with shared.server() as cockroach:
        script = program(shared, "tries", TRIES.format(**places, pid=cockroach.process.pid))
        readable, writable = shared.base / "readable", shared.base / "writable"
        lines = [f"readable = ['{readable}']", f"writable = ['{writable}']"]
        shared.write(house=table(script, *lines), authority='"pki"')
        with shared.agent() as agent:
            assert shared.run("renew", "node").returncode == 1
            logged = agent.wait_event("issue.refused", lambda e: e["file"] == "node")
            told = [a["reason"] for a in shared.history("issue") if a["subject"] == "node"]
    assert (["«all was refused»" in reason for reason in told[:1]], "all was" in logged["reason"]) == ([True], False)
    assert "done\n" == (writable / "note").read_text()
    assert (shared.certs / "node.key").stat().st_mode & 0o777 == 0o600


def test_command_pending_answer_survives_restart(shared: Host) -> None:
    """75, then the certificate: its `state` comes back over a restart of the agent, and the key is the same."""
    place = ca_dir(shared)
    sign = program(shared, "command-openssl-ca.sh")
    body = f"""[ "$CERTAGENT_OPERATION" = roots ] || [ "$CERTAGENT_STATE" = "ticket 7" ] || {{
        echo "state: ticket 7"; echo "retry-after: 1"; echo "in the queue" >&2; exit 75; }}
    exec {sign}"""
    script = program(shared, "queue", body)
    lines = [f"environment = {{ CA_DIR = '{place}' }}", f"writable = ['{place}']", f"readable = ['{sign}']"]
    shared.make_certs()
    shutil.copy(place / "ca.crt", shared.certs / "ca.crt")
    shared.write(house=table(script, *lines), authority='"pki"', clients="[]")
    with shared.agent() as agent:
        agent.wait_event("issue.waiting")
        assert "«in the queue»" in [a["reason"] for a in shared.history("issue")]
        key = (shared.certs / ".certagent" / "pending" / "node.key").read_bytes()
    with shared.agent() as agent:
        agent.wait_event("pair.installed", lambda e: e["file"] == "node")
    assert key == (shared.certs / "node.key").read_bytes()


@pytest.mark.real
def test_command_scep(shared: Host) -> None:
    """A client's pair from scepserver: the challenge is read from its file and is in the request."""
    place = shared.base / "scep"
    place.mkdir()
    with ScepServer(place) as server:
        challenge = shared.base / "challenge"
        challenge.write_text(server.challenge)
        challenge.chmod(0o600)
        script = program(shared, "command-scep.sh")
        lines = [f"environment = {{ SCEP_URL = '{server.url}' }}", f"challenge = '{challenge}'"]
        shared.make_certs()
        shutil.copy(server.ca, shared.certs / "ca.crt")
        extra = "[certs_dir.file.node]\nauthority = 'hands'\n[certs_dir.file.'client.root']\nkey = 'rsa-2048'"
        house = table(script, *lines) + "\n[authority.hands]\ntype = 'none'"
        shared.write(house=house, authority='"pki"', extra=extra)
        with shared.agent() as agent:
            agent.wait_event("pair.installed", lambda e: e["file"] == "client.root")
    leaf = parse_certificates((shared.certs / "client.root.crt").read_bytes())[0]
    assert (leaf.common_names, leaf.eku, leaf.key) == (("root",), ("clientAuth",), "rsa-2048")


@pytest.mark.real
@pytest.mark.root
def test_command_cockroach_by_ssh(shared: Host) -> None:
    """The `ca.key` of `cockroach cert` on another host: the worker asks over ssh with a key of its own user."""
    ca, place = make_ca("cockroach's CA"), shared.base / "sshd"
    place.mkdir()
    for name, data in (("ca.crt", ca.cert), ("ca.key", ca.key)):
        (shared.base / name).write_bytes(data)
    sign = program(shared, "command-cockroach-sign.sh")
    allowed = "ALLOWED='^(node|root|localhost|127.0.0.1)$'"
    with Sshd(place, f"env CA_CERT={shared.base}/ca.crt CA_KEY={shared.base}/ca.key {allowed} {sign}") as server:
        os.chown(server.key, WORKER, WORKER)
        settings = {"CA_HOST": server.place, "SSH_KEY": server.key, "SSH_HOSTS": server.known_hosts}
        environment = ", ".join(f"{name} = '{value}'" for name, value in settings.items())
        lines = [f"environment = {{ {environment} }}", f"readable = ['{server.key}', '{server.known_hosts}']"]
        script = program(shared, "command-cockroach-ssh.sh")
        shared.write(
            house=table(script, *lines, f"issuing_roots = '{shared.base}/ca.crt'"),
            authority='"pki"',
        )
        done = shared.once()
        assert done.returncode == 0, done.stdout
    assert ca.cert == (shared.certs / "ca.crt").read_bytes()
    leaf = parse_certificates((shared.certs / "node.crt").read_bytes())[0]
    assert leaf.sans == ("DNS:localhost", "IP:127.0.0.1")
