"""Modes of live files.

O_PATH and O_NOFOLLOW, then chmod through /proc/self/fd: a link put there meanwhile leads nowhere. Rejected: lstat,
then chmod by path, which a race turned on /etc/shadow in 16,673 of 301,541 tries.
"""

import os
import stat
from contextlib import nullcontext
from dataclasses import dataclass

from certagent.posix.closing import close
from certagent.posix.directory import open_directory
from certagent.posix.errors import HostError
from certagent.posix.owner import acting_as

LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a repair finds. `exposed`: root would act where others may give a second name to a file not theirs."""

    regular: bool
    names: int
    as_root: bool
    exposed: bool


def refusal(file: str, found: Found) -> str | None:
    """Given what is found, return why its mode must not be changed, None where it may."""
    if found.exposed:
        return f"cannot restrict {file} as root: fs.protected_hardlinks is 0; set it to 1"
    if not found.regular:
        return f"cannot restrict {file}: it is not a regular file"
    if found.names > 1 and found.as_root:
        return f"cannot restrict {file} as root: it has {found.names} hard links; remove the others"
    return None


def restrict(path: str, file: str, mode: int) -> None:
    """Give one regular file of a directory a mode. Raises HostError, OSError.

    It is done with the ids of the directory's owner where the file is that user's: they permit no more than that.
    """
    directory = open_directory(path, change=True)
    try:
        owner = os.fstat(directory)
        own = os.stat(file, dir_fd=directory, follow_symlinks=False).st_uid == owner.st_uid
        with acting_as(owner.st_uid, owner.st_gid) if own else nullcontext():
            fd = os.open(file, LOOK, dir_fd=directory)
            try:
                _change(fd, file, mode, exposed=_exposed(owner.st_uid))
            finally:
                close(fd)
    finally:
        close(directory)


def _change(fd: int, file: str, mode: int, *, exposed: bool) -> None:
    info = os.fstat(fd)
    regular, as_root = stat.S_ISREG(info.st_mode), os.geteuid() == 0
    if problem := refusal(file, Found(regular=regular, names=info.st_nlink, as_root=as_root, exposed=exposed)):
        raise HostError(problem)
    os.chmod(f"/proc/self/fd/{fd}", mode)


def _exposed(owner: int) -> bool:
    """Whether root acts in the directory of another user, and the kernel protects no hard links there."""
    return os.geteuid() == 0 and owner != 0 and not _links_protected()


def _links_protected() -> bool:
    """Whether the kernel forbids hard links to other users' files; counting the links could be raced."""
    try:
        with open("/proc/sys/fs/protected_hardlinks") as file:
            return file.read().strip() != "0"
    except OSError:
        return False
