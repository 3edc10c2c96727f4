"""SIGHUP through a pidfd, from a child that has become the user; every refusal."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from certagent.posix.as_user import CHILD
from certagent.process import start_ticks
from certagent.process.signals import send_hup
from tests.sandbox.test_worker import FEW
from tests.system.running import open_tmp
from tests.waiting import wait_until

LISTEN = """
import os, signal, sys
signal.signal(signal.SIGHUP, lambda *_: None)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
if len(sys.argv) > 2:
    os.setresuid(*map(int, sys.argv[2].split(",")))
elif len(sys.argv) > 1:
    os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
print("ready", flush=True)
print(signal.sigwaitinfo([signal.SIGHUP]).si_uid, flush=True)
"""


def listener(*words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", LISTEN, *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_sighup_is_sent_once() -> None:
    """The process gets one SIGHUP; sending it raises no error."""
    process = listener()
    assert send_hup(process.pid, start_ticks(process.pid), os.getuid(), os.getgid()) is None
    assert process.communicate()[0] == f"{os.getuid()}\n"


@pytest.mark.root
def test_sighup_sender_is_the_owner() -> None:
    """Sent by root's agent to a process of `nobody`: the sender's uid is nobody's."""
    uid = pwd.getpwnam("nobody").pw_uid
    process = listener(str(uid))
    assert send_hup(process.pid, start_ticks(process.pid), uid, uid) is None
    assert process.communicate()[0] == f"{uid}\n"


@pytest.mark.root
def test_sighup_child_cannot_signal_another_user() -> None:
    """A child that has become `nobody` may not signal root's process, even if asked to."""
    process = listener()
    uid = pwd.getpwnam("nobody").pw_uid
    pidfd = os.pidfd_open(process.pid)
    words = [sys.executable, "-I", "-S", CHILD, str(uid), str(uid), "hup", str(pidfd)]
    done = subprocess.run(words, pass_fds=(pidfd,), capture_output=True, text=True, check=False)
    os.close(pidfd)
    assert "Operation not permitted" in done.stderr
    process.kill()
    process.communicate()


@pytest.mark.root
@pytest.mark.parametrize("become", [None, (65534, 65534, 0), (65534, 0, 65534), (0, 65534, 65534)])
def test_sighup_only_to_process_of_that_user_alone(become: tuple[int, int, int] | None) -> None:
    """Real, effective and saved uid are the user's: a process that is, or can become, root's gets no signal."""
    process = listener(*(["--", ",".join(map(str, become))] if become else []))
    problem = send_hup(process.pid, start_ticks(process.pid), 65534, 65534)
    uids = ", ".join(map(str, become or (0, 0, 0)))
    assert problem == f"pid {process.pid} has the uids {uids}, not 65534 alone"
    assert process.poll() is None
    process.kill()
    process.communicate()


def test_sighup_reused_pid_is_not_signalled() -> None:
    """Another start time is another process: that one survives."""
    process = listener()
    problem = send_hup(process.pid, start_ticks(process.pid) + 1, os.getuid(), os.getgid())
    assert problem == f"pid {process.pid} is a different process now"
    assert process.poll() is None
    process.kill()
    process.communicate()


def test_sighup_zombie_is_not_signalled() -> None:
    """A pidfd would accept the signal silently: the agent says that the process has ended."""
    process = listener()
    start = start_ticks(process.pid)
    process.send_signal(signal.SIGKILL)
    wait_until(lambda: Path(f"/proc/{process.pid}/stat").read_text().split()[2] == "Z", "a zombie")
    assert send_hup(process.pid, start, os.getuid(), os.getgid()) == f"pid {process.pid} has ended"
    process.communicate()
    assert send_hup(process.pid, start, os.getuid(), os.getgid()) == f"pid {process.pid} is gone"


@pytest.mark.parametrize("pid", [0, 1, -1, os.getpid()], ids=["group", "init", "all", "itself"])
def test_sighup_never_to_init_group_or_agent(pid: int) -> None:
    """Neither init, nor a process group, nor the agent itself."""
    assert send_hup(pid, 0, os.getuid(), os.getgid()) == f"pid {pid} must never be signalled"


@pytest.mark.root
def test_sighup_child_has_a_deadline() -> None:
    """An owner may stop its own child: the wait still ends."""
    uid = pwd.getpwnam("nobody").pw_uid
    process = listener(str(uid))
    problem = send_hup(process.pid, start_ticks(process.pid), uid, uid, deadline=0.0)
    assert problem == f"the signal failed: the child of uid {uid} did not finish within 0 s"
    process.kill()
    process.communicate()


STOPPED = """
import json, sys
from certagent.posix import as_user
from certagent.posix.errors import HostError
as_user.CHILD = sys.argv[1]
told = []
for uid in [65534] * (as_user.MOST_LEFT + 1) + [65533]:
    try:
        as_user.run_as((uid, uid), ["remove", "/nowhere"], (), 0.5)
    except HostError as error:
        told.append(str(error))
print(json.dumps([told, [child.pid for _, child in as_user._left]]))
"""


@pytest.mark.root
def test_children_that_their_user_stops_are_few() -> None:
    """Root without CAP_KILL, as in the unit, cannot end what its user has stopped: four are left."""
    base = open_tmp()
    child = base / "child.py"
    child.write_text(Path(CHILD).read_text().replace("VERBS[verb](*words)", "os.kill(os.getpid(), signal.SIGSTOP)"))
    command = ["setpriv", f"--bounding-set={FEW}", f"--inh-caps={FEW}", sys.executable, "-c", STOPPED, str(child)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    told, left = json.loads(done.stdout)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(base)
    late = "the child of uid {} did not finish within 0.5 s"
    refused = "4 children of uid 65534 do not finish; who stops them?"
    assert told == [*[late.format(65534)] * 4, refused, late.format(65533)]
