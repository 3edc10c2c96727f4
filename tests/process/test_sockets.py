"""Where a process listens on TCP, as the tables in /proc have it."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from certagent.process.sockets import TABLES, addresses, listening, sockets_of

TABLE = b"""  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:6691 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1
   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4343 1
   2: 0100007F:6691 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 4444 1
   3: 0100007F
"""
TABLE6 = b"""  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:6691 00000000000000000000000000000000:0000 0A 0:0 00:0 0 1000 0 4242 1
   1: 0000000000000000FFFF00000100007F:6692 00000000000000000000000000000000:0000 0A 0:0 00:0 0 1000 0 4243 1
"""
MANY = 100  # rows: some pages


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    """They are closed with the test."""
    with ExitStack() as opened:
        yield opened


def test_sockets_listening_are_read_from_the_table() -> None:
    """Those of the process, not those of its neighbours, nor its connections."""
    own = frozenset({"4242", "4243", "4444"})
    assert list(addresses(TABLE, own, *TABLES["tcp"])) == [("127.0.0.1", 0x6691)]
    assert list(addresses(TABLE6, own, *TABLES["tcp6"])) == [("::1", 0x6691), ("::ffff:127.0.0.1", 0x6692)]


def test_sockets_of_this_process_are_found_in_a_table_of_many_pages(sockets: ExitStack) -> None:
    """Every one that listens, of both families; the table ends in its last page, whatever that contains."""
    made = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(MANY)]
    made.append(sockets.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6)))
    silent = sockets.enter_context(socket.socket())
    own = frozenset(str(os.fstat(s.fileno()).st_ino) for s in (*made, silent))
    assert own <= sockets_of(os.getpid())
    assert sorted(listening(own)) == sorted(s.getsockname()[:2] for s in made)
    assert listening(frozenset()) == []
