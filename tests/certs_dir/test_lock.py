"""The lock of a certs-dir, on real directories: a directory that was replaced is another one."""

import errno
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from certagent.certs_dir.lock import DirectoryLock, barred_to
from certagent.certs_dir.swap import Store
from certagent.core.facts import Directory, ObserveOnly, Snapshot, Why
from certagent.posix.as_user import apart
from certagent.posix.errors import HostError
from certagent.sandbox.user import unprivileged
from tests.making import filled, open_way
from tests.system.running import open_tmp

VOLUME = ObserveOnly(Why.KUBERNETES, "links through ..data")


def holding(path: Path) -> DirectoryLock:
    return DirectoryLock(Store(str(path)))


def observed(held: DirectoryLock) -> tuple[Why, str] | None:
    only = held.add(Snapshot(Directory("/certs", exists=True))).directory.observe_only
    return (only.why, only.detail) if only else None


def test_lock_second_agent_only_observes(tmp_path: Path) -> None:
    """The second is told who has the lock, and only observes; it gets the lock when the first releases it."""
    filled(tmp_path / "certs")
    first, second = holding(tmp_path / "certs"), holding(tmp_path / "certs")
    first.take()
    first.take()
    with pytest.raises(HostError) as caught:
        second.take()
    second.retry()
    told = observed(second)
    assert told is not None
    assert f"{told[1]}; {Why.ANOTHER_AGENT.remedy}" == str(caught.value)
    assert (None, Why.ANOTHER_AGENT) == (observed(first), told[0])
    first.release()
    second.retry()
    assert (None, None) == (second.problem, observed(second))
    second.release()


def test_lock_directory_replaced_is_locked_anew(tmp_path: Path) -> None:
    """The new directory is locked anew: a lock on the old one does not count for the new one."""
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
    assert observed(first)
    second.release()
    first.take()
    assert observed(first) is None
    first.release()


@pytest.mark.root
def test_lock_directory_not_writable_is_reported(tmp_path: Path) -> None:
    """EACCES does not mean another agent or another tool: this agent may not change the directory, and says so."""
    certs = tmp_path / "certs"
    certs.mkdir()
    open_way(certs)
    user, group = unprivileged()
    held = holding(certs)

    def tried() -> tuple[str, str]:
        held.retry()
        only = observed(held)
        return (only[0].name, only[1]) if only else ("", "")

    assert apart((user, group), tried) == ["FORBIDDEN", f"cannot use {certs}/.certagent: Permission denied"]


@pytest.mark.root
@pytest.mark.usefixtures("usual_umask")
def test_lock_directory_given_away_is_served_no_longer(tmp_path: Path) -> None:
    """Judged at each turn: root lets go of it, names the agent of the owner, and takes it back when it is root's."""
    certs = tmp_path / "certs"
    filled(certs)
    held = holding(certs)
    held.take()
    user, group = unprivileged()
    os.chown(certs, user, group)
    held.retry()
    assert observed(held) == (Why.SHARED, f"{certs} belongs to nobody, who could change it")
    assert held.problem is not None
    assert "/etc/certagent/nobody.toml, then: systemctl enable --now certagent@nobody" in held.problem.remedy
    assert f"chown root {certs}" in held.problem.remedy
    os.chown(certs, 0, 0)
    held.retry()
    assert (observed(held), held.problem) == (None, None)
    held.release()


@pytest.mark.root
@pytest.mark.usefixtures("usual_umask")
def test_lock_of_owner_is_not_waited_for_by_root(tmp_path: Path) -> None:
    """An owner that locks its own directory stops nobody: root opens no lock of it, whatever it looks like."""
    certs = tmp_path / "certs"
    filled(certs)
    first = holding(certs)
    first.take()
    for kubernetes in (False, True):
        if kubernetes:
            (certs / "..data").symlink_to("x")
        os.chown(certs, *unprivileged())
        second = holding(certs)
        with pytest.raises(HostError) as refused:
            second.take()
        assert refused.value.errno == errno.EPERM
        assert (second.problem or VOLUME).why is Why.SHARED
        os.chown(certs, 0, 0)
    first.release()


@pytest.mark.root
def test_lock_read_only_file_system_is_reported(tmp_path: Path) -> None:
    """EROFS: the mount is the problem, and the directory becomes managed once that is repaired."""
    certs = tmp_path / "certs"
    certs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=0755", "tmpfs", certs], check=True)
    try:
        held = holding(certs)
        held.retry()
        assert (Why.READ_ONLY, f"cannot use {certs}/.certagent: Read-only file system") == observed(held)
        subprocess.run(["mount", "-o", "remount,rw", certs], check=True)
        held.retry()
        assert observed(held) is None
        held.release()
    finally:
        subprocess.run(["umount", "-l", certs], check=False)


