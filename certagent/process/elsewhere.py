"""The ports of a process in another network namespace, as in a container: they listen, and cannot be dialled from here.

psutil looks into the agent's own namespace alone, in which such a process has no listener for ever.
"""

import os
from collections.abc import Iterable

LISTEN = "0A"
TABLES = ("tcp", "tcp6")


def listening_elsewhere(pid: int, known: frozenset[str] | None = None) -> tuple[int, ...]:
    """The ports on which a process listens in a network namespace that is not ours. `known`: its sockets, if known."""
    try:
        if os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            return ()
        own, found = _sockets(pid) if known is None else known, set[int]()
        for table in TABLES:
            with open(f"/proc/{pid}/net/{table}") as file:
                found |= ports(file, own)
    except OSError:
        return ()
    return tuple(sorted(found))


def ports(table: Iterable[str], own: frozenset[str]) -> set[int]:
    """Given the lines of /proc/PID/net/tcp and the inodes of sockets, return the ports on which these listen."""
    rows = (line.split() for line in table)
    return {int(r[1].rpartition(":")[2], 16) for r in rows if len(r) > 9 and r[3] == LISTEN and r[9] in own}  # noqa: PLR2004 - the inode's column


def _sockets(pid: int) -> frozenset[str]:
    """The inodes of its sockets. Raises OSError."""
    targets = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            targets.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:  # closed meanwhile
            continue
    return frozenset(t.removeprefix("socket:[").removesuffix("]") for t in targets if t.startswith("socket:["))
