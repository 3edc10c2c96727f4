"""What a worker, or the process that asks about revocation, tries after it gave everything up: run as a worker is.

Each attempt ends as "done" or as the name of the error.
"""

import ctypes
import encodings.idna  # noqa: F401 - as the worker: before the interpreter is out of reach
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from certagent.posix.prctl import SET_DUMPABLE, SET_PDEATHSIG, prctl
from certagent.revocation import child
from certagent.sandbox import Missing, Profile, confine, resolving

IPPROTO_MPTCP = 262
PTRACE_ATTACH = 16
F_SETSIG, FIOSETOWN = 10, 0x8901
SET_NAME = 15


MACHINE = ("x86_64", "aarch64").index(os.uname().machine)
CALLS = {
    "shmget": (29, 194),
    "shmat": (30, 196),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "syslog": (103, 116),
}


def attempt(action: Callable[[], Any]) -> str:
    try:
        action()
    except MemoryError:
        return "MemoryError"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    return "done"


def read(path: str) -> Callable[[], bytes]:
    def action() -> bytes:
        with open(path, "rb") as file:
            return file.read(1)

    return action


def write(path: str) -> Callable[[], None]:
    def action() -> None:
        with open(path, "wb") as file:
            file.write(b"x")

    return action


def traced(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(PTRACE_ATTACH, pid, None, None) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def connected(family: int, address: Any) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as made:
        made.settimeout(5)
        made.connect(address)


def bound() -> None:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))


def listening(family: int, kind: int) -> None:
    with socket.socket(family, kind) as made:
        made.listen()


def datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.sendto(b"a secret", ("127.0.0.1", 9))


def fast_opened() -> None:
    with socket.socket() as made:
        made.sendto(b"a secret", socket.MSG_FASTOPEN, ("127.0.0.1", 9))


def forked() -> None:
    if os.fork() == 0:
        os._exit(0)


def called(name: str, *words: Any) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(CALLS[name][MACHINE], *words) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def descriptors() -> list[int]:
    found = []
    for fd in range(64):
        try:
            fcntl.fcntl(fd, fcntl.F_GETFD)
        except OSError:
            continue
        found.append(fd)
    return found


def attempts(key: str, pid: int, control: str, port: int) -> dict[str, str]:
    """Everything that a worker may not, and the little that it may."""
    certs = os.path.dirname(key)
    forbidden: dict[str, Callable[[], Any]] = {
        "read a managed key": read(key),
        "list the certs-dir": lambda: os.listdir(certs),
        "read /etc/shadow": read("/etc/shadow"),
        "write into the certs-dir": write(f"{certs}/new.key"),
        "write over a key": write(key),
        "write to /tmp": write("/tmp/certagent-worker-was-here"),
        "rename a key": lambda: os.rename(key, f"{key}.gone"),
        "remove a key": lambda: os.unlink(key),
        "link a key": lambda: os.link(key, "stolen"),
        "chmod a key": lambda: os.chmod(key, 0o644),
        "truncate a key": lambda: os.truncate(key, 0),
        "look into the process": read(f"/proc/{pid}/environ"),
        "enter the process's root": lambda: os.listdir(f"/proc/{pid}/root/"),
        "trace the process": lambda: traced(pid),
        "signal the process": lambda: os.kill(pid, signal.SIGHUP),
        "signal it by a pidfd": lambda: signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGHUP),
        "signal everything": lambda: os.kill(-1, signal.SIGHUP),
        "have the kernel signal it": lambda: fcntl.fcntl(0, fcntl.F_SETOWN, pid),
        "choose that signal": lambda: fcntl.fcntl(0, F_SETSIG, signal.SIGKILL),
        "own a socket for it": lambda: fcntl.ioctl(0, FIOSETOWN, struct.pack("i", pid)),
        "end its processor time": lambda: resource.prlimit(pid, resource.RLIMIT_CPU, (0, 0)),
        "run a program": lambda: subprocess.run(["/bin/true"], check=True),
        "command the agent": lambda: connected(socket.AF_UNIX, control),
        "connect to another port": lambda: connected(socket.AF_INET, ("127.0.0.1", port)),
        "listen": bound,
        "listen without a port of its own": lambda: listening(socket.AF_INET, socket.SOCK_STREAM),
        "use multipath TCP": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP),
        "connect by sending": fast_opened,
        "send raw packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "fork": forked,
        "leave its process group": os.setsid,
        "make a process group": lambda: os.setpgid(0, 0),
        "slow the process down": lambda: os.setpriority(os.PRIO_PROCESS, pid, 19),
        "move the process to one processor": lambda: os.sched_setaffinity(pid, {0}),
        "idle the process": lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)),
        "change a key's times": lambda: os.utime(key, (0, 0)),
        "leave shared memory behind": lambda: called("shmget", 0, ctypes.c_size_t(4096), 0o1600),
        "attach the memory of others": lambda: called("shmat", 0, None, 0),
        "leave semaphores behind": lambda: called("semget", 0, 1, 0o1600),
        "leave messages behind": lambda: called("msgget", 0, 0o1600),
        "leave a queue behind": lambda: called("mq_open", b"certagent-worker", os.O_CREAT | os.O_RDWR, 0o600, None),
        "use up the watches of the user": lambda: called("inotify_init1", 0),
        "watch every file": lambda: called("fanotify_init", 0, 0),
        "read the log of the kernel": lambda: called("syslog", 3, ctypes.create_string_buffer(64), 64),
        "outlive the agent": lambda: prctl(SET_PDEATHSIG, 0),
        "be traced again": lambda: prctl(SET_DUMPABLE, 1),
        "be called cockroach": called_cockroach,
        "become root": lambda: os.setresuid(0, 0, 0),
        "use a gigabyte": lambda: bytearray(1 << 30),
    }
    return {name: attempt(action) for name, action in forbidden.items()}


def allowed(port: int) -> dict[str, str]:
    return {
        "write in its own directory": attempt(write("mine")),
        "resolve a name": attempt(lambda: socket.getaddrinfo("localhost", 443)),
        "connect to the CA": attempt(lambda: connected(socket.AF_INET, ("127.0.0.1", port))),
        "read what resolves names": attempt(read("/etc/hosts")),
    }


def called_cockroach() -> None:
    if ctypes.CDLL(None).prctl(SET_NAME, b"cockroach") != 0:
        raise PermissionError


def main() -> int:
    """The question: the key, a process, the control socket, a port that is the CA's and one that is not; who asks."""
    who = sys.argv[1]
    given = json.load(sys.stdin)
    user = None if who == "-" else (int(who.split(":")[0]), int(who.split(":")[1]))
    if given.get("asker"):
        child.give_up(user)
        missing: tuple[Missing, ...] = ()
    else:
        resolving.start(user, 30)
        missing = confine(Profile(connect=(given["ca"],)), user, os.environ["TMPDIR"], 30)
    answer = {
        "missing": [asdict(m) for m in missing],
        "uid": os.geteuid(),
        "groups": os.getgroups(),
        "environment": sorted(os.environ),
        "descriptors": descriptors(),
        "forbidden": attempts(given["key"], given["pid"], given["control"], given["port"]),
        "datagram": attempt(datagram),
        "allowed": allowed(given["ca"]),
        "place": os.getcwd(),
    }
    print(json.dumps(answer))
    return 0
