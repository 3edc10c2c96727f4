"""Workers: what they may not, shown by trying; deadline, caps, and that nothing of them stays."""

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from certagent import sandbox as confine
from certagent.agent.service import tried
from certagent.config import load
from certagent.posix.errors import HostError, StoppingError
from certagent.sandbox import confining
from certagent.sandbox.worker_process import PREFIX, Workers
from tests.system.running import Host, open_tmp
from tests.system.test_owners import reachable
from tests.waiting import in_time, wait_until

pytestmark = pytest.mark.slow
NOBODY = pwd.getpwnam("nobody")
TRYING = Path(__file__).with_name("trying.py")
AS_OWNER = """
import sys
from certagent.sandbox.worker_process import Workers
sys.stdout.buffer.write(Workers((1, 1)).ask("trying", [], sys.stdin.buffer.read(), 30))
"""
HANGING = "tests.sandbox.misbehaving"
needs_all = pytest.mark.skipif(confine.landlock_abi() < confine.SCOPE_ABI, reason="this kernel's Landlock is too old")


@pytest.fixture
def base() -> Iterator[Path]:
    made = open_tmp()
    yield made
    shutil.rmtree(made)


class Scene:
    """A managed key, its owning process, the agent's socket, a port that is a CA's and one that is not."""

    def __init__(self, base: Path, uid: int, stack: ExitStack) -> None:
        certs = base / "certs"
        certs.mkdir(mode=0o700)
        self.key = certs / "node.key"
        self.key.write_text("a private key")
        self.key.chmod(0o600)
        for path in (certs, self.key):
            os.chown(path, uid, uid)
        self.victim = subprocess.Popen(["sleep", "600"], user=uid, group=uid)
        stack.callback(self.victim.wait)
        stack.callback(self.victim.kill)
        self.control = base / "control.sock"
        control = stack.enter_context(socket.socket(socket.AF_UNIX))
        control.bind(str(self.control))
        control.listen()
        self.control.chmod(0o777)
        self.ports = []
        for _ in range(2):
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            self.ports.append(listener.getsockname()[1])

    def question(self, **more: Any) -> bytes:
        about = more | {"key": str(self.key), "pid": self.victim.pid, "control": str(self.control)}
        return json.dumps(about | {"ca": self.ports[0], "port": self.ports[1]}).encode()

    def unharmed(self) -> bool:
        mode = self.key.stat().st_mode & 0o777
        return self.victim.poll() is None and (mode, self.key.read_text()) == (0o600, "a private key")


def as_root(question: bytes, base: Path) -> Any:
    del base
    return json.loads(Workers((NOBODY.pw_uid, NOBODY.pw_gid)).ask("tests.sandbox.trying", [], question, 30))


