"""The control socket: who may ask, what it survives."""

import os
import pwd
import resource
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from certagent.control.admission import TRUSTED, Peer
from certagent.control.client import DaemonSilent, DaemonSlow, StrangerError, ask
from certagent.control.server import Control
from certagent.posix.errors import HostError
from tests.system.running import open_tmp
from tests.waiting import DEADLINE

CLIENT = """
import os, sys
sys.path.insert(0, sys.argv[4])
from certagent.control.client import ask
os.setgid(65534); os.setuid(65534)
print(ask(sys.argv[1], sys.argv[2], {}, 60.0))
"""


def answer(command: str, arguments: dict[str, Any], peer: Peer) -> dict[str, Any]:
    if command == "crash":
        raise RuntimeError("inside")
    return {"ok": True, "command": command, "args": arguments, "uid": peer.uid, "pid": peer.pid}


@pytest.fixture
def path() -> Iterator[str]:
    """A socket's path that other users may reach."""
    base = open_tmp()
    yield str(base / "control.sock")
    shutil.rmtree(base)


@pytest.fixture
def control(path: str) -> Iterator[Control]:
    """A running server that lets others read."""
    made = Control(path, others="read-only", answer=answer)
    made.start()
    yield made
    made.stop()


def as_nobody(path: str, command: str) -> str:
    root = str(Path(__file__).parent.parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, path, command, "x", root], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_control_peer_credentials_come_from_kernel(control: Control, path: str) -> None:
    """The peer's uid and pid come from the kernel; commands and arguments arrive."""
    found = ask(path, "renew", {"file": "node"})
    assert (found["uid"], found["pid"], found["args"]) == (os.getuid(), os.getpid(), {"file": "node"})
    assert control


def test_control_says_what_is_known_before_the_answer(path: str) -> None:
    """Each line reaches a client that asked for it while the answer is being made; another gets the answer alone."""
    heard: list[object] = []
    first = threading.Event()

    def stepwise(_command: str, _arguments: dict[str, Any], _peer: Peer, tell: Any = None) -> dict[str, Any]:
        if tell is not None:
            tell({"step": 1})
            assert first.wait(DEADLINE)
            tell({"step": "two\n"})
        return {"ok": True, "told": tell is not None}

    def hear(said: dict[str, Any]) -> None:
        heard.append(said["step"])
        first.set()

    made = Control(path, others="refuse", answer=stepwise)
    made.start()
    try:
        assert ask(path, "x", {"stream": True}, DEADLINE, heard=hear) == {"ok": True, "told": True}
        assert ask(path, "x", {}, DEADLINE, heard=hear) == {"ok": True, "told": False}
        assert ask(path, "x", {"stream": "yes"}, DEADLINE) == {"ok": True, "told": False}
    finally:
        made.stop()
    assert heard == [1, "two\n"]


def test_control_client_that_leaves_before_the_answer_disturbs_nobody(path: str) -> None:
    """What is told to it afterwards is dropped, and the next client is answered."""
    left, told = threading.Event(), threading.Event()

    def stepwise(command: str, _arguments: dict[str, Any], _peer: Peer, tell: Any = None) -> dict[str, Any]:
        if command == "long":
            assert left.wait(DEADLINE)
            for number in range(100):
                tell({"step": number})
            told.set()
        return {"ok": True}

    made = Control(path, others="refuse", answer=stepwise)
    made.start()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(path)
            client.sendall(b'{"version": 1, "command": "long", "args": {"stream": true}}\n')
        left.set()
        assert told.wait(DEADLINE)
        assert ask(path, "short", {}, DEADLINE) == {"ok": True}
    finally:
        made.stop()


@pytest.mark.root
def test_control_other_user_may_only_read(control: Control, path: str) -> None:
    """Another user gets status, plan and history, and no command."""
    assert "'ok': True" in as_nobody(path, "status")
    assert "forbidden" in as_nobody(path, "renew")
    assert control


@pytest.mark.root
def test_control_other_user_is_refused_if_configured(path: str) -> None:
    """As configured, another user does not even reach the socket."""
    made = Control(path, others="refuse", answer=answer)
    made.start()
    try:
        assert os.stat(path).st_mode & 0o777 == 0o600
        with pytest.raises(subprocess.CalledProcessError):
            as_nobody(path, "status")
    finally:
        made.stop()


