"""`certagent bundle` on a host with an agent and a server: a new root is trusted, and connections go on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certagent.demo.stream import Stream
from tests.making import Ca, make_ca
from tests.system.running import Agent, Host
from tests.system.test_none import put, served
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("usual_umask")]
ALONE = "[certs_dir.rotation]\npeers = []\noutside_clients = false"


def file(host: Host, name: str, *parts: bytes) -> str:
    """A file as a person brings it."""
    path = host.base / name
    path.write_bytes(b"".join(parts))
    path.chmod(0o644)
    return str(path)


def subjects(host: Host) -> list[str]:
    return [ca["subject"].partition(",")[0] for ca in host.json("bundle", "show")["cas"]]


@pytest.fixture
def running(host: Host) -> Iterator[tuple[Host, Any, Agent]]:
    """The server serves what the agent issued."""
    host.once()
    with host.server() as cockroach, host.agent() as agent:
        served(host, cockroach)
        yield host, cockroach, agent


def test_bundle_add_is_installed_and_loaded(running: tuple[Host, Any, Agent]) -> None:
    """New and old, the new one first; the server loads it, and no connection fails. The second time nothing is done."""
    host, cockroach, agent = running
    new, old = make_ca("the next CA"), (host.certs / "ca.crt").read_bytes()
    brought, roots = file(host, "new.pem", b"a comment\n", new.cert), Path(file(host, "roots.pem", old))
    tried = host.run("bundle", "add", brought, "--dry-run")
    assert (tried.returncode, "would be added" in tried.stdout) == (0, True), tried.stderr
    assert (host.certs / "ca.crt").read_bytes() == old
    stream = Stream(cockroach, str(roots))
    try:
        done = host.run("bundle", "add", brought)
        assert (done.returncode, "the next CA" in done.stdout) == (0, True), done.stdout + done.stderr
        agent.wait_event("reload.proven")
    finally:
        stream.stop()
    assert (stream.failures, stream.connections > 0) == ([], True)
    assert (host.certs / "ca.crt").read_bytes() == new.cert + old
    assert subjects(host)[0] == "CN=the next CA"
    again = host.run("bundle", "add", brought)
    assert (again.returncode, "there already" in again.stdout) == (0, True), again.stderr
    assert [a["digest"] for a in host.history("command")] == ["bundle add"]
    assert agent.events("command.received")[0]["reason"].startswith("bundle add ca: asked by uid ")


def test_bundle_add_refuses_what_is_not_to_be_trusted(running: tuple[Host, Any, Agent]) -> None:
    """A private key is not even sent; a file that others may write, and a leaf; nothing is changed by any of them."""
    host, _, _ = running
    new, before = make_ca("the next CA"), (host.certs / "ca.crt").read_bytes()
    writable = Path(file(host, "writable.pem", new.cert))
    writable.chmod(0o666)
    leaf, _ = new.pair()
    rows = {
        file(host, "key.pem", new.cert, new.key): "private key",
        str(writable): "everybody may write",
        file(host, "leaf.pem", leaf): "is not a CA certificate",
        file(host, "none.pem", b"words"): "no certificate as PEM",
        str(host.base / "missing.pem"): "No such file",
    }
    for path, why in rows.items():
        done = host.run("bundle", "add", path)
        assert (done.returncode, why in done.stderr) == (1, True), done.stderr
    other = host.run("bundle", "add", file(host, "ok.pem", new.cert), "--bundle", "ca-ui")
    assert (other.returncode, "ca-ui.crt is not managed here" in other.stderr) == (1, True)
    assert (host.certs / "ca.crt").read_bytes() == before
    assert host.history("command") == []


def test_pinned_root_is_added_to_the_bundle(running: tuple[Host, Any, Agent]) -> None:
    """A person pins the new root in the configuration's file of roots: the rest follows, and no connection fails."""
    host, cockroach, agent = running
    new, old = make_ca("the next CA"), (host.certs / "ca.crt").read_bytes()
    pinned, roots = file(host, "pinned.pem", old), Path(file(host, "roots.pem", old))
    program = f"[authority.program]\ntype = 'command'\ncommand = ['/bin/false']\nissuing_roots = '{pinned}'"
    host.write(house=program, authority='"program"')
    agent.wait_event("config.loaded")
    stream = Stream(cockroach, str(roots))
    try:
        file(host, "pinned.pem", old, new.cert)
        wait_until(lambda: (host.certs / "ca.crt").read_bytes() == new.cert + old, "new and old")
        agent.wait_event("reload.proven")
    finally:
        stream.stop()
    assert (stream.failures, stream.connections > 0) == ([], True)
    assert next(a["reason"] for a in host.history("issue") if a["subject"] == "ca").startswith(
        "ca.crt lacks a pinned root of authority 'program': CN=the next CA"
    )


def test_bundle_without_agent_or_of_another_tool(host: Host) -> None:
    """Without an agent `show` looks itself, the others exit with 3. Of another tool's files it is said what to do."""
    ca: Ca = make_ca("somebody's CA")
    host.make_certs()
    put(host.certs, "ca.crt", ca.cert)
    brought = file(host, "new.pem", make_ca("the next CA").cert)
    host.write(house="[authority.hands]\ntype = 'none'", authority='"hands"')
    alone = host.json("bundle", "show")
    assert ([each["subject"] for each in alone["cas"]], alone["bundle"]) == (["CN=somebody's CA,O=Cockroach"], "ca")
    assert (host.run("bundle", "add", brought).returncode, host.run("bundle", "prune").returncode) == (3, 3)
    wrong = host.run("bundle", "show", "--bundle", "ca-ui")
    assert (wrong.returncode, wrong.stderr) == (1, "certagent: ca-ui.crt is not managed here\n")
    with host.agent():
        wait_until(lambda: host.file("ca")["fingerprint"], "it was checked")
        assert host.json("bundle", "show").keys() == alone.keys()
        done = host.run("bundle", "add", brought)
        assert (done.returncode, "the tool that rotates these files" in done.stderr) == (1, True), done.stderr
