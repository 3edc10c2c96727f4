"""ACME, and an agent that is killed while the CA answers: nothing that a CA keeps one of is lost or made twice."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from certagent.x509 import parse_certificates
from tests.servers.holding import Holding
from tests.servers.pebble import Pebble
from tests.system.running import Host
from tests.waiting import DEADLINE

pytestmark = [pytest.mark.slow, pytest.mark.real]
EAB = ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W")
PUBLIC = """
[authority.public]
type = "acme"
directory_url = "https://{host}/dir"
terms_accepted = true
eab_kid = "kid-1"
eab_key = "{base}/eab"
http_port = {port}
listen_address = "127.0.0.1"
tls_roots = "{ca}"
issuing_roots = "{base}/root.pem"
"""
UI = """
[certs_dir.file.ui]
authority = "public"
names = ["console.test"]
[certs_dir.file.ca-ui]
authority = "public"
"""
MINE = "/my-account/"
ACCOUNT, ORDER, FINALIZE, CERTIFICATE = "/sign-me-up", "/order-plz", "/finalize-order/", "/certZ/"


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("pebble"), eab=EAB) as server:
        yield server


@pytest.fixture
def front(pebble: Pebble) -> Iterator[Holding]:
    base = pebble.ca.parent
    with Holding(f"https://localhost:{pebble.port}", (base / "cert.pem", base / "key.pem"), pebble.ca) as server:
        yield server


def configure(host: Host, pebble: Pebble, front: Holding) -> None:
    (host.base / "root.pem").write_bytes(pebble.root())
    (host.base / "eab").write_text(EAB[1])
    table = PUBLIC.format(host=front.host, base=host.base, port=pebble.http_port, ca=pebble.ca)
    host.write(house=table, extra=UI)
    host.make_certs()


def account(host: Host, front: Holding) -> dict[str, Any]:
    path = host.base / "state" / "authority" / "public.json"
    assert 0o600 == path.stat().st_mode & 0o777
    found: dict[str, Any] = json.loads(path.read_text())["shared"]["accounts"][f"https://{front.host}/dir"]
    return found


@pytest.mark.parametrize("held", [ACCOUNT, ORDER, FINALIZE, CERTIFICATE])
def test_acme_agent_killed_at_answer_loses_nothing(host: Host, pebble: Pebble, front: Holding, held: str) -> None:
    """The CA has answered, the agent has not heard it and is killed: the next run finds the account and the order."""
    configure(host, pebble, front)
    front.hold = held
    with host.agent() as agent:
        assert front.held.wait(DEADLINE), agent.log_path.read_text()
        agent.stop(signal.SIGKILL)
    front.released.set()
    before = account(host, front)
    done = host.once()
    assert 0 == done.returncode, done.stderr
    after = account(host, front)
    assert (before["key"], before.get("uri", after["uri"])) == (after["key"], after["uri"])
    assert 1 == len({json.dumps(protected["jwk"]) for _, protected, _ in front.paths(ACCOUNT)})
    assert ("console.test",) == parse_certificates((host.certs / "ui.crt").read_bytes())[0].dns
    orders = 2 if held == ORDER else 1  # one whose URL was never heard; the CA has issued nothing for it
    assert (orders, 1) == (len(front.paths(ORDER)), len([a for a in front.paths(FINALIZE) if a[2]]))


def test_acme_deactivation_killed_at_answer_leaves_no_dead_account(host: Host, pebble: Pebble, front: Holding) -> None:
    """The CA has deactivated the account, and whoever asked for it is killed: the next request registers another."""
    configure(host, pebble, front)
    assert 0 == host.once().returncode
    before = account(host, front)
    front.hold = MINE
    command = [sys.executable, "-m", "certagent", "authority", "account", "public", "deactivate"]
    with subprocess.Popen([*command, "-c", str(host.config)]) as asking:
        assert front.held.wait(DEADLINE)
        asking.kill()
    front.released.set()
    (host.certs / "ui.crt").unlink()
    (host.certs / "ui.key").unlink()
    front.binders.clear()  # the CA's operator gives another binding
    done = host.once()
    assert 0 == done.returncode, done.stdout
    after = account(host, front)
    assert before["key"] != after["key"]
    assert before["uri"] != after["uri"]