def test_control_malformed_request_is_answered(control: Control, path: str) -> None:
    """Rubbish, and a failure inside, get an answer; the server goes on."""
    for line in (b"\n", b"{}\n", b"[[[[[\n", b"\xff\xfe\n", b'{"command": 1, "args": 5}\n'):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(line)
            assert b"bad-request" in client.recv(4096) or b"ok" in client.recv(4096)
    assert ask(path, "crash", {})["code"] == "internal"
    assert ask(path, "status", {})["ok"]
    assert control


def opened(path: str, sent: bytes) -> socket.socket:
    """A connection on which so much was sent."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    if sent:  # one that was closed meanwhile takes nothing
        client.sendall(sent)
    return client


IDLE = {
    "says nothing": b"",
    "sends half a request": b'{"command": "sta',
    "does not read its answer": b'{"command": "long"}\n',
    "asks for what waits": b'{"command": "wait"}\n',
}


@pytest.mark.parametrize("sent", IDLE.values(), ids=IDLE)
def test_control_idle_connection_takes_no_thread(path: str, sent: bytes) -> None:
    """Beside 200 connections of a trusted user that are idle in any way, `status` is answered while all are open."""
    waiting = threading.Event()

    def slow(command: str, arguments: dict[str, Any], peer: Peer) -> dict[str, Any]:
        if command == "wait":
            waiting.wait()
        return answer(command, {"long": "x" * (1 << 20)} if command == "long" else arguments, peer)

    made = Control(path, others="refuse", answer=slow, deadline=600)
    made.start()
    held = [opened(path, sent) for _ in range(200)]
    try:
        assert ask(path, "status", {}, timeout=60)["ok"]
    finally:
        waiting.set()
        made.stop()
    for client in held:
        client.close()


def test_control_more_connections_than_allowed_are_closed(path: str) -> None:
    """A user's connections are bounded: one too many is closed without a word; it is served after another has ended."""
    made = Control(path, others="refuse", answer=answer, deadline=600)
    made.start()
    held = [opened(path, b"") for _ in range(TRUSTED)]
    try:
        with opened(path, b"") as late:
            late.settimeout(60)
            assert late.recv(1) == b""
        held.pop().close()
        assert ask(path, "status", {}, timeout=60)["ok"]
    finally:
        made.stop()
    for client in held:
        client.close()


@pytest.mark.slow
def test_control_silent_clients_are_dropped(control: Control, path: str) -> None:
    """A client that connects and says nothing is dropped when its time is over."""
    with opened(path, b"") as silent:
        silent.settimeout(60)
        assert silent.recv(1) == b""
    assert control


@pytest.mark.slow
def test_control_thousand_clients_are_served(control: Control, path: str) -> None:
    """A thousand clients at the same time are all served, by trying again."""
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.append(ask(path, "status", {}, timeout=60)["ok"])) for _ in range(1000)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 1000
    assert control


DRIP = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
held = []
for _ in range(256):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(1)
    try:
        client.connect(sys.argv[1])
    except OSError:
        continue
    held.append(client)
print("held", flush=True)
while True:
    for client in held:
        try:
            client.send(b"x")
        except OSError:
            pass
    sys.stdin.readline()
