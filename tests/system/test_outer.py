"""Where a directory may hang, the agent is the child of a process that touches none: one agent all the same."""

import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from certagent.agent.outer import divided, paths_in
from certagent.config import load
from tests.system.hanging import Fading
from tests.system.running import Host
from tests.system.test_hung_directories import agents
from tests.waiting import DEADLINE, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.root]
CREDENTIALS = struct.Struct("=3i")  # pid, uid, gid


@pytest.fixture
def mounted(host: Host) -> Iterator[Fading]:
    """The certs directory is on FUSE, which answers."""
    host.write()
    host.make_certs()
    with Fading(host.certs) as mount:
        yield mount


@pytest.mark.usefixtures("mounted")
def test_divided_agent_speaks_to_systemd_as_its_main_process(host: Host) -> None:
    """With NotifyAccess=main systemd hears nobody else: READY, a reload by SIGHUP, STOPPING."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(host.base / "notify"))
        systemd.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        systemd.settimeout(DEADLINE)

        def heard(word: bytes) -> int:
            """The process that says so."""
            said, control = b"", []
            while word not in said:
                said, control, _, _ = systemd.recvmsg(1 << 16, 1 << 10)
            return int(CREDENTIALS.unpack(control[0][2])[0])

        with host.agent("env", f"NOTIFY_SOCKET={host.base}/notify") as agent:
            outer, _ = agents(agent)
            assert heard(b"READY=1") == outer
            os.kill(outer, signal.SIGHUP)
            assert heard(b"RELOADING=1") == outer
            agent.wait_event("config.loaded")
            assert agent.stop() == 0
            assert heard(b"STOPPING=1") == outer


@pytest.mark.usefixtures("mounted")
@pytest.mark.parametrize("inner", [False, True], ids=["outer", "inner"])
def test_divided_agent_that_is_killed_ends_whole(host: Host, *, inner: bool) -> None:
    """Whichever of the two is killed, the other one ends as well, and the signal is what is told."""
    with host.agent() as agent:
        both = agents(agent)
        os.kill(both[inner], signal.SIGKILL)
        wait_until(lambda: not any(map(lives, both)), "both have ended")
        assert agent.process is not None
        assert agent.process.wait() == -signal.SIGKILL


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False


def test_divided_agent_that_hangs_ends_by_its_deadline(host: Host, mounted: Fading) -> None:
    """`run --once`, whose thread waits for the mount, with the exit code of what is known."""
    command = [sys.executable, "-m", "certagent", "run", "--once", "--deadline", "3s", "-c", str(host.config)]
    mounted.late = lambda thread: b"--once" in Path(f"/proc/{thread}/cmdline").read_bytes()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    assert mounted.deaf.is_set()
    assert done.returncode in {2, 3}, done.stdout


def test_agent_on_local_disks_is_not_divided(host: Host) -> None:
    """It is one process; the paths that count are all those of the configuration."""
    host.write()
    config = load(str(host.config))
    assert {str(host.certs), f"{host.base}/state", f"{host.base}/ca"} <= set(paths_in(config))
    assert divided(config, str(host.config)) is None