@pytest.mark.root
def test_directory_is_barred_to_the_agent_of_another_user(tmp_path: Path) -> None:
    """A command says before the agent runs what will keep it from changing the directory, and nothing where it may."""
    nobody, certs = pwd.getpwnam("nobody"), open_tmp() / "certs"
    try:
        certs.mkdir()
        certs.chmod(0o755)
        found = barred_to(nobody.pw_uid, str(certs))
        assert found is not None
        assert (found.why, found.remedy) == (Why.FORBIDDEN, f"chown nobody {certs}")
        assert f"nobody may not write {certs} (owner root, mode 0755)" in found.reason
        assert barred_to(os.geteuid(), str(certs)) is None
        assert barred_to(1999999, str(certs)) is None
        os.chown(certs, nobody.pw_uid, nobody.pw_gid)
        assert barred_to(nobody.pw_uid, str(certs)) is None
        assert barred_to(nobody.pw_uid, str(tmp_path / "none")) is None
    finally:
        shutil.rmtree(certs.parent)


def read_only(certs: Path, _user: tuple[int, int]) -> None:
    subprocess.run(["mount", "--bind", certs, certs], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", certs], check=True)


def of_root(certs: Path, _user: tuple[int, int]) -> None:
    os.chown(certs, 0, 0)


def area_of_root(certs: Path, _user: tuple[int, int]) -> None:
    (certs / ".certagent").mkdir(mode=0o700)


def open_area_of_root(certs: Path, _user: tuple[int, int]) -> None:
    (certs / ".certagent").mkdir()
    (certs / ".certagent").chmod(0o777)


def lock_of_root(certs: Path, user: tuple[int, int]) -> None:
    (certs / ".certagent").mkdir(mode=0o700)
    os.chown(certs / ".certagent", *user)
    (certs / ".certagent" / "lock").touch(mode=0o600)


def closed_area(certs: Path, user: tuple[int, int]) -> None:
    (certs / ".certagent").mkdir()
    os.chown(certs / ".certagent", *user)
    (certs / ".certagent").chmod(0o500)
    (certs / ".certagent" / "lock").touch(mode=0o400)
    os.chown(certs / ".certagent" / "lock", *user)


def closed_way(certs: Path, _user: tuple[int, int]) -> None:
    certs.parent.chmod(0o700)


MOUNTED = "mount -o remount,bind,rw {certs}; where only the unit makes it read-only, set ReadWritePaths={parent} in a"
CLOSED = {
    read_only: (Why.READ_ONLY, MOUNTED),
    of_root: (Why.FORBIDDEN, "chown nobody {certs}"),
    area_of_root: (Why.FORBIDDEN, "chown -R nobody {certs}/.certagent"),
    open_area_of_root: (Why.FORBIDDEN, "chown -R nobody {certs}/.certagent"),
    lock_of_root: (Why.FORBIDDEN, "chown -R nobody {certs}/.certagent"),
    closed_area: (Why.FORBIDDEN, "chmod u+rw {certs}/.certagent/lock"),
    closed_way: (Why.FORBIDDEN, "chmod o+x {parent}"),
}


@pytest.mark.root
@pytest.mark.usefixtures("usual_umask")
@pytest.mark.parametrize("closes", CLOSED, ids=[each.__name__ for each in CLOSED])
def test_directory_is_barred_to_the_agent_for_the_reason_that_it_finds_itself(
    closes: Callable[[Path, tuple[int, int]], None],
) -> None:
    """What a command says before the agent runs, and what the agent says when it takes the lock, are the same."""
    user = (pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid)
    certs = open_tmp() / "part" / "certs"
    why, remedy = CLOSED[closes]
    try:
        certs.mkdir(parents=True)
        for each in (certs.parent, certs):
            each.chmod(0o755)
        os.chown(certs, *user)
        closes(certs, user)

        def found() -> list[str]:
            held = holding(certs)
            held.retry()
            only = held.problem
            return [only.why.name, only.cause, only.remedy] if only else []

        by_root = barred_to(user[0], str(certs))
        assert by_root is not None
        expected = remedy.format(certs=certs, parent=certs.parent)
        assert (by_root.why, by_root.remedy[: len(expected)]) == (why, expected)
        assert by_root.cause
        if closes is not closed_way:  # the agent sees no directory there, and the scan says so
            assert apart(user, found) == [by_root.why.name, by_root.cause, by_root.remedy]
        if closes is read_only:
            assert barred_to(0, str(certs)) is not None
    finally:
        subprocess.run(["umount", "-q", certs], check=False)
        shutil.rmtree(certs.parent.parent)


@pytest.mark.root
@pytest.mark.usefixtures("usual_umask")
def test_directory_of_another_user_is_barred_to_the_agent_of_root(tmp_path: Path) -> None:
    """What root's agent leaves alone is known before it runs, as `take` says it; mounted read-only, too."""
    certs = tmp_path / "certs"
    filled(certs)
    assert barred_to(0, str(certs)) is None
    read_only(certs, (0, 0))
    try:
        mounted = barred_to(0, str(certs))
        assert mounted is not None
        assert mounted.cause == f"{certs} is read-only: the mount at {certs} is"
    finally:
        subprocess.run(["umount", certs], check=True)
    os.chown(certs, *unprivileged())
    held = holding(certs)
    held.retry()
    assert barred_to(0, str(certs)) == held.problem is not None
