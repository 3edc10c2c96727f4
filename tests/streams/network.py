"""Hosts on one bridge, each in a network namespace of its own; the machine's namespace has no part of it."""

import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from tests.servers.process import missing

NET = "10.77.0"
BRIDGES = ("bridge", "other")  # hosts on the one reach nobody on the other
PROGRAMS = ("ip", "unshare", "nsenter")


class Namespace:
    """A network namespace; it ends with the process that holds it, which ends with this one's standard input."""

    def __init__(self) -> None:
        words = ["unshare", "--net", "sh", "-c", "echo made; exec cat"]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"made\n", "no network namespace can be made"
        self.enter = ["nsenter", f"--net=/proc/{self.process.pid}/ns/net"]

    def ip(self, *lines: str) -> None:
        """Commands of `ip` in it."""
        text = "".join(f"{line}\n" for line in lines)
        done = subprocess.run(
            [*self.enter, "ip", "-batch", "-"], input=text, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, f"{text}{done.stderr}"

    def end(self) -> None:
        self.process.communicate()


class Network:
    """The bridge in a namespace, and a namespace for each host."""

    def __init__(self) -> None:
        for name in PROGRAMS:
            if shutil.which(name) is None:
                missing(name, "apt-get install -y iproute2 util-linux")
        self.hosts: dict[str, Namespace] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.bridge = self._made()
        self.bridge.ip(*(line for name in BRIDGES for line in (f"link add {name} type bridge", f"link set {name} up")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _made(self) -> Namespace:
        made = Namespace()
        self._stack.callback(made.end)
        return made

    def add(self, name: str) -> str:
        """A host; return its address."""
        host = self._made()
        address = f"{NET}.{len(self.hosts) + 1}"
        self.hosts[name] = host
        pid = host.process.pid
        made, put = f"link add {name} type veth peer name eth0 netns {pid}", f"link set {name} master {BRIDGES[0]} up"
        self.bridge.ip(made, put)
        host.ip("link set lo up", f"addr add {address}/24 dev eth0", "link set eth0 up")
        return address

    def enter(self, name: str) -> list[str]:
        """What runs a command on a host."""
        return self.hosts[name].enter

    def cut(self, names: Sequence[str]) -> None:
        """These hosts reach nobody, and nobody reaches them."""
        self.bridge.ip(*(f"link set {name} down" for name in names))

    def join(self, names: Sequence[str]) -> None:
        """The opposite."""
        self.bridge.ip(*(f"link set {name} master {BRIDGES[0]} up" for name in names))

    def part(self, names: Sequence[str]) -> None:
        """These hosts reach each other, and nobody else; `join` ends it."""
        self.bridge.ip(*(f"link set {name} master {BRIDGES[1]}" for name in names))
