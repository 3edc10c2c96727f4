"""Which users may ask what, and how many connections may be open."""

import json
import os
import pwd
import socket
import struct
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

Others = Literal["read-only", "refuse"]
READ_ONLY = frozenset({"status", "plan", "history"})
WAITING = 64  # connections of all other users together
PER_UID = 16  # of one of them
TRUSTED = 256  # of root and the agent's user: far below the 1,024 descriptors that a process has by default


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks, by SO_PEERCRED."""

    pid: int
    uid: int
    gid: int

    def __str__(self) -> str:
        """As the log and `history` name it."""
        return f"uid {self.uid}, pid {self.pid}"

    @property
    def trusted(self) -> bool:
        """Root, or the agent's own user."""
        return self.uid in trusted_uids()


def trusted_uids() -> frozenset[int]:
    """Who may give commands: root, and the agent's own user."""
    return frozenset({0, os.geteuid()})


def peer_of(connection: socket.socket) -> Peer:
    """Given a connection, return who made it, by the kernel's word."""
    return Peer(*struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)))


@dataclass(frozen=True, slots=True)
class Asked:
    """What a peer sent."""

    command: str
    arguments: dict[str, Any]


def parsed(line: bytes) -> Asked | None:
    """Given a line from a peer, return the request, None if it is malformed."""
    try:
        request = json.loads(line)
        return Asked(str(request["command"]), dict(request.get("args", {})))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def readable(request: Asked, others: Others) -> bool:
    """Given a request of another user and what those may do, return whether it may be answered."""
    return others == "read-only" and request.command in READ_ONLY


def denied(command: str, uid: int) -> str:
    """Given a command and the agent's user, return why another user is refused."""
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:  # a user without an entry in passwd, as in a container
        user = f"uid {uid}"
    return f"permission denied: {command!r} needs root" + (f" or the agent's user ({user})" if uid else "")


class Admission:
    """The connections that are open, by their owner. One thread calls it."""

    def __init__(self, trusted: frozenset[int]) -> None:
        """None yet. `trusted`: the uids that may give commands."""
        self._open: Counter[int] = Counter()
        self._trusted = trusted

    def take(self, peer: Peer) -> bool:
        """Count one more connection of this peer; False where there are too many."""
        trusted = sum(self._open[uid] for uid in self._trusted)
        others = self._open.total() - trusted
        mine = peer.uid in self._trusted
        full = trusted >= TRUSTED if mine else others >= WAITING or self._open[peer.uid] >= PER_UID
        if not full:
            self._open[peer.uid] += 1
        return not full

    def leave(self, peer: Peer) -> None:
        """One that was taken ended."""
        self._open[peer.uid] -= 1
