"""Remote authorities under a whole daemon, against step-ca: the worker, pinned roots, renewal, failover."""

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from certagent.x509 import parse_certificates
from tests.servers.pebble import Pebble
from tests.servers.stepca import StepCa
from tests.system.running import Host, open_tmp
from tests.system.test_owners import reachable
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.real]

HOUSE = """
[authority.pki]
type = "step"
url = "{url}"
provisioner = "jwk"
root = "{fingerprint}"
provisioner_key = "{key}"
{pin}
"""


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StepCa]:
    with StepCa(tmp_path_factory.mktemp("step")) as running:
        yield running


def configure(host: Host, ca: StepCa, pin: str = "", **options: str) -> None:
    """The host's certificates come from step-ca; its key lies in a file."""
    key = host.base / "provisioner.jwk"
    key.write_text(ca.provisioner_key)
    key.chmod(0o600)
    pinned = pin or f'issuing_fingerprints = ["{ca.fingerprint}"]'
    table = HOUSE.format(url=ca.url, fingerprint=ca.fingerprint, key=key, pin=pinned)
    host.write(house=table, **{"authority": '"pki"', **options})


def test_remote_first_issuance_until_served(host: Host, ca: StepCa) -> None:
    """An empty directory: the bundle of pinned roots, both pairs, served and accepted; no request is left."""
    configure(host, ca)
    assert host.once().returncode == 0
    assert [c.fingerprint for c in parse_certificates((host.certs / "ca.crt").read_bytes())] == [ca.fingerprint]
    with host.server() as server, host.agent():
        wait_until(lambda: host.file("node")["proof"] == "served", "the node's pair is proven")
        wait_until(lambda: host.file("client.root")["proof"] == "accepted", "the client's pair is accepted")
        assert host.file("node")["fingerprint"] == server.served("sql")
    assert list((host.certs / ".certagent" / "pending").iterdir()) == []


def outcomes(host: Host, name: str, *words: str) -> tuple[int, dict[str, str], dict[str, str]]:
    """Exit code, outcome and reason of each step of `authority test`."""
    done = host.run("authority", "test", name, "--json", *words)
    steps = json.loads(done.stdout)["steps"]
    return done.returncode, {s["name"]: s["outcome"] for s in steps}, {s["name"]: s["reason"] for s in steps}


def test_trial_all_steps_ok(host: Host, ca: StepCa) -> None:
    """By the command and by the daemon: all steps ok, and nothing is installed, recorded or left behind."""
    configure(host, ca)
    host.make_certs()
    code, found, _ = outcomes(host, "pki")
    assert (code, set(found.values())) == (0, {"ok"})
    assert list(host.certs.iterdir()) == []
    host.once()
    before, history = host.file("node"), host.history("issue")
    with host.agent():
        code, found, _ = outcomes(host, "pki", "--certs-dir", str(host.certs))
        assert (code, set(found.values())) == (0, {"ok"})
        assert host.file("node")["fingerprint"] == before["fingerprint"]
        assert host.history("issue") == history


@pytest.mark.parametrize(
    ("broken", "step", "reason"),
    [
        ({"provisioner_key": "/nowhere/key"}, "settings", "authority.pki.provisioner_key: /nowhere/key: No such file"),
        ({"url": "https://localhost:1"}, "reachable", "cannot reach"),
        ({"tls_fingerprint": "ab" * 32}, "tls", "Fingerprints did not match"),
        ({"provisioner": "nobody"}, "credentials", "the token was refused"),
        ({"issuing_fingerprints": "cd" * 32}, "chain", "of issuing_fingerprints"),
    ],
)
def test_trial_fault_is_found_at_its_step(
    host: Host, ca: StepCa, broken: dict[str, str], step: str, reason: str
) -> None:
    """Each fault is found at its step, with a sentence; earlier steps worked, later ones were not tried."""
    configure(host, ca)
    text = host.config.read_text()
    for key, value in broken.items():
        line = f'{key} = ["{value}"]' if key.startswith("issuing") else f'{key} = "{value}"'
        text, count = re.subn(rf"^{key} = .*$", line, text, flags=re.MULTILINE)
        text = text if count else text.replace('type = "step"', f'type = "step"\n{line}')
    host.config.write_text(text)
    host.make_certs()
    code, found, reasons = outcomes(host, "pki")
    names = list(found)
    place = names.index(step)
    assert (code, found[step]) == (1, "failed"), reasons
    assert reason in reasons[step]
    assert {found[n] for n in names[:place]} <= {"ok"}
    assert {found[n] for n in names[place + 1 :]} <= {"untried"}


def test_trial_unknown_authority_exits_64(host: Host) -> None:
    """A wrong name is a mistake of the command line: 64, with the list of authorities."""
    done = host.run("authority", "test", "pkx")
    assert (done.returncode, "configured authorities: house" in done.stderr) == (64, True)


