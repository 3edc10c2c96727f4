"""The sockets of a process, and where they listen on TCP, from the tables of a network namespace in /proc.

Optimised: the kernel walks the table of all connections at each read, for some milliseconds. Rejected: psutil's
net_connections, which walks it twice because it reads until nothing comes; and netlink, which the agent's unit has not.
"""

import os
import socket
import struct
from collections.abc import Iterator

LISTEN = b"0A"
STATE, INODE = 3, 9  # the columns
TABLES = {"tcp": (socket.AF_INET, "1I"), "tcp6": (socket.AF_INET6, "4I")}
AT_ONCE = 1 << 16
PAGE = os.sysconf("SC_PAGE_SIZE")
LONGEST = 512  # bytes: no row is as long


def listening(own: frozenset[str], net: str = "/proc/self/net") -> list[tuple[str, int]]:
    """Given the inodes of sockets, return where these listen in the namespace of `net`. Raises OSError."""
    tables = TABLES if own else ()
    return [address for table in tables for address in addresses(_read(f"{net}/{table}"), own, *TABLES[table])]


def addresses(table: bytes, own: frozenset[str], family: int, words: str) -> Iterator[tuple[str, int]]:
    """Given a table and the inodes of sockets, yield where these listen; `words`: of an address of that family."""
    inodes = frozenset(map(str.encode, own))
    for row in map(bytes.split, table.splitlines()):
        if len(row) > INODE and row[STATE] == LISTEN and row[INODE] in inodes:
            host, _, port = row[1].decode("ascii").rpartition(":")
            packed = struct.pack(f">{words}", *struct.unpack(f"={words}", bytes.fromhex(host)))
            yield socket.inet_ntop(family, packed), int(port, 16)


def sockets_of(pid: int) -> frozenset[str]:
    """The inodes of its sockets. Raises OSError."""
    links = _links(f"/proc/{pid}/fd")
    return frozenset(link[8:-1] for link in links if link.startswith("socket:["))


def _links(directory: str) -> Iterator[str]:
    for name in os.listdir(directory):
        try:
            yield os.readlink(f"{directory}/{name}")
        except FileNotFoundError:  # closed meanwhile
            continue


def _read(path: str) -> bytes:
    """A table. The kernel fills a page where there are more rows, so a shorter answer is the last one."""
    fd, found = os.open(path, os.O_RDONLY | os.O_CLOEXEC), list[bytes]()
    try:
        while part := os.read(fd, AT_ONCE):
            found.append(part)
            if len(part) < PAGE - LONGEST:
                break
    finally:
        os.close(fd)
    return b"".join(found)
