"""The certs-dir is replaced under the agent's feet: monitoring resumes within one rescan, and says so."""

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.running import Agent, Host
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
RENAME_EXCHANGE = 2


def move_away(certs: Path) -> None:
    fresh = certs.with_name("fresh")
    shutil.copytree(certs, fresh)
    certs.rename(certs.with_name("gone"))
    fresh.rename(certs)


def exchange(certs: Path) -> None:
    fresh = certs.with_name("fresh")
    shutil.copytree(certs, fresh)
    done = ctypes.CDLL(None).renameat2(-100, os.fsencode(fresh), -100, os.fsencode(certs), RENAME_EXCHANGE)
    assert done == 0


def recreate(certs: Path) -> None:
    keep = certs.with_name("keep")
    shutil.copytree(certs, keep)
    shutil.rmtree(certs)
    shutil.copytree(keep, certs)


def repaired_again(host: Host, agent: Agent) -> None:
    """A wide key in the directory that stands there now is repaired, again and again."""
    for _ in range(2):
        os.chmod(host.certs / "node.key", 0o644)
        wait_until(lambda: os.stat(host.certs / "node.key").st_mode & 0o777 == 0o600, "repaired in the new directory")
    agent.wait_event("watch.rearmed")


@pytest.mark.parametrize("replace", [move_away, exchange, recreate])
def test_watch_directory_replaced(host: Host, replace: Callable[[Path], None]) -> None:
    """Moved away, exchanged, removed and made again: the new directory is watched."""
    host.once()
    with host.agent() as agent:
        replace(host.certs)
        repaired_again(host, agent)


def test_watch_symlink_retargeted(host: Host) -> None:
    """A certs directory behind a link: the target is watched, and the next target after the link was moved."""
    host.once()
    real, other = host.base / "real", host.base / "other"
    host.certs.rename(real)
    shutil.copytree(real, other)
    host.certs.symlink_to(real)
    with host.agent() as agent:
        os.chmod(real / "node.key", 0o644)
        wait_until(lambda: os.stat(real / "node.key").st_mode & 0o777 == 0o600, "repaired through the link")
        (host.base / "link").symlink_to(other)
        os.rename(host.base / "link", host.certs)
        repaired_again(host, agent)


@pytest.mark.root
def test_watch_directory_mounted_over(host: Host) -> None:
    """A file system mounted over the certs directory is the certs directory from then on."""
    host.once()
    copy = host.base / "copy"
    shutil.copytree(host.certs, copy)
    with host.agent("unshare", "--mount", "--propagation", "private") as agent:
        assert agent.process is not None
        enter = ["nsenter", "--mount", f"--target={agent.process.pid}"]
        subprocess.run([*enter, "mount", "--bind", copy, host.certs], check=True)
        agent.wait_event("watch.rearmed")
        os.chmod(copy / "node.key", 0o644)
        wait_until(lambda: os.stat(copy / "node.key").st_mode & 0o777 == 0o600, "repaired in what is mounted")


def test_watch_directory_appears_later(host: Host) -> None:
    """A directory that appears later is found by the rescan."""
    with host.agent() as agent:
        agent.wait_event("finding.appeared", lambda e: e["code"] == "dir.missing")
        host.make_certs()
        agent.wait_event("pair.installed", lambda e: e["file"] == "node")
        wait_until(lambda: "dir.missing" not in host.codes(), "it clears")


LIMIT = "/proc/sys/user/max_inotify_instances"
WITHOUT = ("unshare", "--user", "--map-root-user", "sh", "-c", f'echo 0 > {LIMIT}; exec "$@"', "sh")


@pytest.mark.root
def test_watch_inotify_exhausted_is_polled(host: Host) -> None:
    """Polling: reported as degraded, repaired within one rescan anyway; with instances again it watches by itself."""
    host.once()
    with host.agent(*WITHOUT) as agent:
        assert agent.process is not None
        wait_until(lambda: "watch.degraded" in host.codes(), "it is told")
        os.chmod(host.certs / "node.key", 0o644)
        wait_until(lambda: os.stat(host.certs / "node.key").st_mode & 0o777 == 0o600, "repaired by the rescan")
        enter = ["nsenter", "--user", "--preserve-credentials", f"--target={agent.process.pid}"]
        subprocess.run([*enter, "sh", "-c", f"echo 100 > {LIMIT}"], check=True)
        agent.wait_event("watch.rearmed")
        wait_until(lambda: "watch.degraded" not in host.codes(), "it clears")


def test_watch_inotify_queue_overflow_is_noticed(host: Host) -> None:
    """More events than the kernel keeps: the one about the key is lost, and the key is repaired without a rescan."""
    host.once()
    host.config.write_text(host.config.read_text().replace("rescan = '1s'", "rescan = '1h'"))
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    with host.agent() as agent:
        assert agent.process is not None
        os.chmod(host.certs / "node.key", 0o644)
        agent.wait_event("mode.repaired")
        agent.process.send_signal(signal.SIGSTOP)
        for n in range(limit // 3 + 1000):  # created, opened, closed: three events each
            os.close(os.open(host.certs / f"{n}.tmp", os.O_CREAT | os.O_WRONLY))
        os.chmod(host.certs / "node.key", 0o644)
        agent.process.send_signal(signal.SIGCONT)
        wait_until(lambda: os.stat(host.certs / "node.key").st_mode & 0o777 == 0o600, "the second repair")


def test_watch_chmod_event_repairs_mode(host: Host) -> None:
    """chmod is an event of its own: the repair does not wait for a rescan, which is an hour away."""
    host.once()
    host.config.write_text(host.config.read_text().replace("rescan = '1s'", "rescan = '1h'"))
    with host.agent() as agent:
        os.chmod(host.certs / "node.key", 0o644)
        assert agent.wait_event("mode.repaired")["file"] == "node.key"
