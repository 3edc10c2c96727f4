"""From every comm to the few that own the directory."""

import os
import pwd
import stat
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psutil

from certagent.core.facts import Listener, Process
from certagent.core.policy import ProcessRule
from certagent.host.openat import IN_ROOT, open_within
from certagent.host.procs.arguments import Arguments, parse

SIGHUP_BIT = 1
PID_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
TICKS = os.sysconf("SC_CLK_TCK")
SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "busybox"})
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - what a listener says, not where we listen


def find(device: int, inode: int, rule: ProcessRule) -> tuple[Process, ...]:
    """Given a certs-dir (device, inode) and how to find its owners, return them; zombies and clients are none."""
    if rule.pid_file:
        found = [p for p in [_by_pid_file(rule)] if p is not None]
    else:
        found = [p for pid in _candidates(rule) if (p := _examine(pid, device, inode, rule)) is not None]
    return tuple(sorted(found, key=lambda p: p.pid))


def _candidates(rule: ProcessRule) -> list[int]:
    pids = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/comm", "rb") as file:
                comm = file.read(64).rstrip(b"\n").decode("utf-8", "replace")
        except OSError:
            continue
        if any(comm == n[:15] or comm.startswith((f"{n}-"[:15], f"{n}."[:15])) for n in rule.names):
            pids.append(int(name))
    return pids


def start_ticks(pid: int) -> int:
    """Field 22 of /proc/PID/stat. Raises OSError where there is none."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read(4096).rpartition(b")")[2].split()[19])


def _examine(pid: int, device: int, inode: int, rule: ProcessRule) -> Process | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or pid == os.getpid():
            return None
        argv = process.cmdline()
        base = _base(process)
    except (psutil.Error, OSError):
        return None
    try:
        exe = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
        environ = process.environ()
        cwd = cwd_of(pid)
    except (psutil.AccessDenied, PermissionError):
        return _hidden(base, parse(argv, {}), device, inode)
    except (psutil.Error, OSError):
        return None
    said = parse(argv, environ)
    if exe in SHELLS or not said.subcommand or said.insecure or not _same(pid, cwd, said.certs_dir, device, inode):
        return None
    return _look(replace(base, command=f"{exe} {said.subcommand}", terms=said.terms), process, said, rule)


def _hidden(base: Process, said: Arguments, device: int, inode: int) -> Process | None:
    """One whose insides are denied to us: ours by its arguments alone, or because it is our own user's.

    Another user's that names another directory, or none, is that user's agent's business.
    """
    if not said.subcommand or said.insecure:
        return None
    try:
        named = os.stat(said.certs_dir) if said.certs_dir.startswith("/") else None
    except OSError:
        named = None
    ours = (named.st_dev, named.st_ino) == (device, inode) if named else base.uid == os.geteuid()
    problem = f"what pid {base.pid} runs is denied to this user: set `pid_file` and `probe`"
    return replace(base, state="forbidden", problem=problem, terms=said.terms) if ours else None


def _base(process: psutil.Process) -> Process:
    uid, gid = process.uids().effective, process.gids().effective
    start = start_ticks(process.pid)
    return Process(process.pid, start, uid, gid, user_name(uid), "starting", started_at(start))


def cwd_of(pid: int) -> str:
    """A process's working directory as a path in its own root (a chroot's shows as a path in ours). Raises OSError."""
    root, cwd = os.readlink(f"/proc/{pid}/root"), os.readlink(f"/proc/{pid}/cwd")
    return cwd.removeprefix(root) or "/" if root != "/" and f"{cwd}/".startswith(f"{root}/") else cwd


def user_name(uid: int) -> str:
    """The name of a user, its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def started_at(start: int) -> datetime:
    """When a process began, to 10 ms. Rejected: psutil's create_time, whose boot time is in whole seconds."""
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - start / TICKS
    return datetime.fromtimestamp(time.time() - age, UTC)


def _same(pid: int, cwd: str, certs_dir: str, device: int, inode: int) -> bool:
    """Whether the path, in the process's own root and cwd, is the directory we mean."""
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fd = open_within(root, os.path.join(cwd, certs_dir), os.O_PATH, IN_ROOT)
    except OSError:
        return False
    finally:
        os.close(root)
    info = os.fstat(fd)
    os.close(fd)
    return (info.st_dev, info.st_ino) == (device, inode)


def _look(base: Process, process: psutil.Process, said: Arguments | None, rule: ProcessRule) -> Process:
    """State and listeners."""
    try:
        connections = [c for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    except (psutil.Error, OSError):
        connections = []
    listeners = _listeners(connections, said)
    ignored, caught = _hup_masks(base.pid)
    if ignored:
        return replace(
            base, state="ignoring", listeners=listeners, problem=f"pid {base.pid} ignores SIGHUP: it cannot be reloaded"
        )
    if not caught:
        return replace(base, state="starting", listeners=listeners)
    if listeners:
        return replace(base, state="serving", listeners=listeners)
    if rule.probe:
        return replace(base, state="serving", listeners=tuple(Listener(h, p, k) for h, p, k in rule.probe))
    if base.uid != os.geteuid() and os.geteuid() != 0:
        return replace(base, state="forbidden", problem=f"the listeners of pid {base.pid} cannot be seen: set `probe`")
    return base


def _listeners(connections: list[Any], said: Arguments | None) -> tuple[Listener, ...]:
    found = []
    for connection in connections:
        host, port = connection.laddr[0], connection.laddr[1]
        kind = "http" if said is not None and port == said.http_port else "auto"
        found.append(Listener(ANYWHERE.get(host, host), port, kind))  # type: ignore[arg-type]
    return tuple(sorted(set(found), key=lambda x: (x.port, x.host)))


def _hup_masks(pid: int) -> tuple[bool, bool]:
    """(ignored, caught) of SIGHUP. For a Go program `caught` is always set, and listening is the better evidence."""
    masks = {}
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith(("SigIgn:", "SigCgt:")):
                    name, _, value = line.partition(":")
                    masks[name] = bool(int(value, 16) & SIGHUP_BIT)
    except OSError:
        return False, False
    return masks.get("SigIgn", False), masks.get("SigCgt", False)


def _by_pid_file(rule: ProcessRule) -> Process | None:
    """Root would signal whatever process the file names: its writer must be root, us, or that process's own user."""
    try:
        fd = os.open(rule.pid_file, PID_FILE)
        with os.fdopen(fd, "rb") as file:
            info, pid = os.fstat(fd), int(file.read(64).split()[0])
        process = psutil.Process(pid)
        if pid <= 1 or process.status() == psutil.STATUS_ZOMBIE:
            return None
        base = replace(_base(process), command=process.name(), found_by="pid_file")
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    if info.st_uid not in {0, os.geteuid(), base.uid} or info.st_mode & stat.S_IWOTH:
        problem = (
            f"pid {pid} is not that of the user who may write {rule.pid_file}, uid {info.st_uid}: it is not believed"
        )
        return replace(base, state="forbidden", problem=problem)
    return _look(base, process, None, rule)
