"""CAs asked by an agent without any privilege: its workers have the user of the keys, and still may not touch them."""

import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from certagent.x509 import parse_certificates
from tests.servers.est import EstServer
from tests.system.running import Host, open_tmp
from tests.system.test_command import TRIES, needs_all, program, table
from tests.system.test_est import TABLE
from tests.system.test_owners import reachable

pytestmark = [pytest.mark.slow, pytest.mark.root]
USER = pwd.getpwnam("daemon")


@pytest.fixture
def shared() -> Iterator[Host]:
    """A host of that user's."""
    made = Host(open_tmp())
    os.chown(made.base, USER.pw_uid, 0)
    yield made
    shutil.rmtree(made.base)


def once(host: Host) -> list[dict[str, Any]]:
    """`run --once` as the user, without a capability; the events."""
    environ = reachable(host.base)
    drop = ["setpriv", f"--reuid={USER.pw_uid}", f"--regid={USER.pw_gid}", "--init-groups", "--inh-caps=-all"]
    command = [*drop, "/usr/bin/python3", "-m", "certagent", "run", "--once", "--log", "json", "-c", str(host.config)]
    done = subprocess.run(command, env=environ, cwd="/", check=False, capture_output=True, text=True, timeout=120)
    shutil.rmtree(host.base / "lib")
    return [json.loads(line) for line in (done.stdout + done.stderr).splitlines() if line.startswith("{")]


def certs_of(host: Host) -> None:
    host.certs.mkdir(mode=0o700)
    os.chown(host.certs, USER.pw_uid, USER.pw_gid)


def test_unprivileged_est_by_bootstrap_credential(shared: Host) -> None:
    """The worker presents the bootstrap credential, which only the agent can read; the pairs are issued."""
    place = shared.base / "est"
    place.mkdir()
    certs_of(shared)
    with EstServer(place) as server:
        made = server.material
        os.chown(made.enrolment_key, USER.pw_uid, USER.pw_gid)
        root = parse_certificates(made.root.read_bytes())[0].fingerprint
        more = f'client_cert = "{made.enrolment_cert}"\nclient_key = "{made.enrolment_key}"'
        house = TABLE.format(name="pki", url=server.url, ca=made.tls.ca, root=root, more=more)
        shared.write(house=house, authority='"pki"', owner='"daemon"')
        events = once(shared)
    installed = {e["file"] for e in events if e["event"] == "pair.installed"}
    assert installed == {"ca", "node", "client.root"}, events
    assert {p.stat().st_uid for p in shared.certs.glob("*.key")} == {USER.pw_uid}


@needs_all
def test_unprivileged_program_is_confined(shared: Host) -> None:
    """A program of the keys' own user: no key, no state, no signal, nothing written but what is configured."""
    certs_of(shared)
    shared.write(owner='"daemon"')
    assert {"node"} <= {e["file"] for e in once(shared) if e["event"] == "pair.installed"}
    (shared.base / "readable").write_text("x")
    (shared.base / "writable").mkdir()
    os.chown(shared.base / "writable", USER.pw_uid, 0)
    with shared.server(user="daemon") as cockroach:
        assert cockroach.process is not None
        places = {"base": shared.base, "certs": shared.certs, "state": shared.base / "state"}
        script = program(shared, "tries", TRIES.format(**places, pid=cockroach.process.pid))
        lines = [f"readable = ['{shared.base}/readable']", f"writable = ['{shared.base}/writable']"]
        names = '["localhost", "127.0.0.1", "new.example.com"]'
        shared.write(house=table(script, *lines), authority='"pki"', owner='"daemon"', names=names)
        events = once(shared)
        heard = [e["event"] for e in cockroach.log()]
    reasons = [a["reason"] for a in shared.history("issue") if (a["subject"], a["outcome"]) == ("node", "refused")]
    assert ["all was refused" in r for r in reasons] == [True], events
    assert (heard, (shared.base / "writable" / "note").read_text()) == (["started"], "done\n")
    assert (shared.certs / "node.key").stat().st_mode & 0o777 == 0o600
