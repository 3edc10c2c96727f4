"""Metrics in a file for node_exporter's textfile collector: written after each turn of the loop, without a port.

A thread makes and writes them, so that neither a directory that hangs nor a mistake in them delays a renewal. The file
stays where it is when the agent ends: how old its last turn is shows that. It is not synced: after a power cut it is
written again within seconds. Rejected: prometheus-client, which took 1.3 MB of the agent's 37 (import, Python 3.11) for
the twenty lines of `exposition`; the tests hold those to it.
"""

import errno
import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime

from certagent.agent.own_unit import read_only_remedy
from certagent.authority.client import hangs
from certagent.core.catalogue import METRICS_UNWRITABLE
from certagent.core.findings import Finding
from certagent.core.status import rfc3339
from certagent.posix.background import BackgroundReader
from certagent.posix.directory import DIRECTORY
from certagent.posix.errors import HostError
from certagent.posix.trusted import distrust

READERS = ("prometheus", "node_exporter", "node-exporter")  # as whom packages run the exporter
REMEDIES = {
    errno.ENOENT: "create it",
    errno.EACCES: "let the agent's user write it",
    errno.EPERM: "remove the file of another user",
}
CHANGED = "metrics changed"  # that they can be written, or cannot


class Textfile:
    """One file. Only the main loop calls it."""

    def __init__(self, agent: str, text: Callable[[], str], wake: Callable[[str], None] = lambda _: None) -> None:
        """Writes nothing yet. `agent`: the name of the agent; `text`: what is written, asked in another thread.

        `wake` hears when the finding appears or ends, so that `status` says it at once; it must not wait.
        """
        self._name, self._text, self._wake = f"certagent-{agent}.prom", text, wake
        self._problem = ""
        self._writing: BackgroundReader[str] | None = None
        self._directory = ""

    def turned(self, directory: str, now: datetime) -> None:
        """The loop turned: begin to write the metrics of this moment into a directory; "": none are wanted."""
        if directory != self._directory:
            self._directory = directory
            self._writing = self._into(directory) if directory else None
        if self._writing:
            self._writing.begin(now)

    def wait(self, seconds: float) -> None:
        """Wait until something was written once, at most so long."""
        if self._writing:
            self._writing.wait(seconds)

    def findings(self, now: datetime) -> tuple[Finding, ...]:
        """Why the file is not the newest, where it is not."""
        if not self._writing:
            return ()
        since = self._writing.since
        hung = f"{self._directory} has not responded since {rfc3339(since)}" if hangs(self._writing, now) else ""
        problem = hung or self._writing.found
        return (METRICS_UNWRITABLE.found("", f"metrics are not written: {problem}"),) if problem else ()

    def _into(self, directory: str) -> BackgroundReader[str]:
        def write() -> str:
            try:
                write_file(directory, self._name, self._text())
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing else depends on it
                return _problem(directory, error)
            return ""

        def changed() -> None:
            found = self._writing.found if self._writing else None
            before, self._problem = self._problem, found or ""
            if before != self._problem:
                self._wake(CHANGED)

        return BackgroundReader(f"the metrics: {directory}", write, changed, lambda: (directory,))


def _problem(directory: str, error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error) if isinstance(error, HostError) else f"{type(error).__name__}: {error}"
    remedy = read_only_remedy(directory) if error.errno == errno.EROFS else REMEDIES.get(error.errno or 0)
    return f"{directory}: {error.strerror}" + (f"; {remedy}" if remedy else "")


def write_file(directory: str, name: str, text: str) -> None:
    """Put a file into a directory, mode 0644, so that a reader sees all of it or the one before.

    Nobody but root, our own user and the user of the exporter may have been able to put another directory there; where
    we are root, nobody but root. What others put into it is replaced, and never followed. Raises HostError, OSError.
    """
    if problem := distrust(directory, () if os.geteuid() == 0 else _readers()):
        raise HostError(problem)
    folder, part = os.open(directory, DIRECTORY), f".{name}.tmp"  # by that ending the exporter passes over it
    try:
        with suppress(FileNotFoundError):
            os.unlink(part, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(part, flags, 0o644, dir_fd=folder), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)  # whatever the umask
            file.write(text)
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(part, dir_fd=folder)
        raise
    finally:
        os.close(folder)


def _readers() -> Iterator[int]:
    """The uids of those of them that this host has."""
    for name in READERS:
        with suppress(KeyError):
            yield pwd.getpwnam(name).pw_uid