"""


@pytest.mark.slow
@pytest.mark.root
def test_control_slow_clients_of_other_user_delay_nobody(control: Control, path: str) -> None:
    """Another user's 256 connections send a byte now and then: root is answered immediately, they are dropped.

    In a queue with those it would wait for two seconds, every time; on a slow machine it may, but not every time.
    """
    assert any(_at_once_under_a_drip(path) for _ in range(5))
    assert control


def _at_once_under_a_drip(path: str) -> bool:
    """Whether root is answered before the first of them can have been dropped; the same user's next is, after that."""
    dripping = subprocess.Popen([sys.executable, "-c", DRIP, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert dripping.stdout is not None
    assert dripping.stdin is not None
    assert dripping.stdout.readline() == b"held\n"
    at_once = False
    try:
        with suppress(DaemonSlow):
            at_once = ask(path, "status", {}, timeout=1.5)["ok"]
        if not at_once:
            return False
        for _ in range(3):
            dripping.stdin.write(b"\n")
            dripping.stdin.flush()
            assert "'ok': True" in as_nobody(path, "status")
    finally:
        dripping.kill()
        dripping.communicate()
    return True


@pytest.mark.slow
def test_control_survives_lack_of_descriptors(control: Control, path: str) -> None:
    """No descriptor is left for a new connection: it is accepted as soon as there is one again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    first, second = (socket.socket(socket.AF_UNIX) for _ in range(2))
    resource.setrlimit(resource.RLIMIT_NOFILE, (100 + len(os.listdir("/proc/self/fd")), hard))
    taken: list[int] = []
    with suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    try:
        first.connect(path)  # the accept that waits already has its descriptor
        second.connect(path)
        second.sendall(b'{"command": "status"}\n')
        second.settimeout(0.3)
        with pytest.raises(TimeoutError):
            second.recv(1)
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    second.settimeout(20)
    assert second.recv(1) == b"{"
    first.close()
    second.close()
    assert control


def test_control_stale_socket_is_replaced(path: str) -> None:
    """The socket of a daemon that was killed does not stop the next one; a running one does."""
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    made = Control(path, others="read-only", answer=answer)
    made.start()
    try:
        with pytest.raises(HostError, match="another certagent answers"):
            Control(path, others="read-only", answer=answer)
    finally:
        made.stop()
    with pytest.raises(DaemonSilent):
        ask(path, "status", {})


SECOND = """
import os, sys
sys.path.insert(0, sys.argv[2])
from certagent.control.server import Control
from certagent.posix.errors import HostError
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    Control(sys.argv[1], others="refuse", answer=None)
except HostError as error:
    print(error)
"""


@pytest.mark.root
@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_control_stale_socket_of_other_user_is_named(path: str, mode: int) -> None:
    """In a sticky directory it cannot be removed: the error names it, and says what to do."""
    os.chmod(os.path.dirname(path), 0o1777)  # noqa: S103 - sticky, as /run/certagent
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(path)
    os.chmod(path, mode)
    top = str(Path(__file__).parents[2])
    ran = subprocess.run([sys.executable, "-c", SECOND, path, top], capture_output=True, text=True, check=True)
    assert f"cannot bind {path}: another user's socket is there: " in ran.stdout
    assert ran.stdout.strip().endswith("remove the socket")


def test_control_path_not_socket_is_left_alone(path: str) -> None:
    """A file or a symlink at the path is not removed."""
    Path(path).symlink_to("/etc/passwd")
    with pytest.raises(HostError, match="not a socket"):
        Control(path, others="read-only", answer=answer)
    os.unlink(path)


def test_control_path_too_long_is_error() -> None:
    """The kernel's limit is reported before anything is tried."""
    with pytest.raises(HostError, match="longer than 107 bytes"):
        Control("/tmp/" + "x" * 120, others="read-only", answer=answer)


def test_control_trusted_users_are_root_and_agent() -> None:
    """Root and the agent's own user."""
    assert Peer(1, 0, 0).trusted
    assert Peer(1, os.geteuid(), 0).trusted
    assert not Peer(1, pwd.getpwnam("nobody").pw_uid, 0).trusted


NO_THREADS = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from certagent.control.server import Control
from certagent.control.client import ask
control = Control(sys.argv[1], others="refuse", answer=lambda c, a, p: {"ok": True})
control.start()
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (2 << 20), resource.RLIM_INFINITY))
print(ask(sys.argv[1], "status", {}, 30.0))
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(ask(sys.argv[1], "status", {}, 30.0))
control.stop()
"""


@pytest.mark.slow
def test_control_survives_lack_of_threads(path: str) -> None:
    """Where no thread can be started, every client is answered: the threads are there from the start."""
    root = str(Path(__file__).parent.parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", NO_THREADS, path, root], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.splitlines() == ["{'ok': True}", "{'ok': True}"], done.stderr


STRANGER = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    os.chmod(sys.argv[1], 0o666)
    print("ready", flush=True)
    connection = listener.accept()[0]
    print(len(connection.recv(100)), flush=True)
"""


@pytest.mark.root
def test_control_client_tells_a_stranger_nothing(path: str) -> None:
    """Where another user listens, nothing is asked, and whatever it answers is not read; unless it is the agent's."""
    os.chown(os.path.dirname(path), 65534, 65534)
    command = [sys.executable, "-c", STRANGER, path]
    for owner, asked in ((1, False), (65534, True)):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
            assert listener.stdout is not None
            assert listener.stdout.readline() == "ready\n"
            with pytest.raises(DaemonSilent if asked else StrangerError):
                ask(path, "status", {}, 2.0, owner=owner)
            assert (listener.stdout.readline() != "0\n") == asked
        os.unlink(path)
