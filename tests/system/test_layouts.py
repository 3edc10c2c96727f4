"""Each layout of docs/layouts.md, by its own configuration, end to end; and a live host that moves through them."""

import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from certagent.demo.launch import StandIn, call, connect
from certagent.demo.stream import Stream
from certagent.x509 import parse_certificates
from tests.making import make_ca, put
from tests.system.running import ME, Host
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
DOCS = Path(__file__).parent.parent.parent / "docs" / "layouts.md"
AGENT = "[agent]\nstate_dir = '{base}/state'\nsocket = '{base}/control.sock'\nrescan = '1s'\n"


def documented(heading: str) -> str:
    """The configuration below a heading."""
    found = re.search(rf"^## {re.escape(heading)}\n.*?```toml\n(.*?)```", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    assert found, heading
    return found[1]


def here(host: Host, text: str) -> str:
    """The configuration on this host: its paths, its user, its names; a public CA is a second local one."""
    local = f'\\1type = "local"\ncreate = true\ndirectory = "{host.base}/public"\n\n'
    text = re.sub(r"(\[authority\.public\]\n)type = \"acme\"\n.*?\n\n", local, text, flags=re.DOTALL)
    text = text.replace("[authority.house]", f'[authority.house]\ndirectory = "{host.base}/ca"')
    text = re.sub(r'path = ".*"', f'path = "{host.certs}"', text).replace('owner = "cockroach"', f'owner = "{ME}"')
    text = text.replace("/var/lib/certagent", str(host.base)).replace("10.0.0.5", "127.0.0.1")
    return AGENT.format(base=host.base) + text


def configure(host: Host, text: str) -> None:
    fresh = host.base / "config.toml.new"
    fresh.write_text(here(host, text))
    fresh.rename(host.config)


def proofs(host: Host) -> dict[str, str]:
    (directory,) = host.json("status")["certs_dirs"]
    return {f["name"]: f["proof"] for f in directory["files"]}


def findings(host: Host, code: str) -> set[str]:
    """The files that have a finding of that code."""
    (directory,) = host.json("status")["certs_dirs"]
    return {f["file"] for f in directory["findings"] if f["code"] == code}


def pair(place: Path, stem: str) -> tuple[str, str]:
    return str(place / f"{stem}.crt"), str(place / f"{stem}.key")


def accepted(server: StandIn, roots: Path, offered: tuple[str, str]) -> bool:
    """Whether the SQL port takes a client pair; the server itself is verified by `roots`."""
    try:
        with connect(server.ports["sql"], "sql", str(roots), offered) as tls:
            tls.sendall(b"start")
            return tls.recv(1) != b""
    except OSError:
        return False


ROWS = [
    (
        "Standard",
        "start",
        "client.app.reports",
        {"ca": "advertised", "node": "served", "client.root": "accepted", "client.app.reports": "accepted"},
    ),
    (
        "Split node",
        "start",
        "client.node",
        {"ca": "advertised", "node": "served", "client.node": "metric", "client.root": "accepted"},
    ),
    (
        "Split CA with a CA of the DB Console",
        "start",
        "ui",
        {
            "ca": "sent",
            "ca-client": "advertised",
            "ca-ui": "sent",
            "node": "served",
            "ui": "served",
            "client.node": "metric",
            "client.root": "accepted",
        },
    ),
    (
        "Tenants: the directory of a node",
        "start",
        "client-tenant.5",
        {
            "ca": "advertised",
            "ca-client-tenant": "advertised",
            "node": "served",
            "client.root": "accepted",
            "client-tenant.5": "accepted",
        },
    ),
    (
        "Tenants: the directory of a SQL server",
        "mt start-sql",
        "client-tenant.5",
        {
            "ca": "advertised",
            "ca-client-tenant": "advertised",
            "client.root": "accepted",
            "client-tenant.5": "accepted",
            "tenant-signing.5": "sent",
        },
    ),
]


@pytest.mark.parametrize(("heading", "command", "renewed", "expected"), ROWS, ids=[r[0] for r in ROWS])
def test_layout_documented_is_served(
    host: Host, heading: str, command: str, renewed: str, expected: dict[str, str]
) -> None:
    """By the documented configuration an empty directory is filled, served and verified; then a pair is renewed."""
    configure(host, documented(heading))
    host.once()
    with host.server(command=command) as server, host.agent():
        wait_until(lambda: proofs(host) == expected, lambda: f"{expected}, not {proofs(host)}")
        before = host.file(renewed)["fingerprint"]
        assert host.run("renew", renewed).returncode == 0
        wait_until(lambda: proofs(host) == expected, lambda: f"{expected} again, not {proofs(host)}")
        assert host.file(renewed)["fingerprint"] != before
        shown = {server.served("sql"), server.served("http")}
        assert shown <= {host.file(n)["fingerprint"] for n in expected}
        wait_until(lambda: host.json("status")["severity"] == "ok", lambda: f"{host.codes()} are over")


def test_layout_of_clients_only(host: Host) -> None:
    """No server, no node: the pairs of users, dots in their names, are made and renewed; no process is reloaded."""
    configure(host, documented("A host of clients"))
    assert host.once().returncode == 0
    assert proofs(host) == {"ca": "none-needed", "client.app": "none-needed", "client.app.reports": "none-needed"}
    leaf = parse_certificates((host.certs / "client.app.reports.crt").read_bytes())[0]
    assert leaf.principals == ("app.reports",)


def test_split_ca_refuses_wrong_ca(host: Host) -> None:
    """A client of the nodes' CA, and the node's own pair as a client, are refused; clients of the clients' CA are not.

    The same for another node's call: `client.node` is accepted as a node, `node` is not.
    """
    configure(host, documented("Split CA"))
    host.once()
    ca = make_ca()
    elsewhere = host.base / "elsewhere"
    elsewhere.mkdir()
    for source, stem in (("ca", "client.root"), ("clients-ca", "client.other"), ("nowhere", "client.stranger")):
        own = host.base / source
        made = own / "ca.crt", own / "ca.key"
        signer = ca if source == "nowhere" else replace(ca, cert=made[0].read_bytes(), key=made[1].read_bytes())
        put(elsewhere, stem, signer.pair(stem))
    roots = host.certs / "ca.crt"
    with host.server() as server:
        assert accepted(server, roots, pair(host.certs, "client.root"))
        assert accepted(server, roots, pair(elsewhere, "client.other"))
        assert not accepted(server, roots, pair(elsewhere, "client.root"))
        assert not accepted(server, roots, pair(elsewhere, "client.stranger"))
        assert not accepted(server, roots, pair(host.certs, "node"))
        assert call(server.ports["sql"], str(roots), pair(host.certs, "client.node")) == "OK"
        assert call(server.ports["sql"], str(roots), pair(host.certs, "client.root")) == "OK"
        assert call(server.ports["sql"], str(roots), pair(elsewhere, "client.other")).startswith("refused")
        with pytest.raises(OSError, match=r"."):
            call(server.ports["sql"], str(roots), pair(host.certs, "node"))


def test_ui_by_public_ca_needs_its_roots(host: Host) -> None:
    """`ui` is installed if roots outside the directory verify it, and refused otherwise."""
    text = documented("The DB Console's pair from a public CA")
    configure(host, text)
    host.once()
    assert not (host.certs / "ui.crt").exists()  # the second CA is not among the system's roots
    assert [a["outcome"] for a in host.history("install") if a["subject"] == "ui"][:1] == ["refused"]
    assert '`roots = "FILE"` under [certs_dir.file.ui]' in " ".join(host.run("status").stdout.split())
    configure(host, text + f'roots = "{host.base}/public/ca.crt"\n')
    with host.server() as server, host.agent():
        wait_until(lambda: host.run("renew", "ui", "--force").returncode == 0, "issued")
        wait_until(lambda: proofs(host)["ui"] == "served", "proven")
        assert server.served("http") == host.file("ui")["fingerprint"] != server.served("sql")
        with connect(server.ports["http"], "http", str(host.base / "public" / "ca.crt")) as tls:
            assert tls.getpeercert()
        assert "cert.untrusted" not in host.codes()
        (host.base / "public" / "ca.crt").write_bytes(make_ca("another").cert)
        wait_until(lambda: "cert.untrusted" in host.codes(), "other roots, other verdict")


STANDARD, SPLIT_NODE, SPLIT_CA = (documented(h) for h in ("Standard", "Split node", "Split CA"))


def step(host: Host, kind: str) -> list[str]:
    """What `plan` says would be done or is held, one line each."""
    (directory,) = host.json("plan")["certs_dirs"]
    return [f"{row.get('action')} {row.get('subject', row.get('file'))}: {row['reason']}" for row in directory[kind]]


def test_layout_moves_on_live_host_fail_no_connection(host: Host) -> None:
    """standard, split-node, split-ca under a stream of mutual TLS, the file changed under the daemon: none fails.

    Another node, which knows the first CA alone, refuses the new pair: this one keeps what it has until that node knows
    the new CA, too.
    """
    configure(host, STANDARD)
    host.once()
    old, other = host.base / "old", host.base / "other"
    shutil.copytree(host.certs, old, ignore=shutil.ignore_patterns(".certagent"))
    shutil.copytree(old, other)
    roots = host.certs / "ca.crt"
    two = {"STANDIN_LIVE_NODES": "2"}
    with host.server(environ=two) as server, host.server("second", certs=other) as peer, host.agent() as agent:
        wait_until(lambda: proofs(host)["node"] == "served", "proven")
        stream = Stream(server, str(roots), pair(old, "client.root"))
        try:
            assert call(peer.ports["sql"], str(roots), pair(host.certs, "node")) == "OK"
            _to_split_node(host)
            assert call(peer.ports["sql"], str(roots), pair(host.certs, "client.node")) == "OK"
            _to_split_ca(host, peer)
            assert call(peer.ports["sql"], str(roots), pair(host.certs, "client.node")) == "OK"
            _waits_for(host, peer, other)
            _to_the_new_client_ca(host)
            assert accepted(server, roots, pair(host.certs, "client.root"))
            assert call(peer.ports["sql"], str(roots), pair(host.certs, "client.node")) == "OK"
            assert accepted(server, roots, pair(old, "client.root"))
        finally:
            stream.stop()
        assert stream.failures == []
        assert stream.connections > 50
        assert len(stream.fingerprints) == 2  # the dual-purpose node, and the narrow one
        _without_the_old_roots(host)
        assert accepted(server, roots, pair(host.certs, "client.root"))
        assert not accepted(server, roots, pair(old, "client.root"))
        assert not accepted(server, roots, pair(host.certs, "node"))
        assert [e for e in server.log() if e["event"] == "reload" and not e["ok"]] == []
        assert agent.events("pair.refused") == []


def _to_split_node(host: Host) -> None:
    configure(host, SPLIT_NODE)
    wait_until(lambda: proofs(host).get("client.node") == "metric", "client.node is loaded")
    node = parse_certificates((host.certs / "node.crt").read_bytes())[0]
    assert "node" in node.principals
    assert any("certagent renew node" in line for line in step(host, "held"))
    assert "layout.superfluous" in host.codes()
    assert host.run("renew", "node").returncode == 0
    node = parse_certificates((host.certs / "node.crt").read_bytes())[0]
    assert ("node" in node.principals, node.eku) == (False, ("serverAuth",))
    wait_until(lambda: "layout.superfluous" not in host.codes(), "nothing is superfluous")


def _to_split_ca(host: Host, peer: StandIn) -> None:
    members = f'peers = ["127.0.0.1:{peer.ports["sql"]}"]\noutside_clients = false\nsoak = "1s"'
    configure(host, f"{SPLIT_CA}\n[certs_dir.rotation]\n{members}\n")
    wait_until(lambda: proofs(host).get("ca-client") == "advertised", "the bundle is loaded")
    own = parse_certificates((host.certs / "ca-client.crt").read_bytes())
    new, old = (parse_certificates((host.base / d / "ca.crt").read_bytes())[0] for d in ("clients-ca", "ca"))
    assert [c.fingerprint for c in own] == [new.fingerprint, old.fingerprint]
    assert not {"peer.refuses", "peers.incomplete"} & host.codes()


def _waits_for(host: Host, peer: StandIn, certs: Path) -> None:
    """The pair of the new CA is staged; once the other node has loaded that CA, it goes live by itself."""
    assert host.run("renew", "client.node", "--wait", "1").returncode == 1
    wait_until(lambda: "peer.refuses" in host.codes(), "it was refused")
    assert any("were not shown to accept it" in line for line in step(host, "held"))
    assert host.file("client.node")["issuer"] == host.file("node")["issuer"]
    shutil.copy(host.certs / "ca-client.crt", certs / "ca-client.crt")
    peer.process.send_signal(signal.SIGHUP)
    wait_until(lambda: host.file("client.node")["issuer"] != host.file("node")["issuer"], "the other node accepts it")


def _to_the_new_client_ca(host: Host) -> None:
    for stem in ("client.node", "client.root"):
        assert host.run("renew", stem).returncode == 0
    wait_until(lambda: proofs(host)["client.node"] == "metric", "client.node is loaded")
    wait_until(lambda: proofs(host)["client.root"] == "accepted", "client.root is accepted")
    assert host.file("client.node")["issuer"] == host.file("client.root")["issuer"] != host.file("node")["issuer"]
    assert "peer.refuses" not in host.codes()


def _without_the_old_roots(host: Host) -> None:
    said = host.run("rotation", "clients", "present", "--bundle", "ca-client")
    assert said.returncode == 0, said.stderr
    shutil.copy(host.base / "clients-ca" / "ca.crt", host.certs / "ca-client.new")
    (host.certs / "ca-client.new").rename(host.certs / "ca-client.crt")
    wait_until(lambda: proofs(host)["ca-client"] == "advertised", "the bundle is loaded")
    wait_until(lambda: findings(host, "cert.untrusted") == {"client.app.reports.crt"}, "a forgotten client is found")
    for path in pair(host.certs, "client.app.reports"):
        Path(path).unlink()
    wait_until(lambda: host.json("status")["severity"] == "ok", "nothing is left to do")
    assert "layout.superfluous" not in host.codes()


def test_layout_from_standard_to_split_ca(host: Host) -> None:
    """Both steps together, of a node that is alone: old clients stay accepted, and it calls others all the time."""
    configure(host, STANDARD)
    host.once()
    with host.server() as server, host.agent():
        wait_until(lambda: proofs(host)["node"] == "served", "proven")
        stream = Stream(server, str(host.certs / "ca.crt"), pair(host.certs, "client.app.reports"))
        try:
            configure(host, SPLIT_CA.replace('clients = ["root"]', 'clients = ["root", "app.reports"]'))
            wait_until(lambda: proofs(host).get("ca-client") == "advertised", "the bundle is loaded")
            node = parse_certificates((host.certs / "node.crt").read_bytes())[0]
            assert ("node" in node.principals, node.eku) == (True, ("serverAuth", "clientAuth"))
            wait_until(lambda: proofs(host).get("client.node") == "metric", "client.node is loaded")
            assert host.run("renew", "node").returncode == 0
            assert "node" not in parse_certificates((host.certs / "node.crt").read_bytes())[0].principals
        finally:
            stream.stop()
        assert stream.failures == []
        assert [e for e in server.log() if e["event"] == "reload" and not e["ok"]] == []
