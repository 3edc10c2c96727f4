"""The lock of a certs-dir, on real directories: a directory that was replaced is another one."""

from pathlib import Path

import pytest

from certagent.certs_dir.lock import DirectoryLock
from certagent.certs_dir.swap import Store
from certagent.core.facts import Directory, Snapshot
from certagent.posix.errors import HostError
from tests.making import filled


def holding(path: Path) -> DirectoryLock:
    return DirectoryLock(Store(str(path)))


def foreign(held: DirectoryLock) -> str | None:
    return held.add(Snapshot(Directory("/certs", exists=True))).directory.foreign


def test_one_agent_at_a_time(tmp_path: Path) -> None:
    """The second is told who holds it, and only observes; it gets the lock when the first lets go."""
    filled(tmp_path / "certs")
    first, second = holding(tmp_path / "certs"), holding(tmp_path / "certs")
    first.take()
    first.take()
    with pytest.raises(HostError) as caught:
        second.take()
    second.retry()
    assert (None, str(caught.value)) == (foreign(first), foreign(second))
    first.release()
    second.retry()
    assert (None, None) == (second.problem, foreign(second))
    second.release()


def test_a_directory_that_was_replaced(tmp_path: Path) -> None:
    """It is locked anew: whoever held the old one holds nothing of the new one."""
    certs = tmp_path / "certs"
    filled(certs)
    first, second = holding(certs), holding(certs)
    first.take()
    certs.rename(tmp_path / "old")
    first.take()
    filled(certs)
    second.take()
    with pytest.raises(HostError):
        first.take()
    assert foreign(first)
    second.release()
    first.take()
    assert foreign(first) is None
    first.release()
