"""Act as another user where we are root: in a child that becomes that user for good, never in this process.

Rejected: effective ids of one thread for a moment. Root would still be one forgotten call away, and the capabilities
for that are the same.
"""

import json
import os
import pwd
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from certagent.posix.errors import HostError

CHILD = str(Path(__file__).with_name("as_user_child.py"))
PATIENCE = 5.0
TASK = 30.0  # seconds for what a command has done
User = tuple[int, int]  # uid, gid
MOST_LEFT = 4
_left: list[tuple[int, "subprocess.Popen[bytes]"]] = []  # by uid: children that did not finish in time


def run_as(user: User, words: Sequence[str], fds: Sequence[int] = (), deadline: float = PATIENCE) -> bytes:
    """Have the child do one thing as a user, and return what it printed. Raises HostError."""
    _left[:] = [(uid, child) for uid, child in _left if child.poll() is None]
    if [uid for uid, _ in _left].count(user[0]) >= MOST_LEFT:
        raise HostError(f"{MOST_LEFT} children of uid {user[0]} do not finish; who stops them?")
    command = [sys.executable, "-I", "-S", CHILD, *map(str, user), *words]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    try:
        child = subprocess.Popen(command, pass_fds=fds, stdin=nothing, stdout=pipe, stderr=pipe)
    except OSError as error:
        raise HostError(f"cannot start a child process: {error.strerror}", error.errno) from error
    try:
        printed, errors = child.communicate(timeout=deadline)
    except subprocess.TimeoutExpired as error:
        _abandon(user[0], child)
        raise HostError(f"the child of uid {user[0]} did not finish within {deadline:g} s") from error
    if child.returncode != 0:
        last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise HostError(last or f"the child of uid {user[0]} ended with {child.returncode}")
    return printed


def _abandon(uid: int, child: "subprocess.Popen[bytes]") -> None:
    """Its user may stop it, and root without CAP_KILL cannot kill it then; so few of them are left behind."""
    with suppress(PermissionError):
        child.kill()
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()
    _left.append((uid, child))


def apart(user: User, task: Callable[[], Any], groups: Sequence[int] | None = None, deadline: float = TASK) -> Any:
    """Do a task as a user, and return what it returned, by way of JSON. For commands, which have one thread.

    In this process, where we are not root or the user is. Raises HostError where the task raises anything, or is not
    done in time: its user may stop the child.
    """
    if not becomes_other(user):
        return task()
    reading, writing = os.pipe()
    pid = forked(user, lambda: _tell(writing, task), groups)
    os.close(writing)
    told = _heard(reading, time.monotonic() + deadline)
    if told is None:
        with suppress(PermissionError):
            os.kill(pid, signal.SIGKILL)
        raise HostError(f"the child of uid {user[0]} did not finish within {deadline:g} s")
    os.waitpid(pid, 0)
    try:
        found = json.loads(told)
    except ValueError as error:
        raise HostError(f"a child of uid {user[0]} ended without an answer") from error
    if "error" in found:
        raise HostError(found["error"])
    return found["done"]


def _heard(reading: int, end: float) -> bytes | None:
    """All that comes through a pipe until its other end is closed; None where it is not by then (monotonic)."""
    told = b""
    with os.fdopen(reading, "rb", buffering=0) as file:
        while select.select([file], [], [], max(0.0, end - time.monotonic()))[0]:
            part = file.read(1 << 16)
            if not part:
                return told
            told += part
    return None


def _tell(writing: int, task: Callable[[], Any]) -> None:
    try:
        told = {"done": task()}
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent says it
        told = {"error": str(error) or type(error).__name__}
    with os.fdopen(writing, "wb") as file:
        file.write(json.dumps(told).encode())


def becomes_other(user: User) -> bool:
    """Whether a child of ours that is to be that user has to become it."""
    return os.geteuid() == 0 and user[0] != 0


def forked(user: User, task: Callable[[], None], groups: Sequence[int] | None = None) -> int:
    """Fork a child that becomes that user for good and does a task; return its pid.

    `groups`: those of the user, None: as the system knows them.
    """
    known = groups_of(*user) if groups is None else groups
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            os.setgroups(known)
            os.setresgid(user[1], user[1], user[1])
            os.setresuid(user[0], user[0], user[0])
            task()
        os._exit(0)
    return pid


def join(groups: Iterable[int]) -> None:
    """Be in these groups from now on, where we are root: so root gives its files to them without CAP_CHOWN."""
    missing = set(groups) - set(os.getgroups())
    if os.geteuid() == 0 and missing:
        with suppress(PermissionError):
            os.setgroups([*os.getgroups(), *sorted(missing)])


def groups_of(uid: int, gid: int) -> list[int]:
    """The groups of a user; of one without a name its own alone."""
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return [gid]
