"""Act as the owner of a directory: effective ids of this thread only (OpenSSH's temporarily_use_uid).

Raw system calls, because libc's setresuid changes every thread of the process. Root that acts in a directory of
another user could be misused by that user (confused deputy). With the owner's ids the kernel refuses a link to
/etc/shadow.
"""

import ctypes
import os
import pwd
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from certagent.posix.errors import HostError

if TYPE_CHECKING:
    import subprocess

_LIBC = ctypes.CDLL(None, use_errno=True)
_SETGROUPS, _SETRESUID, _SETRESGID = {"x86_64": (116, 117, 119), "aarch64": (159, 147, 149)}.get(
    os.uname().machine, (0, 0, 0)
)
KEEP = -1


def _call(number: int, *arguments: object) -> None:
    if _LIBC.syscall(number, *arguments) != 0:
        code = ctypes.get_errno()
        raise HostError(f"cannot change to the owner's ids: {os.strerror(code)}", code)


def _groups(groups: list[int]) -> None:
    array = (ctypes.c_uint32 * len(groups))(*groups)
    _call(_SETGROUPS, len(groups), array)


@contextmanager
def acting_as(uid: int, gid: int, groups: Sequence[int] | None = None) -> Iterator[None]:
    """Within the block this thread has the effective ids of `uid`, and `groups` (None: those the system knows of it).

    Nothing changes for one's own uid, or where we are not root.
    """
    if os.geteuid() != 0 or uid == 0 or not sys.platform.startswith("linux") or not _SETRESUID:
        yield
        return
    before = os.getgroups()
    _groups(_groups_of(uid, gid) if groups is None else list(groups))
    _call(_SETRESGID, KEEP, gid, KEEP)
    _call(_SETRESUID, KEEP, uid, KEEP)
    try:
        yield
    finally:
        _call(_SETRESUID, KEEP, 0, KEEP)
        _call(_SETRESGID, KEEP, 0, KEEP)
        _groups(before)


@contextmanager
def privileged() -> Iterator[None]:
    """Within an `acting_as` block: root again for a moment, for a file that was opened and judged as the owner."""
    acting = os.geteuid()
    if os.getuid() != 0 or acting == 0:
        yield
        return
    _call(_SETRESUID, KEEP, 0, KEEP)
    try:
        yield
    finally:
        _call(_SETRESUID, KEEP, acting, KEEP)


def _groups_of(uid: int, gid: int) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return [gid]


def kill(child: "subprocess.Popen[bytes]", uid: int, gid: int) -> None:
    """Kill a child that becomes that user: as ourselves before it did, as that user since.

    Root without CAP_KILL, as in the unit, may not signal other users' processes.
    """
    for who in (nullcontext(), acting_as(uid, gid)):
        with suppress(OSError, HostError), who:
            child.kill()


def name_of(uid: int) -> str:
    """The name of a user, its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