def as_owner(question: bytes, base: Path) -> Any:
    """The agent as the keys' owner, without any privilege."""
    environ = reachable(base)
    shutil.copy(TRYING, base / "lib" / "trying.py")
    drop = ["setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_uid}", "--clear-groups", "--inh-caps=-all"]
    command = [*drop, "/usr/bin/python3", "-c", AS_OWNER]
    done = subprocess.run(command, env=environ, input=question, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.mark.root
@needs_all
@pytest.mark.parametrize(("agent", "owner"), [(as_root, 0), (as_root, 2), (as_owner, NOBODY.pw_uid)])
def test_worker_may_do_nothing_but_ask(base: Path, agent: Any, owner: int) -> None:
    """For an agent as root, and for one that is the keys' own owner: no key, no signal, no file, no other port."""
    with ExitStack() as stack:
        scene = Scene(base, owner, stack)
        found = agent(scene.question(), base)
        assert found["missing"] == []
        done = {k for k, v in found["forbidden"].items() if v == "done"}
        assert done == set(), found["forbidden"]
        assert set(found["allowed"].values()) == {"done"}, found["allowed"]
        assert (found["uid"], found["groups"]) == (NOBODY.pw_uid, [])
        assert set(found["environment"]) <= {"LANG", "PATH", "LC_CTYPE", "HOME", "TMPDIR"}
        assert found["descriptors"] == [0, 1, 2, 3], "three pipes, and the way to the resolver"
        assert found["datagram"] == "EPERM"
        assert scene.unharmed()
        assert not os.path.exists(found["place"])


@pytest.mark.root
@needs_all
@pytest.mark.parametrize(("agent", "owner"), [(as_root, 0), (as_root, 2), (as_owner, NOBODY.pw_uid)])
def test_worker_ocsp_may_do_nothing_but_ask(base: Path, agent: Any, owner: int) -> None:
    """The process that asks responders: any port, and nothing else; it has no place to write."""
    with ExitStack() as stack:
        scene = Scene(base, owner, stack)
        found = agent(scene.question(asker=True), base)
        done = {k for k, v in (found["forbidden"] | found["allowed"]).items() if v == "done"}
        reads, ports = {"resolve a name", "read what resolves names"}, {"connect to the CA", "connect to another port"}
        assert done - {"use a gigabyte"} == reads | ports, found
        assert (found["uid"], found["groups"]) == (NOBODY.pw_uid, [])
        assert scene.unharmed()


@needs_all
def test_worker_without_landlock_can_do_more(base: Path) -> None:
    """Without Landlock the same attempts succeed: the test above can fail."""
    with ExitStack() as stack:
        scene = Scene(base, os.geteuid(), stack)
        free = {"key": str(scene.key), "pid": scene.victim.pid, "control": str(scene.control), "port": scene.ports[1]}
        code = "import json,sys; from tests.sandbox.trying import *; g=json.load(sys.stdin);"
        code += "print(json.dumps([attempt(read(g['key'])), attempt(lambda: os.kill(g['pid'], 0)),"
        code += "attempt(lambda: connected(socket.AF_UNIX, g['control'])), attempt(bound)]))"
        done = subprocess.run(
            [sys.executable, "-c", code], input=json.dumps(free), capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout) == ["done"] * 4


@pytest.mark.root
def test_worker_with_closed_tmpdir_gets_its_own(tmp_path: Path) -> None:
    """If TMPDIR is root's own (pam_tmpdir), the worker's directory is one that its user may enter."""
    tmp_path.chmod(0o700)
    code = "from certagent.sandbox.worker_process import Workers; w = Workers((65534, 65534));"
    code += "print(w.ask('certagent.authority.worker', ['probe'], b'', 30))"
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "b'[]'"


def test_worker_readable_certs_directory_is_detected() -> None:
    """A certs directory below a library's or a CA store's directory is detected; the usual ones are not."""
    assert confine.shown("/usr/lib/cockroach/certs") == "/usr/lib"
    assert confine.shown("/etc/ssl/certs/node")
    assert [confine.shown(p) for p in ("/var/lib/cockroach/certs", "/etc/ssl/private", "/", "/usr/library")] == [""] * 4


NAMESPACES = """
import ctypes, errno, json, os, subprocess, sys, threading
from certagent.sandbox import confining, seccomp
libc = ctypes.CDLL(None, use_errno=True)
CLONE, UNSHARE = {"x86_64": (56, 272), "aarch64": (220, 97)}[os.uname().machine]
NEW = {"mnt": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000, "pid": 0x20000000,
       "net": 0x40000000}

class Args(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in
                ("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls")]

def tried(number, *arguments):
    pid = libc.syscall(number, *map(ctypes.c_long, arguments))
    if pid == 0:
        os._exit(0)
    return "done" if pid > 0 and os.waitpid(pid, 0) else errno.errorcode[ctypes.get_errno()]

def unshared(flag):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if libc.syscall(UNSHARE, ctypes.c_long(flag)) == 0 else ctypes.get_errno())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return errno.errorcode[code] if code else "done"

if sys.argv[1] == "confined":
    assert libc.prctl(confining.SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert seccomp.deny(programs=True, signals=False, files=False, listens=True, datagrams=True)
found = {}
for name, flag in NEW.items():
    args = Args(flags=flag | NEW["user"], exit_signal=17)
    found[name] = [tried(CLONE, flag | NEW["user"] | 17, 0, 0, 0, 0), unshared(flag | NEW["user"]),
                   tried(435, ctypes.addressof(args), ctypes.sizeof(args))]
thread = threading.Thread(target=lambda: found.setdefault("thread", "done"))
thread.start()
thread.join()
found["program"] = subprocess.run(["/bin/sh", "-c", "/bin/echo done"], capture_output=True, text=True).stdout.strip()
print(json.dumps(found))
"""


def namespaces(how: str) -> dict[str, Any]:
    words = [sys.executable, "-c", NAMESPACES, how]
    found: dict[str, Any] = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert (found.pop("thread"), found.pop("program")) == ("done", "done")
    return found


def test_worker_namespaces_are_refused() -> None:
    """Also if programs may run: neither by clone nor by unshare nor by clone3; threads and programs still start."""
    found = namespaces("confined")
    assert set(found) == {"mnt", "cgroup", "uts", "ipc", "user", "pid", "net"}
    assert {tuple(ends) for ends in found.values()} == {("EPERM", "EPERM", "ENOSYS")}


@pytest.mark.root
def test_worker_namespaces_exist_without_the_filter() -> None:
    """Without the filter each of them is made: the test above can fail."""
    found = {tuple(ends) for ends in namespaces("free").values()}
    if not any("done" in ends for ends in found):
        pytest.skip(f"this kernel makes no namespaces: {found}")
    assert found == {("done", "done", "done")}


def places() -> set[Path]:
    return set(Path("/tmp").glob(f"{PREFIX}*"))


@pytest.mark.parametrize(
    ("how", "deadline", "reason"),
    [
        ("hang", 0.5, "did not finish within"),
        ("be deaf", 0.5, "did not finish within"),
        ("hang after closing", 2.0, "did not exit"),
        ("flood", 30.0, "longer than 4194304 bytes"),
        ("flood errors", 30.0, "code 3: eeee"),
        ("die", 30.0, "code 7: it said: the reason"),
        ("be killed", 30.0, "signal 9"),
    ],
)
def test_worker_misbehaving_is_an_error(how: str, deadline: float, reason: str) -> None:
    """Deadline, caps, exit codes: each is an error of one sentence; no process and no directory is left."""
    before = places()
    workers = Workers(None)

    def misbehave(deadline: float) -> str:
        with pytest.raises(HostError, match=reason) as caught:
            workers.ask(HANGING, [how], b"q" * (4 << 20), deadline)
        return str(caught.value)

    said = in_time(misbehave, deadline, 10 * deadline)
    assert said.startswith("the worker")
    assert len(said) < 500
    wait_until(lambda: not places() - before, "only directories of others come and go")


def test_worker_answers_before_deadline_are_kept() -> None:
    """If each line is an answer of its own: the printed lines, and why they are not complete."""

    def begin(deadline: float) -> None:
        output = Workers(None).run(HANGING, ["begin to answer"], b"", deadline)
        assert (output.data, "did not finish within" in output.problem) == (b"the first line\n", True)

    in_time(begin, 1.0, 10.0)


HANDED = """
import os, socket, sys
with socket.socket() as listener:
    listener.listen()
    os.dup2(listener.fileno(), 3)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "certagent-http01"}
    from certagent.sandbox.worker_process import Workers
    for listens in (True, False):
        print(Workers(None).ask("tests.sandbox.misbehaving", ["show"], b"", 30.0, listens=listens).decode().strip())
"""


def test_worker_listening_socket_only_for_challenge() -> None:
    """A socket of systemd is passed to the worker that answers a challenge on it, and to no other."""
    done = subprocess.run([sys.executable, "-c", HANDED], capture_output=True, text=True, check=True)
    listens, asks = done.stdout.splitlines()
    assert ("LISTEN_FDS" in listens, listens.endswith("[3]")) == (True, True)
    assert ("LISTEN" in asks, asks.endswith("[]")) == (False, True)


FEW = "-all,+setuid,+setgid,+sys_ptrace"  # those of certagent-root.service
AS_FEW = """
from certagent.sandbox.worker_process import Workers
from certagent.posix.errors import HostError
import sys
try:
    Workers((65534, 65534)).ask("tests.sandbox.misbehaving", ["hang as nobody"], b"", 2.0)
except HostError as error:
    print(error)
"""


@pytest.mark.root
def test_worker_of_root_without_capabilities(base: Path) -> None:
    """The capabilities of the root unit are enough to start, end and clean up a worker of another user."""
    base.chmod(0o777)
    environ = {**os.environ, "TMPDIR": str(base)}
    command = ["setpriv", f"--bounding-set={FEW}", f"--inh-caps={FEW}", sys.executable, "-c", AS_FEW]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert "did not finish within" in done.stdout
    assert list(base.iterdir()) == []


WITHOUT = """
import ctypes, json, os, sys
from certagent.sandbox import confining, seccomp
from certagent.sandbox.worker_process import Workers
column, arch = seccomp.MACHINES[os.uname().machine]
code = seccomp.program(arch, json.loads(sys.argv[1]), ())
libc = ctypes.CDLL(None)
assert libc.prctl(confining.SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
assert libc.prctl(seccomp.SET_SECCOMP, 2, ctypes.byref(seccomp._Program(len(code) // 8, code)), 0, 0) == 0
from certagent.authority.client import unconfined
print(json.dumps([[d.code, d.severity, d.message] for d in unconfined(Workers((65534, 65534)))]))
"""


@pytest.mark.parametrize(
    ("denied", "severity", "reason"),
    [
        ([], None, ""),
        ([confining.CREATE_RULESET], "warning" if os.geteuid() else "info", "no Landlock: only owners"),
        ([confining.RESTRICT_SELF], "warning" if os.geteuid() else "info", "Landlock: Operation not permitted"),
        ([116, 117, 119, 147, 149, 159] if os.geteuid() == 0 else [157, 167], "warning", "cannot test a worker"),
    ],
)
@needs_all
def test_worker_missing_kernel_feature_is_finding(denied: list[int], severity: str | None, reason: str) -> None:
    """A kernel without Landlock, one that refuses it, one that lets root become nobody: a finding says so."""
    words = [sys.executable, "-c", WITHOUT, json.dumps(denied)]
    found = json.loads(subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout)
    if severity is None:
        assert found == []
        return
    assert [(code, how) for code, how, _ in found] == [("worker.unconfined", severity)]
    assert reason in found[0][2]


@pytest.mark.parametrize(("mode", "codes"), [("off", []), ("lax", ["worker.unconfined"])])
def test_worker_sandbox_is_tried_only_if_needed(base: Path, mode: str, codes: list[str]) -> None:
    """With an embedded CA alone no server is asked, so nothing is tried; with OCSP responders to ask, it is."""
    host = Host(base)
    host.write(extra=f"[certs_dir.ocsp]\nmode = '{mode}'")
    workers = Workers(None)
    workers.stop()  # what is tried fails
    assert [d.code for d in tried(load(str(host.config)), workers)] == codes


def test_worker_grandchild_is_killed_with_its_group(tmp_path: Path) -> None:
    """A grandchild that would outlive the request is killed with its group."""
    pids = Workers(None).ask(HANGING, ["leave a child"], b"", 30)
    wait_until(lambda: not Path(f"/proc/{int(pids)}").exists() or gone(int(pids)), "the grandchild is gone")
    del tmp_path


ADOPTING = """
import os
from certagent.sandbox.worker_process import Workers, adopt_orphans
adopt_orphans()
Workers(None).ask("tests.sandbox.misbehaving", ["leave a child"], b"", 30)
with open(f"/proc/self/task/{os.getpid()}/children") as file:
    print([file.read()])
"""


def test_worker_orphan_is_reaped_by_agent() -> None:
    """What a worker leaves becomes the agent's child, and is gone when the request is over, not even as a zombie."""
    done = subprocess.run([sys.executable, "-c", ADOPTING], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "['']\n"


def gone(pid: int) -> bool:
    """A zombie that init has not reaped yet is gone as well."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except OSError:
        return True


def test_worker_line_is_told_before_it_goes_on() -> None:
    """Each whole line that a worker prints is passed on, and acknowledged, before its answer."""
    told: list[bytes] = []
    assert b"the answer" == Workers(None).ask(HANGING, ["tell", "3"], b"?\n", 30, told=told.append)
    assert [b"0", b"1", b"2"] == told


@pytest.mark.parametrize(("count", "why"), [("17", "more than 16 lines"), ("1", "cannot be saved")])
def test_worker_line_that_cannot_be_told_ends_it(count: str, why: str) -> None:
    """Too many lines, or one that cannot be saved: the worker is ended, and its CA is told nothing more."""

    def told(_line: bytes) -> None:
        if count == "1":
            raise HostError("cannot be saved")

    with pytest.raises(HostError, match=why):
        Workers(None).ask(HANGING, ["tell", count], b"?\n", 30, told=told)


def test_worker_stop_ends_all() -> None:
    """`stop` ends running workers immediately, and refuses later ones."""
    workers, caught = Workers(None), []

    def ask() -> None:
        try:
            workers.ask(HANGING, ["hang"], b"", 600)
        except StoppingError as error:
            caught.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(workers.running, "it runs")
    workers.stop()
    asking.join(30)
    assert [m for m in caught if "signal 9" in m] == caught != []
    with pytest.raises(HostError, match="stopping"):
        workers.ask(HANGING, ["hang"], b"", 600)
