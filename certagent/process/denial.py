"""Why a process cannot be looked into: it has ended, is none, or the kernel refuses; and what to do then.

Root may be refused, too: without CAP_SYS_PTRACE, of a process outside its user namespace, and by a security module.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil

from certagent.posix.owner import name_of

KERNEL_THREAD = 0x00200000  # PF_KTHREAD
SYS_PTRACE = 1 << 19
EVERY_UID = "0 0 4294967295"  # uid_map of the first user namespace
BY_HAND = "or name its directory: certagent check --certs-dir DIR --user NAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What anybody may see of a process, and what this process may do itself."""

    exists: bool = True  # the kernel knows it, though /proc may not show it
    state: str = ""  # "Z": a zombie
    group: int = 0  # the pid of the process that it is a thread of; 0: not known
    uid: int | None = None
    kernel: bool = False
    me: int = 0
    may_look: bool = True  # this process has CAP_SYS_PTRACE
    contained: bool = False  # in a user namespace of its own


def outside(pid: int) -> Outside:
    """What is seen of a process without any right."""
    said = _fields(f"/proc/{pid}/status")
    own = _fields("/proc/self/status")
    uids = said.get("Uid", "").split()
    return Outside(
        exists=bool(said) or _known(pid),
        state=said.get("State", "")[:1],
        group=int(said.get("Tgid") or 0),
        uid=int(uids[1]) if len(uids) > 1 else None,
        kernel=_is_of_kernel(_text(f"/proc/{pid}/stat")),
        me=os.geteuid(),
        may_look=bool(int(own.get("CapEff") or "0", 16) & SYS_PTRACE),
        contained=" ".join(_text("/proc/self/uid_map").split()) not in {EVERY_UID, ""},
    )


def denial(pid: int, error: Exception, seen: Outside) -> str:
    """Given why a process could not be read, and what is seen of it, return the sentence, with the remedy."""
    if seen.kernel or seen.state == "Z" or seen.group not in {0, pid}:
        return f"cannot check pid {pid}: {_no_server(seen)}"
    if isinstance(error, psutil.NoSuchProcess | ProcessLookupError) or pid <= 0:
        if not seen.exists:
            return f"cannot check pid {pid}: no such process"
        return f"cannot inspect pid {pid}: /proc hides the processes of other users (hidepid); run certagent as root"
    if isinstance(error, psutil.AccessDenied | PermissionError):
        return f"cannot inspect pid {pid}: {_refused(seen)}"
    return f"cannot check pid {pid}: {error}"


def _no_server(seen: Outside) -> str:
    if seen.kernel:
        return "it is a thread of the kernel, which has no certs directory"
    if seen.state == "Z":
        return "it has ended, and its parent has not collected it yet"
    return f"it is a thread of process {seen.group}; certagent check --pid {seen.group}"


def _refused(seen: Outside) -> str:
    """Why the kernel refuses to show a process: to another user, to its own, or to root."""
    if seen.me and seen.uid == seen.me:
        return "the kernel protects it from its own user, as after setuid or with capabilities; run certagent as root"
    if seen.me:
        other = "the user of that process" if seen.uid in {None, 0} else name_of(seen.uid or 0)
        return f"run certagent as root{'' if seen.uid == 0 else f', or as {other}'}"
    if seen.contained:
        return (
            f"this root is that of a user namespace, and the process is outside; run certagent on the host, {BY_HAND}"
        )
    if not seen.may_look:
        why = "this root lacks the capability SYS_PTRACE, as in a container or by a unit's CapabilityBoundingSet"
        return f"{why}; run certagent on the host, {BY_HAND}"
    why = "a security module (Landlock, SELinux, AppArmor) or a sandbox keeps it even from root"
    return f"{why}; run certagent outside of that, {BY_HAND}"


def _known(pid: int) -> bool:
    """Whether the kernel has a process of that number that it does not let us signal."""
    try:
        if pid > 0:  # the others mean groups of processes
            os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return pid > 0


def _is_of_kernel(stat: str) -> bool:
    """By /proc/PID/stat: its flags are the seventh word behind the name."""
    words = stat.rpartition(")")[2].split()
    return len(words) > 6 and bool(int(words[6]) & KERNEL_THREAD)  # noqa: PLR2004 - as said


def _fields(path: str) -> Mapping[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in _text(path).splitlines())}


def _text(path: str) -> str:
    with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read(1 << 16)
    return ""
