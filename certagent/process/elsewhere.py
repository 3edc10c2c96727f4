"""The ports of a process in another network namespace, as in a container: they listen, and cannot be dialled from here.

In the agent's own namespace such a process has no listener for ever.
"""

import os

from certagent.process.sockets import listening, sockets_of


def listening_elsewhere(pid: int, known: frozenset[str] | None = None) -> tuple[int, ...]:
    """The ports on which a process listens in a network namespace that is not ours. `known`: its sockets, if known."""
    try:
        if os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            return ()
        own = sockets_of(pid) if known is None else known
        return tuple(sorted({port for _, port in listening(own, f"/proc/{pid}/net")}))
    except OSError:
        return ()
