"""No private key is in the memory of the daemon, after it has made, installed, offered and copied them."""

import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certagent.x509.keys import load_key
from tests.system.running import Agent, Host
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.root]
LEFT = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) r", re.MULTILINE)


def traces(key: bytes) -> Iterator[bytes]:
    """What shows a P-256 key: its number as files and as OpenSSL have it, and the text that has it in PKCS#8.

    The number is at byte 36 of the DER: in the end of the first line of PEM and the beginning of the second one. What
    follows is the public half, which requests and certificates have too.
    """
    number = load_key(key).private_numbers().private_value  # type: ignore[union-attr]
    yield number.to_bytes(32, "big")
    yield number.to_bytes(32, "little")
    first, second, *_ = key.splitlines()[1:-1]
    assert b64decode(first + second)[36:68] == number.to_bytes(32, "big")
    yield from (first[48:], second[:24])
    yield f"{number:x}".encode()


def memory(pid: int) -> Iterator[bytes]:
    """Each part of the memory of a process that can be read."""
    maps = Path(f"/proc/{pid}/maps").read_bytes()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        for begin, end in LEFT.findall(maps):
            try:
                file.seek(int(begin, 16))
                yield file.read(int(end, 16) - int(begin, 16))
            except (OSError, OverflowError, ValueError):
                continue


def found(pid: int, wanted: dict[str, bytes]) -> set[str]:
    """Which of the keys can be found in a process."""
    sought = [(name, trace) for name, key in wanted.items() for trace in traces(key)]
    return {name for part in memory(pid) for name, trace in sought if trace in part}


@contextmanager
def reader(files: list[Path]) -> Iterator[int]:
    """A process that has read these files."""
    code = "import sys; kept = [open(name, 'rb').read() for name in sys.argv[1:]]; print(flush=True); sys.stdin.read()"
    words = [sys.executable, "-S", "-c", code, *map(str, files)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def issue(host: Host) -> None:
    """The agent creates the CA and the first pairs."""
    wait_until((host.certs / "client.root.crt").exists, "the pairs are issued")
    assert host.run("renew", "node").returncode == 0


def rotate(host: Host) -> None:
    """Renew pairs and roll one back, each verified at a server, which the client's pair is offered to."""
    with host.server():
        for words in (("renew", "node"), ("renew", "client.root"), ("rollback", "node")):
            assert host.run(*words).returncode == 0, words


def examine(host: Host, agent: Agent) -> None:
    """Search the memory of the agent for all keys that there are."""
    files = [p for p in host.base.rglob("*") if p.is_file() and (p.suffix == ".key" or p.name == "key")]
    keys = {str(p.relative_to(host.base)): p.read_bytes() for p in files}
    assert {"ca.key", "node.key", "client.root.key", "key"} <= {Path(name).name for name in keys}
    assert agent.process is not None
    pid = agent.process.pid
    with reader(files) as other:
        assert found(other, keys) == set(keys)
    assert found(pid, keys) == set()
    serial = (host.certs / "node.crt").read_bytes().splitlines()[3]
    assert any(serial in part for part in memory(pid))


def test_daemon_memory_has_no_private_key(host: Host) -> None:
    """The CA is created, pairs are issued, renewed, offered to a server and rolled back; no key stays in the daemon.

    The same search finds a certificate there, and the keys in a process that has read them.
    """
    host.write(clients='["root"]')
    host.make_certs()
    for step in (issue, rotate):
        with host.agent() as agent:
            step(host)
            examine(host, agent)
