"""SIGHUP as the user of the process: from a child with that user's ids, through a pidfd, under a deadline.

The kernel then permits no signal to any other user's process, whatever is mistaken here. Rejected: CAP_KILL, which
permits each; os.kill (it may hit another process that got the same pid); fork in this threaded process (55 of 200
children hung). The user may SIGSTOP its own child, so the wait has a deadline.
"""

import os
import select
import signal

from certagent.posix.as_user import run_as
from certagent.posix.errors import HostError
from certagent.process.finding import ids_of


def send_hup(pid: int, start: int, uid: int, gid: int, deadline: float = 5.0) -> str | None:
    """Given a process by pid and start time, signal it as its owner; return None when sent, else why not."""
    if problem := never(pid, os.getpid()):
        return problem
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return f"pid {pid} is gone"
    try:
        return _refusal(pidfd, pid, start, uid) or _as_owner(pidfd, uid, gid, deadline)
    finally:
        os.close(pidfd)


def never(pid: int, own: int) -> str | None:
    """Given a pid and our own, return why it must not be signalled: 0 and less mean groups of processes, 1 is init."""
    return f"pid {pid} must never be signalled" if pid <= 1 or pid == own else None


def _as_owner(pidfd: int, uid: int, gid: int, deadline: float) -> str | None:
    if os.getresuid() == (uid, uid, uid):
        return _directly(pidfd)
    try:
        run_as((uid, gid), ["hup", str(pidfd)], (pidfd,), deadline)
    except HostError as error:
        return f"the signal failed: {error}"
    return None


def _refusal(pidfd: int, pid: int, start: int, uid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            said = file.read(4096)
        uids = ids_of(pid).uids
    except (OSError, ValueError, KeyError):
        return f"pid {pid} is gone"
    ended = bool(select.select([pidfd], [], [], 0)[0])  # read last: the pid was not another process's before
    return refusal(pid, said, start, ended=ended) or other_user(pid, uids, uid)


def other_user(pid: int, uids: tuple[int, int, int], uid: int) -> str | None:
    """Given the real, effective and saved uid of a process, return why it is not that user's alone, or None."""
    return None if set(uids) == {uid} else f"pid {pid} has the uids {', '.join(map(str, uids))}, not {uid} alone"


def refusal(pid: int, said: bytes, start: int, *, ended: bool) -> str | None:
    """Given /proc/PID/stat and whether the pidfd's process has ended, return why it is not the one that was meant."""
    fields = said.rpartition(b")")[2].split()
    if int(fields[19]) != start:
        return f"pid {pid} is a different process now"
    return f"pid {pid} has ended" if ended or fields[0] in {b"Z", b"X"} else None


def _directly(pidfd: int) -> str | None:
    """Send it from this process, which is the owner already: a child could not become another user."""
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGHUP)
    except OSError as error:
        return f"the signal failed: {error.strerror}"
    return None
