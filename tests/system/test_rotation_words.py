"""`certagent rotation` on a host with an agent: what a person says is durable, recorded and shown, and ends."""

import json
import shlex
import subprocess
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.documented import all_blocks
from tests.making import make_ca
from tests.moments import now
from tests.system.running import Agent, Host
from tests.system.test_bundles import file
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("usual_umask")]
LATER = timedelta(seconds=30)  # than the CA that is in use: then it is the new one
MEMBERS = "[certs_dir.rotation]\npeers = ['127.0.0.1:1']"  # nobody listens there


@pytest.fixture
def rotating(host: Host) -> Iterator[tuple[Host, Agent]]:
    """A host whose bundle has just got a new root."""
    host.write(extra=MEMBERS)
    host.once()
    brought = file(host, "new.pem", make_ca("the next CA", at=now() + LATER).cert)
    with host.agent() as agent:
        done = host.run("bundle", "add", brought)
        assert done.returncode == 0, done.stderr
        yield host, agent


def shows(host: Host) -> tuple[int, dict[str, object]]:
    """The exit code of `rotation status`, and the rotation that it shows."""
    done = host.run("rotation", "status", "--json")
    (directory,) = json.loads(done.stdout)["certs_dirs"]
    (found,) = directory["rotations"]
    return done.returncode, found


def test_rotation_is_shown_and_words_are_kept(rotating: tuple[Host, Agent]) -> None:
    """Each command is answered once it is on the disk; status, history and the log show it, also after a restart."""
    host, agent = rotating
    code, found = shows(host)
    assert (code in {2, 3}, found["bundle"], found["subject"]) == (True, "ca", "CN=the next CA,O=Cockroach")
    assert [member["address"] for member in found["members"]] == ["127.0.0.1:1"]  # type: ignore[attr-defined]
    for words in (("pause",), ("clients", "trust"), ("force", "node", "127.0.0.1:1")):
        done = host.run("rotation", *words)
        assert done.returncode == 0, done.stderr
    refused = host.run("rotation", "force", "ca", "127.0.0.1:2")
    assert (refused.returncode, "is not one of the listed members" in refused.stderr) == (1, True)
    code, found = shows(host)
    assert (code, found["next"]) == (3, "certagent rotation resume")
    assert sorted(found["words"]) == ["clients-trust", "force", "pause"]  # type: ignore[call-overload]
    assert {e["event"] for e in agent.events()} >= {"rotation.phase", "rotation.paused", "rotation.forced"}
    typed = [a["digest"] for a in host.history("command")]
    assert typed == ["rotation force", "rotation clients trust", "rotation pause", "bundle add"]
    assert "said by uid" in host.history("command")[0]["reason"]
    assert [r["phase"] for r in host.status()["certs_dirs"][0]["rotations"]] == [found["phase"]]


def test_words_outlive_the_agent_and_are_taken_back(rotating: tuple[Host, Agent]) -> None:
    """A restart forgets nothing; `resume` takes back pause and abort, and `--undo` a word about clients."""
    host, agent = rotating
    for words in (("abort",), ("clients", "trust")):
        assert host.run("rotation", *words).returncode == 0
    agent.stop()
    with host.agent():
        wait_until(lambda: host.file("ca")["fingerprint"], "it was checked")
        assert sorted(shows(host)[1]["words"]) == ["abort", "clients-trust"]  # type: ignore[call-overload]
        assert host.run("rotation", "resume").returncode == 0
        assert shows(host)[1]["words"] == ["clients-trust"]
        again = host.run("rotation", "resume")
        assert (again.returncode, "no rotation is paused or aborted" in again.stderr) == (1, True)
        assert host.run("rotation", "clients", "trust", "--undo").returncode == 0
        assert shows(host)[1]["words"] == []
        again = host.run("rotation", "clients", "trust", "--undo")
        assert (again.returncode, "nobody has said `rotation clients trust`" in again.stderr) == (1, True)
        assert host.history("command")[0]["digest"] == "rotation clients trust --undo"


BLOCKS = [b for b in all_blocks() if b.page == "docs/rotation.md" and b.commands]
EXPECTED = {
    "certagent rotation status": {0, 2, 3},
    "certagent rotation clients present": {1},  # no certificate of the new CA is installed here
}


def test_documented_commands_work(host: Host) -> None:
    """Each command of docs/rotation.md, in order, on one host in a rotation; openssl shows what is brought."""
    host.write(extra="[certs_dir.rotation]\npeers = ['db3.example.com:26257']")
    host.once()
    file(host, "new-root.pem", make_ca("the next CA", at=now() + LATER).cert)
    commands = [line for block in BLOCKS for line in block.commands.splitlines()]
    assert len(commands) > len(BLOCKS)
    with host.agent():
        wait_until(lambda: host.file("ca")["fingerprint"], "it was checked")
        for command in commands:
            program, *words = shlex.split(command)
            if program == "certagent":
                done = host.run(*(str(host.base / w) if w.endswith(".pem") else w for w in words))
            else:
                done = subprocess.run([program, *words], cwd=host.base, capture_output=True, text=True, check=False)
            expected = EXPECTED.get(command, {0})
            assert done.returncode in expected, f"{command}: {done.stdout}{done.stderr}"


def test_rotation_verbs_without_a_rotation(host: Host) -> None:
    """Status exits 0; there is nothing to say anything about. Without an agent each exits 3."""
    host.once()
    assert host.run("rotation", "status").returncode == 3
    with host.agent():
        wait_until(lambda: host.file("ca")["fingerprint"], "it was checked")
        done = host.run("rotation", "status")
        assert (done.returncode, "no rotation is under way" in done.stdout) == (0, True)
        refused = host.run("rotation", "pause")
        assert (refused.returncode, "`certagent bundle add FILE` begins one" in refused.stderr) == (1, True)
