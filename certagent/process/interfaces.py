"""The addresses of the host of a process: those of its network namespace, which may be a container's.

Read from /proc, as the agent's unit has no netlink.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv6Address

LIMIT = 1 << 20  # bytes: a router with a table of the whole internet is not read to the end
LOCAL6 = re.compile(r"^([0-9a-f]{32}) ", re.MULTILINE)


def addresses_of(pid: int) -> tuple[str, ...]:
    """The addresses in canonical text; () where they cannot be read."""
    found = [*local4(_read(pid, "fib_trie")), *local6(_read(pid, "if_inet6"))]
    return tuple(sorted(set(found)))


def local4(trie: str) -> Iterator[str]:
    """Given /proc/PID/net/fib_trie, yield the host's own IPv4 addresses."""
    last = ""
    for words in map(str.split, trie.splitlines()):
        if words[:1] == ["|--"]:
            last = words[-1]
        elif words == ["/32", "host", "LOCAL"]:
            yield last


def local6(table: str) -> Iterator[str]:
    """Given /proc/PID/net/if_inet6, yield the host's own IPv6 addresses."""
    return (str(IPv6Address(int(found[1], 16))) for found in LOCAL6.finditer(table))


def _read(pid: int, table: str) -> str:
    with suppress(OSError), open(f"/proc/{pid}/net/{table}", encoding="ascii", errors="replace") as file:
        return file.read(LIMIT)
    return ""
