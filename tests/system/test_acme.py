"""ACME under a whole daemon: the console's pair from pebble by http-01; node from a CA with renewal windows."""

import json
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from certagent.x509 import parse_certificates
from tests.servers.acme2certifier import Acme2certifier
from tests.servers.pebble import Pebble
from tests.servers.process import free_address
from tests.servers.stepca import StepCa
from tests.system.running import Host
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.real]
PUBLIC = """
[authority.public]
type = "acme"
directory_url = "{url}"
contact = ["ops@example.com"]
terms_accepted = true
http_port = {port}
listen_address = "{address}"
tls_roots = "{ca}"
issuing_roots = "{roots}"
"""
UI = """
[certs_dir.file.ui]
authority = "public"
names = ["{name}"]
[certs_dir.file.ca-ui]
authority = "public"
"""


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("pebble")) as server:
        yield server


def configure(host: Host, pebble: Pebble, port: int = 0) -> None:
    """`ui` from pebble, everything else from the embedded CA."""
    roots = host.base / "pebble-root.pem"
    roots.write_bytes(pebble.root())
    table = PUBLIC.format(
        url=pebble.directory_url, port=port or pebble.http_port, address="127.0.0.1", ca=pebble.ca, roots=roots
    )
    host.write(house=table, extra=UI.format(name="console.test"))


def test_acme_ui_from_public_ca(host: Host, pebble: Pebble) -> None:
    """`ui` is issued by http-01 from within the confined worker, installed, served and renewed."""
    configure(host, pebble)
    done = host.once()
    assert 0 == done.returncode, done.stderr
    leaf = parse_certificates((host.certs / "ui.crt").read_bytes())[0]
    assert ("console.test",) == leaf.dns
    with host.server() as server, host.agent() as agent:
        wait_until(lambda: host.file("ui")["proof"] == "served", "the console's pair is proven")
        assert leaf.fingerprint == server.served("http")
        assert 0 == host.run("renew", "ui").returncode, agent.log_path.read_text()
        assert host.file("ui")["fingerprint"] == server.served("http") != leaf.fingerprint
    assert 0o600 == (host.base / "state" / "authority" / "public.json").stat().st_mode & 0o777


@pytest.mark.parametrize(("trusted", "failed"), [(True, None), (False, "chain")])
def test_acme_trial_without_bundle(host: Host, pebble: Pebble, trusted: bool, failed: str | None) -> None:
    """An empty directory: `ui` is judged by the roots of browsers, not by the missing `ca.crt`."""
    roots = host.base / "browsers.pem"
    roots.write_bytes(pebble.root() if trusted else pebble.ca.read_bytes())
    fields = {"url": pebble.directory_url, "port": pebble.http_port, "address": "127.0.0.1", "ca": pebble.ca}
    table = PUBLIC.format(**fields, roots="").replace('issuing_roots = ""', "")
    ui = f'[certs_dir.file.ui]\nauthority = "public"\nnames = ["console.test"]\nroots = "{roots}"'
    host.write(house=table, extra=ui)
    host.make_certs()
    found = host.json("authority", "test", "public")
    assert (found["file"], found["ok"]) == ("ui", failed is None)
    assert [s["name"] for s in found["steps"] if s["outcome"] == "failed"] == ([failed] if failed else [])


def test_acme_systemd_port_is_passed_to_worker(host: Host, pebble: Pebble) -> None:
    """The socket that the agent was started with goes to the worker: no process binds the configured port."""
    configure(host, pebble, port=1)
    host.make_certs()
    prefix = (sys.executable, str(Path(__file__).with_name("activate.py")), str(pebble.http_port), "certagent-http01")
    with host.agent(*prefix) as agent:
        agent.wait_event("pair.installed", lambda e: e["file"] == "ui")
        assert [] == [e for e in agent.events("issue.failed") if e["file"] == "ui"]


def test_acme_account_commands(host: Host, pebble: Pebble) -> None:
    """Through the daemon and without one: a new key under the same URI, then its end; other types keep no account."""
    configure(host, pebble)
    assert 0 == host.once().returncode
    book = host.base / "state" / "authority" / "public.json"

    def account() -> dict[str, str]:
        found: dict[str, str] = json.loads(book.read_text())["shared"]["accounts"][pebble.directory_url]
        return found

    before = account()
    with host.agent():
        done = host.run("authority", "account", "public", "rollover")
        assert (0, f"{before['uri']} has a new key") == (done.returncode, done.stdout.strip()), done.stderr
        after = account()
        assert (before["uri"], True) == (after["uri"], before["key"] != after["key"])
        assert 0 == host.run("renew", "ui").returncode
        refused = host.run("authority", "account", "house", "rollover")
        assert 1 == refused.returncode
        assert "public" in refused.stderr
    done = host.run("authority", "account", "public", "deactivate")
    assert 0 == done.returncode, done.stderr
    assert {} == account()


@pytest.mark.root
def test_acme_node_from_step_ca(host: Host, tmp_path: Path) -> None:
    """The CA's template makes CN=node of a request without a common name, and it is installed and served."""
    place = free_address()
    with StepCa(tmp_path / "step-ca") as ca:
        table = PUBLIC.format(url=ca.directory_url, port=80, address=place, ca=ca.ca, roots=ca.ca)
        host.write(house=table, authority='"public"', client_authority='"public"', names=f'["{place}"]', clients="[]")
        done = host.once()
        assert 0 == done.returncode, done.stderr
        leaf = parse_certificates((host.certs / "node.crt").read_bytes())[0]
        assert (("node",), (place,)) == (leaf.common_names, leaf.ips)
        with host.server() as server, host.agent():
            wait_until(lambda: host.file("node")["proof"] == "served", "the node's pair is proven")
            assert leaf.fingerprint == server.served("sql")


@pytest.mark.root
def test_acme_renewal_window_survives_restart(host: Host, tmp_path: Path) -> None:
    """The renewal point lies in the CA's window; after a restart with healthy certificates no CA is asked again."""
    with Acme2certifier(tmp_path / "a2c") as ca:
        roots = host.base / "root.pem"
        roots.write_bytes(ca.ca)
        table = PUBLIC.format(url=ca.directory_url, port=80, address=ca.address, ca=roots, roots=roots)
        host.write(house=table, extra=UI.format(name=ca.address))
        host.make_certs()
        with host.agent() as agent:
            agent.wait_event("window.known", lambda e: e["file"] == "ui")
            file = wait_until(lambda: (f := host.file("ui"))["window"] and f, "status shows the window")
        start, end, at = (
            datetime.fromisoformat(v) for v in (file["window"]["start"], file["window"]["end"], file["renew_at"])
        )
        assert start - timedelta(seconds=1) <= at <= end
        with host.agent() as again:
            again.wait_event("converged")
            assert file["renew_at"] == host.file("ui")["renew_at"]
            assert [] == again.events("issue.started")
        assert 1 == len(host.history("window"))