@pytest.mark.root
def test_remote_issuance_by_unprivileged_agent(ca: StepCa) -> None:
    """The agent as the keys' owner, without any capability: the worker is confined and still issues."""
    host = Host(open_tmp())
    account = pwd.getpwnam("nobody")
    others = "[certs_dir.process]\nnames = ['none-of-this-host']"  # what others run here is denied to this user
    configure(host, ca, owner='"nobody"', extra=others)
    host.certs.mkdir(mode=0o700)
    for path in (host.base, host.certs, host.base / "provisioner.jwk"):
        os.chown(path, account.pw_uid, 0)
    environ = reachable(host.base, "joserfc")
    drop = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--inh-caps=-all"]
    command = [*drop, "/usr/bin/python3", "-m", "certagent", "run", "--once", "--log", "json", "-c", str(host.config)]
    done = subprocess.run(command, env=environ, cwd="/", check=False, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    assert {p.stat().st_uid for p in host.certs.rglob("*")} == {account.pw_uid}
    assert "worker.unconfined" not in done.stdout.decode()
    shutil.rmtree(host.base)


def test_bundle_of_pinned_roots_only(host: Host, ca: StepCa) -> None:
    """Without a pin, and with another one, there is no bundle and no certificate; the reason names the remedy."""
    for pin, reason in (
        ("#", "its roots are not pinned"),
        (f'issuing_fingerprints = ["{"ab" * 32}"]', "of issuing_fingerprints"),
    ):
        configure(host, ca, pin=pin)
        host.once()
        assert not list(host.certs.glob("*.crt"))
        assert reason in host.history("issue")[0]["reason"]
        shutil.rmtree(host.base / "state")
    roots = host.base / "roots.pem"
    roots.write_text(ca.root)
    configure(host, ca, pin=f'issuing_roots = "{roots}"')
    assert host.once().returncode == 0
    assert (host.certs / "ca.crt").read_text() == ca.root


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_shutdown_does_not_wait_for_hung_ca(host: Host, ca: StepCa, how: signal.Signals) -> None:
    """A CA that hangs delays neither the agent's end nor the repair of a key; its worker ends with the agent."""
    configure(host, ca)
    host.once()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        text = host.config.read_text().replace(ca.url, f"https://127.0.0.1:{silent.getsockname()[1]}")
        host.config.write_text(text.replace('type = "step"', 'type = "step"\ntimeout = "5m"'))
        with host.agent() as agent:
            host.run("renew", "node", "--wait", "0.1")
            agent.wait_event("issue.started")
            connection, _ = silent.accept()
            assert connection.recv(1 << 16)
            (host.certs / "node.key").chmod(0o644)
            agent.wait_event("mode.repaired")
            begin = time.monotonic()
            assert agent.stop(how) == (0 if how is signal.SIGTERM else -how)
            assert time.monotonic() - begin < 60, "the CA may take five minutes"
            connection.settimeout(60)
            assert connection.recv(1 << 16) == b""
            connection.close()


PUBLIC = """
[authority.public]
type = "acme"
directory_url = "{url}"
terms_accepted = true
http_port = {port}
listen_address = "127.0.0.1"
tls_roots = "{ca}"
issuing_roots = "{roots}"
"""
CONSOLE = """
[certs_dir.file.ui]
authority = "public"
names = ["console.test"]
[certs_dir.file.ca-ui]
authority = "public"
"""
SECOND = "[[certs_dir]]\npath = '{path}'\nowner = '{owner}'\nauthority = 'house'\nnames = ['localhost']\n"


def test_acme_two_first_requests_make_one_account(host: Host, tmp_path: Path) -> None:
    """Two files of a new ACME account, due together, one challenge port: both at the first attempt, and one account."""
    with Pebble(tmp_path / "pebble") as pebble:
        roots, other = host.base / "pebble.pem", host.base / "other"
        roots.write_bytes(pebble.root())
        other.mkdir(mode=0o700)
        second = SECOND.format(path=other, owner=pwd.getpwuid(os.getuid()).pw_name)
        table = PUBLIC.format(url=pebble.directory_url, port=pebble.http_port, ca=pebble.ca, roots=roots)
        host.write(house=table, clients="[]", extra=CONSOLE + second + CONSOLE)
        assert host.once().returncode == 0
        log = (tmp_path / "pebble" / "pebble.log").read_text()
    assert [a["outcome"] for a in host.history("issue") if a["subject"] == "ui"] == ["ok", "ok"]
    assert log.count("accounts in memory") == 1, log
    accounts = json.loads((host.base / "state" / "authority" / "public.json").read_text())["shared"]["accounts"]
    assert len(accounts) == 1
