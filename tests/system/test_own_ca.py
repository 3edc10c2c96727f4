"""An existing CA, as `cockroach cert create-ca` leaves it: RSA 2048, the key as PKCS#1; made here with openssl."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.servers.process import missing, program
from tests.system.running import ME, Host
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
INSTALL = "apt-get install -y openssl"
LEAF = "subjectAltName=DNS:localhost,DNS:node,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n"


def openssl(*words: str | Path) -> str:
    tool = program("openssl", INSTALL)
    return subprocess.run([tool, *map(str, words)], check=True, capture_output=True, text=True).stdout


def create_ca(place: Path) -> None:
    """`cockroach cert create-ca`: CN "Cockroach CA", ten years, path length 1."""
    place.mkdir(mode=0o700)
    openssl("genrsa", "-traditional", "-out", place / "ca.key", "2048")
    if "BEGIN RSA PRIVATE KEY" not in (place / "ca.key").read_text():
        missing("openssl 3", INSTALL)
    (place / "ca.key").chmod(0o600)
    uses = ("-addext", "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign")
    basic = ("-addext", "basicConstraints=critical,CA:TRUE,pathlen:1")
    subject = ("-subj", "/O=Cockroach/CN=Cockroach CA", "-days", "3653")
    openssl("req", "-x509", "-new", "-key", place / "ca.key", "-out", place / "ca.crt", *subject, *uses, *basic)


def create_node(host: Host) -> None:
    """`cockroach cert create-node localhost 127.0.0.1`, five years, by that CA."""
    host.make_certs()
    ca, certs, csr = host.base / "ca", host.certs, host.base / "node.csr"
    (certs / "ca.crt").write_bytes((ca / "ca.crt").read_bytes())
    openssl("genrsa", "-traditional", "-out", certs / "node.key", "2048")
    (certs / "node.key").chmod(0o600)
    (host.base / "leaf.ext").write_text(LEAF)
    openssl("req", "-new", "-key", certs / "node.key", "-out", csr, "-subj", "/O=Cockroach/CN=node")
    by = ("-CA", ca / "ca.crt", "-CAkey", ca / "ca.key", "-CAcreateserial", "-days", "1826")
    openssl("x509", "-req", "-in", csr, "-out", certs / "node.crt", *by, "-extfile", host.base / "leaf.ext")


def test_existing_ca_issues(host: Host) -> None:
    """Without `create`: bundle and pairs come from it, its key is left as it is, openssl verifies the certificates."""
    create_ca(host.base / "ca")
    key = (host.base / "ca" / "ca.key").read_bytes()
    host.config.write_text(host.config.read_text().replace("create = true", "create = false"))
    assert host.once().returncode == 0
    assert (host.certs / "ca.crt").read_bytes() == (host.base / "ca" / "ca.crt").read_bytes()
    for stem, purpose in (("node", "sslserver"), ("node", "sslclient"), ("client.root", "sslclient")):
        told = openssl("verify", "-CAfile", host.certs / "ca.crt", "-purpose", purpose, host.certs / f"{stem}.crt")
        assert told.endswith("OK\n")
    assert (host.base / "ca" / "ca.key").read_bytes() == key
    with host.server() as server, host.agent():
        wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        assert host.run("renew", "node").returncode == 0
        assert server.served() == host.file("node")["fingerprint"]


def test_existing_ca_pairs_are_adopted(host: Host) -> None:
    """A node pair that it signed before: adopted and still served, neither re-issued nor signalled; due later."""
    create_ca(host.base / "ca")
    create_node(host)
    before = (host.certs / "node.crt").read_bytes()
    host.write(clients="[]")
    with host.server() as server, host.agent() as agent:
        agent.wait_event("pair.adopted", lambda e: e["file"] == "node")
        wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        assert host.codes() <= {"process.none"}
        assert agent.events("issue.started") == agent.events("reload.sent") == []
        assert (host.certs / "node.crt").read_bytes() == before
        assert host.run("renew", "node").returncode == 0
        assert server.served() == host.file("node")["fingerprint"]


def test_trial_of_ca_that_does_not_exist_yet(host: Host) -> None:
    """Every step works with a CA to throw away, and the reply says so; nothing is created, nor remembered."""
    host.make_certs()
    document = host.json("authority", "test", "house")
    assert document["ok"]
    assert "does not exist yet" in document["note"]
    assert not (host.base / "ca").exists()
    assert host.once().returncode == 0
    assert host.json("authority", "test", "house")["note"] == ""


def test_trial_of_ca_that_cannot_be_created_names_directory(host: Host) -> None:
    """As the first run would fail there."""
    host.make_certs()
    (host.base / "ca").write_text("not a directory")
    steps = host.json("authority", "test", "house")["steps"]
    assert f"{host.base}/ca" in next(s["reason"] for s in steps if s["outcome"] == "failed")


def test_trial_of_lost_ca_fails(host: Host) -> None:
    """It existed before: no other CA is tested in its place."""
    assert host.once().returncode == 0
    shutil.rmtree(host.base / "ca")
    document = host.json("authority", "test", "house")
    assert not document["ok"]
    assert document["note"] == ""


TENANT = """
[certs_dir.file."client-tenant.7"]
names = ["localhost"]
[certs_dir.file."tenant-signing.7"]
authority = "house"
"""
OTHER = """
[[certs_dir]]
path = "{path}"
owner = "{owner}"
layout = "split-ca"
authority = "house"
client_authority = "house"
names = ["localhost"]
[certs_dir.file.ui]
authority = "house"
names = ["localhost"]
"""


def test_first_run_creates_embedded_ca_before_pairs(host: Host) -> None:
    """Two directories with bundles and pairs of one CA that does not exist: each file is asked for once, none fails."""
    other = host.base / "other"
    other.mkdir(mode=0o700)
    extra = TENANT + OTHER.format(path=other, owner=ME)
    host.write(layout='"tenant"', names="[]", clients="[]", extra=extra)
    done = host.once()
    assert done.returncode == 0, done.stdout
    assert done.stdout.count('"ca.created"') == 1
    found = sorted((a["certs_dir"], a["subject"], a["outcome"]) for a in host.history("issue"))
    mine, theirs = ("ca", "client-tenant.7", "tenant-signing.7"), ("ca", "ca-client", "client.node", "node", "ui")
    wanted = [(str(host.certs), s, "ok") for s in mine] + [(str(other), s, "ok") for s in theirs]
    assert found == sorted(wanted)
