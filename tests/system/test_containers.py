"""Processes and files in namespaces of their own: what is compared is device and inode, never a path."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.system.running import Host, unmount
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.root]
CONTAINER = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL", "sh", "-c")
BOUND = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'


def reloads(log: Path) -> int:
    return log.read_text().count('"event": "reload"') if log.exists() else 0


def test_container_with_bind_mounted_directory(host: Host) -> None:
    """Its own pid and mount namespace, another path: found, signalled, and it serves the pair that was swapped in."""
    host.once()
    inside = host.base / "inside"
    inside.mkdir()
    prefix = (*CONTAINER, BOUND, "sh", str(host.certs), str(inside))
    with host.server(certs=inside, prefix=prefix) as server, host.agent():
        wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        before = server.served()
        assert os.listdir(inside) == []  # here the path is another directory
        assert host.run("renew", "node").returncode == 0
        assert server.served() == host.file("node")["fingerprint"] != before
        assert reloads(Path(server.log_path)) == 1


@pytest.mark.parametrize("where", ["from elsewhere", "onto itself"])
def test_container_single_file_bind_mount_is_foreign(host: Host, where: str) -> None:
    """No rename can replace it: `dir.foreign`, nothing is issued or repaired; unmounted, it is managed again."""
    host.write(house="lifetime = '6s'")
    host.once()
    key = host.certs / "node.key"
    source = key
    if where == "from elsewhere":
        source = host.base / "node.key"
        source.write_bytes(key.read_bytes())
    os.chmod(source, 0o644)
    subprocess.run(["mount", "--bind", source, key], check=True)
    try:
        with host.agent() as agent:
            found = agent.wait_event("finding.appeared", lambda e: e["code"] == "dir.foreign")
            assert "node.key is a mount point" in found["reason"]
            agent.wait_event("finding.appeared", lambda e: e["code"] == "cert.expired")
            assert agent.events("issue.started") == []
            assert os.stat(key).st_mode & 0o777 == 0o644
            unmount(key)
            agent.wait_event("pair.installed", lambda e: e["file"] == "node")
            wait_until(lambda: "dir.foreign" not in host.codes(), "it clears")
    finally:
        subprocess.run(["umount", "-q", key], check=False)
