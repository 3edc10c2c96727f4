"""The agent changes a certs-dir only while it holds its lock."""

import errno
import os
import pwd
from contextlib import suppress
from dataclasses import replace
from typing import NoReturn

from certagent.certs_dir.access import denied, denied_to
from certagent.certs_dir.swap import Store
from certagent.core.facts import ObserveOnly, Snapshot, Why
from certagent.posix import locks
from certagent.posix.closing import close
from certagent.posix.directory import SharedError, opened
from certagent.posix.errors import HostError
from certagent.posix.owner import name_of

WHY = {
    errno.EWOULDBLOCK: Why.ANOTHER_AGENT,
    errno.EACCES: Why.FORBIDDEN,
    errno.EPERM: Why.FORBIDDEN,
    errno.EROFS: Why.READ_ONLY,
    errno.ENOSPC: Why.FULL,
    errno.EDQUOT: Why.FULL,
}


def barred(path: str, error: HostError | OSError) -> ObserveOnly:
    """Given a certs-dir and why its staging area cannot be used, return why the directory is observed only."""
    if isinstance(error, SharedError):
        return ObserveOnly(Why.SHARED, error.flaw.clause, "", handed_over(error))
    said = str(error) if isinstance(error, HostError) else f"cannot use the staging area: {error.strerror}"
    found = denied(path, error.errno, write=True)
    return ObserveOnly(WHY.get(error.errno or 0, Why.UNUSABLE), said, found.cause, found.advice)


def barred_to(agent: int, path: str) -> ObserveOnly | None:
    """Why the agent of that user will not be able to change a certs-dir, for commands that look before it runs.

    It is what that agent itself finds out when it takes the lock.
    """
    if agent == 0 == os.geteuid():
        with suppress(OSError):
            if only := closed(path):
                return only
    with suppress(KeyError, HostError):
        if found := denied_to((agent, pwd.getpwuid(agent).pw_gid), path):
            said = f"cannot use {path}/.certagent: {os.strerror(found.code)}"
            return ObserveOnly(WHY[found.code], said, found.cause, found.advice)
    return None


def handed_over(error: SharedError) -> str:
    """Given why root does not change a certs-dir, return which agent does, and how to move it there."""
    if error.uid == 0:
        return error.flaw.command
    user = name_of(error.uid)
    move = f"move its [[certs_dir]] to /etc/certagent/{user}.toml, then: systemctl enable --now certagent@{user}"
    return f"{move} (docs/operations.md); or, where only root is to write it: {error.flaw.command}"


def closed(path: str) -> ObserveOnly | None:
    """Why this agent, if it is root, leaves a certs-dir alone; None where it may change it. Raises OSError."""
    try:
        opened(path, change=True)
    except SharedError as error:
        return barred(path, error)
    return None


class DirectoryLock:
    """The lock of one certs-dir. A directory that was replaced is locked again."""

    def __init__(self, store: Store) -> None:
        """Holds nothing yet."""
        self._store = store
        self._fd: int | None = None
        self._identity: tuple[int, int] | None = None
        self.problem: ObserveOnly | None = None

    def take(self) -> None:
        """Lock the directory that is at the path now; a problem is saved, and raised as HostError.

        Each time it is judged again whether it may be changed: one that was root's alone may have been given away.
        """
        try:
            found = opened(self._store.path, change=True)
        except SharedError as error:
            self._refuse(error)
        except OSError:
            return  # it is missing, or cannot be read: the scan says so
        if self._fd is not None and self._identity == found:
            return
        self.release()
        try:
            self._fd = self._store.lock()
        except (HostError, OSError) as error:
            self._refuse(error)
        self._identity, self.problem = found, None
        with suppress(HostError, OSError):  # what cannot be removed now is removed by the next swap or start
            self._store.sweep()

    def _refuse(self, error: HostError | OSError) -> NoReturn:
        self.release()
        self.problem = barred(self._store.path, error)
        said = self.problem.detail
        if self.problem.why is Why.ANOTHER_AGENT:  # a reason not to start: what to do is said there and then
            said += f"; {self.problem.remedy}"
        raise HostError(said, error.errno) from error

    def retry(self) -> None:
        """As `take`, without raising: the problem is a fact of the next observation."""
        with suppress(HostError):
            self.take()

    def add(self, snapshot: Snapshot) -> Snapshot:
        """Given a snapshot, return it; observed only if the lock could not be taken."""
        directory, problem = snapshot.directory, self.problem
        if problem is None or not directory.exists or (directory.observe_only and problem.why is not Why.SHARED):
            return snapshot
        return replace(snapshot, directory=replace(directory, observe_only=problem))

    def unlock(self) -> None:
        """Release the lock without closing its file, which may wait for its file system."""
        if (fd := self._fd) is not None:
            locks.unlock(fd)

    def release(self) -> None:
        """Release the lock."""
        fd, self._fd, self._identity = self._fd, None, None
        if fd is not None:
            close(fd)
