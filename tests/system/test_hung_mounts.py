"""A mount hangs that the configuration names files on: modes are repaired all the same, and it is said what hangs."""

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.making import make_ca, put
from tests.system.hanging import Hung
from tests.system.running import Agent, Event, Host
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.root]

EXTRA = """
[certs_dir.file.ui]
authority = "people"
names = ["localhost"]
roots = "{far}/roots.pem"
[authority.people]
type = "dropbox"
outbox = "{far}/outbox"
inbox = "{far}/inbox"
issuing_roots = "{far}/roots.pem"
[authority.distant]
type = "local"
directory = "{far}/ca"
create = true
"""


@pytest.fixture
def far(host: Host) -> Path:
    """A directory for what lies elsewhere: a drop-box, roots, a CA; the configuration names them all."""
    place = host.base / "far"
    for name in ("outbox", "inbox", "ca"):
        (place / name).mkdir(parents=True)
    root = make_ca("people")
    (place / "roots.pem").write_bytes(root.cert)
    host.once()
    put(host.certs, "ui", root.pair("ui"))
    host.write(extra=EXTRA.format(far=place), clients='["root", "app"]')
    return place


def open_and_closed(host: Host) -> None:
    """A mode that is wrong is repaired."""
    key = host.certs / "node.key"
    key.chmod(0o644)
    wait_until(lambda: stat.S_IMODE(key.stat().st_mode) == 0o600, "repaired")


def hung(agent: Agent, event: str) -> list[Event]:
    return [e for e in agent.events(event) if e.get("code") == "path.hung"]


def said_to_hang(host: Host, agent: Agent) -> bool:
    told = [e["reason"] for e in agent.events() if e.get("code") == "path.hung"]
    what = ("authority people: ", "authority distant: ", f"roots of ui in {host.certs}: ")
    return bool(told) and all(w in told[-1] for w in what) and told[-1].count("not responding since") == len(what)


def test_hung_mount_under_running_daemon(host: Host, far: Path) -> None:
    """The daemon repairs modes, reports each file once, answers `status` and `plan`; the findings clear at the end."""
    with host.agent() as agent:
        agent.wait_event("pair.installed", lambda e: e["file"] == "client.app")
        assert "cert.untrusted" not in host.codes()
        with Hung(far):
            open_and_closed(host)
            wait_until(lambda: said_to_hang(host, agent), "the three are said to hang")
            open_and_closed(host)
            assert "path.hung" in host.codes()
            assert host.run("plan").returncode in {0, 2}
        wait_until(lambda: hung(agent, "finding.cleared"), "they answer again")
        open_and_closed(host)


def test_hung_mount_at_start(host: Host, far: Path) -> None:
    """The CA of this host still issues; an authority whose files hang is not asked, until they answer."""
    (host.certs / "ui.crt").unlink()
    with Hung(far), host.agent() as agent:
        agent.wait_event("pair.installed", lambda e: e["file"] == "client.app")
        open_and_closed(host)
        wait_until(lambda: said_to_hang(host, agent), "the three are said to hang")
        held = [h for d in host.json("plan")["certs_dirs"] for h in d["held"] if h["file"] == "ui"]
        assert ["the files of authority people have not responded yet" in h["reason"] for h in held] == [True]
        assert not [e for e in agent.events("issue.started") if e["file"] == "ui"]
    with host.agent() as agent:
        agent.wait_event("issue.waiting", lambda e: e["file"] == "ui")


def test_hung_mount_of_configuration_keeps_old_one(host: Host) -> None:
    """The file's own mount hangs, at SIGHUP, too: the old one stays in force; read when it answers."""
    place = host.base / "etc"
    place.mkdir()
    host.config = place / "config.toml"
    host.write()
    host.make_certs()
    with host.agent() as agent:
        agent.wait_event("pair.installed", lambda e: e["file"] == "node")
        with Hung(place):
            assert agent.process is not None
            agent.process.send_signal(signal.SIGHUP)
            open_and_closed(host)
            wait_until(lambda: hung(agent, "finding.appeared"), "it is said to hang")
            assert agent.events("config.loaded") == agent.events("config.rejected") == []
        agent.wait_event("config.loaded")
        open_and_closed(host)
        assert agent.stop() == 0


def test_hung_mount_does_block_readers(tmp_path: Path) -> None:
    """A reader below it waits until it ends: the tests above can fail."""
    with Hung(tmp_path):
        command = [sys.executable, "-c", f"import os; os.path.exists({str(tmp_path / 'x')!r}); print('over')"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as looking:
            with pytest.raises(subprocess.TimeoutExpired):
                looking.wait(2)
            looking.kill()
