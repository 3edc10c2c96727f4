"""What only its own user may see of a process, where the agent is root without the capabilities to see it.

Environment and descriptors of other users' processes would need CAP_DAC_READ_SEARCH, which opens every file of the
host. A child that has become the user of the process needs none.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from certagent.posix.as_user import run_as
from certagent.posix.errors import HostError

PATIENCE = 3.0
PORTS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenByUser:
    """The environment of a process, where it listens on TCP here, and the inodes of its sockets."""

    environ: Mapping[str, str]
    addresses: tuple[tuple[str, int], ...]
    sockets: frozenset[str]


def seen_by_user(pid: int, user: tuple[int, int]) -> SeenByUser | None:
    """Given a process and its user (uid, gid), return what that user sees; None where it is not to be had."""
    if os.geteuid() != 0 or user[0] == 0:
        return None
    with suppress(HostError, ValueError, TypeError, KeyError):
        return parsed(json.loads(run_as(user, ["look", str(pid)], deadline=PATIENCE)))
    return None


def parsed(told: dict[str, Any]) -> SeenByUser:
    """Given what the child printed, return it where each part is what it may be. ValueError, TypeError, KeyError."""
    words = bytes.fromhex(told["environ"]).split(b"\0")
    pairs = (os.fsdecode(word).partition("=") for word in words if b"=" in word)
    addresses = tuple((str(host), int(port)) for host, port in told["listeners"])
    if any(not 0 < port < PORTS for _, port in addresses):
        raise ValueError("not a port")
    environ, sockets = {name: value for name, _, value in pairs}, frozenset(map(str, told["sockets"]))
    return SeenByUser(environ=environ, addresses=addresses, sockets=sockets)
