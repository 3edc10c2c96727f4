"""EST under a whole daemon: the server of tests/servers/est.py, the worker, pinned roots, renewal, failover."""

from collections.abc import Iterator

import pytest

from certagent.x509 import parse_certificates
from tests.servers.est import PASSWORD, USER, EstServer
from tests.servers.process import closed_port
from tests.system.running import Host
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
TABLE = """
[authority.{name}]
type = "est"
url = "{url}"
tls_roots = "{ca}"
issuing_fingerprints = ["{root}"]
{more}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EstServer]:
    with EstServer(tmp_path_factory.mktemp("est")) as running:
        yield running


def enrolled(server: EstServer) -> str:
    return f'client_cert = "{server.material.enrolment_cert}"\nclient_key = "{server.material.enrolment_key}"\n'


def table(server: EstServer, more: str = "", *, name: str = "pki", url: str = "") -> str:
    made, root = server.material, parse_certificates(server.material.root.read_bytes())[0].fingerprint
    return TABLE.format(name=name, url=url or server.url, ca=made.tls.ca, root=root, more=more or enrolled(server))


def test_est_first_issuance_and_renewal(host: Host, server: EstServer) -> None:
    """An empty directory until served: the bundle of the pinned root; then a renewal, verified, by simplereenroll."""
    host.write(house=table(server), authority='"pki"')
    assert host.once().returncode == 0, (host.json("status"), host.history("issue"))
    root = server.material.root.read_bytes()
    assert parse_certificates((host.certs / "ca.crt").read_bytes()) == parse_certificates(root)
    with host.server() as cockroach, host.agent():
        wait_until(lambda: host.file("node")["proof"] == "served", "the node's pair is proven")
        wait_until(lambda: host.file("client.root")["proof"] == "accepted", "the client's pair is accepted")
        before = cockroach.served("sql")
        assert host.run("renew", "node").returncode == 0
        assert cockroach.served("sql") not in {None, before}
    assert ("simplereenroll", 200) in {(r["path"].rpartition("/")[2], r["status"]) for r in server.requests()}


def test_est_password_in_a_file(host: Host, server: EstServer) -> None:
    """username and password: the secret is read from its file for each request, and is in no log."""
    secret = host.base / "password"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    host.write(house=table(server, f'username = "{USER}"\npassword = "{secret}"'), authority='"pki"')
    done = host.once()
    assert done.returncode == 0
    secret.write_text("wrong horse")
    with host.agent() as agent:
        assert host.run("renew", "node").returncode == 1
        found = agent.wait_event("issue.failed")
        assert "401" in found["reason"]
        text = agent.log_path.read_text() + done.stderr + done.stdout
    assert "horse" not in text


def test_est_renewal_with_live_pair(host: Host, server: EstServer) -> None:
    """`credential = "leaf"`: renewals authenticate with the live pair; status says that the worker gets it."""
    host.write(house=table(server, enrolled(server) + 'credential = "leaf"'), authority='"pki"')
    assert host.once().returncode == 0
    with host.agent():
        assert host.run("renew", "client.root").returncode == 0
        notes = [a["note"] for d in host.json("status")["certs_dirs"] for a in d["authorities"]]
    assert [n for n in notes if "receives the managed pair" in n]
    renewed = [r for r in server.requests() if r["path"].endswith("simplereenroll") and "CN=root" in r["who"]]
    assert [200] == [r["status"] for r in renewed]


def test_est_pending_answer_survives_crash(host: Host, server: EstServer) -> None:
    """202: a finding while it waits; the agent is killed meanwhile, and the same key gets the answer."""
    host.write(house=table(server, enrolled(server) + 'label = "slow"'), authority='"pki"', clients="[]")
    host.make_certs()
    with host.agent() as agent:
        agent.wait_event("issue.waiting", lambda e: e["file"] == "node")
        wait_until(lambda: "renewal.waiting" in host.codes(), "the finding")
        key = (host.certs / ".certagent" / "pending" / "node.key").read_bytes()
    with host.agent() as agent:
        agent.wait_event("pair.installed", lambda e: e["file"] == "node")
        wait_until(lambda: "renewal.waiting" not in host.codes(), "it clears")
    assert (host.certs / "node.key").read_bytes() == key


def test_fallback_to_third_authority(host: Host, server: EstServer) -> None:
    """The first is down, the second refuses, the third issues, without a pause; the next renewal asks the first."""
    down = f"https://127.0.0.1:{closed_port()}"
    tables = [
        table(server, name="down", url=down),
        table(server, enrolled(server) + 'label = "strict"', name="strict"),
        table(server, name="third"),
    ]
    (host.base / "certs").mkdir(mode=0o700)
    (host.certs / "ca.crt").write_bytes(server.material.root.read_bytes())
    host.write(house="".join(tables), authority='["down", "strict", "third"]', clients="[]")
    with host.agent() as agent:
        agent.wait_event("pair.installed", lambda e: e["file"] == "node")
        assert host.run("renew", "node").returncode == 0
    tried = [(a["digest"], a["outcome"]) for a in host.history("issue") if a["subject"] == "node"][::-1]
    assert [("down", "failed"), ("strict", "refused"), ("third", "ok")] * 2 == tried


def test_fallback_answer_of_untrusted_root_is_refused(host: Host, server: EstServer) -> None:
    """The second authority's root is not in the bundle, which another tool keeps: the pre-install checks say so."""
    house = f"[authority.down]\ntype = 'est'\nurl = 'https://127.0.0.1:{closed_port()}'\n{enrolled(server)}"
    host.write()
    assert host.once().returncode == 0
    before = (host.certs / "node.crt").read_bytes()
    kept = "[certs_dir.file.ca]\nauthority = 'hands'\n[authority.hands]\ntype = 'none'"
    host.write(house=house + table(server, name="other"), authority='["down", "other"]', extra=kept)
    with host.agent() as agent:
        assert host.run("renew", "node").returncode == 1
        refused = agent.wait_event("pair.refused", lambda e: e["file"] == "node")
    assert "ca.crt" in refused["reason"]
    assert (host.certs / "node.crt").read_bytes() == before


def test_trial_of_est_authority(host: Host, server: EstServer) -> None:
    """`authority test`: every step of a working EST authority; of one that refuses, the step and the server's words."""
    tables = table(server) + table(server, enrolled(server) + 'label = "strict"', name="strict")
    host.write(house=tables, authority='["pki", "strict"]')
    host.make_certs()
    assert host.json("authority", "test", "pki")["ok"]
    found = host.json("authority", "test", "strict")
    step = next(s for s in found["steps"] if s["outcome"] == "failed")
    assert (step["name"], "allow these names" in step["reason"]) == ("policy", True)
    assert list(host.certs.glob("*.crt")) == []
