"""Who the members are: by which source, without this host, and how many are live by the server's own word."""

from datetime import timedelta
from typing import Any

import pytest

from certagent.core.facts import Listener, LoaderFlags, Look, Members, Place, Process
from certagent.core.members import UNREAD, Listing, listing, own_addresses, with_members
from certagent.core.policy import RotationRule
from tests.core.building import NOW, process, served, snapshot

FILE = Listing(addresses=("db1:26257", "db2:26257"))
JOINED = Place(joins=("db1:26257", "db3:26257"), advertised="db1:26257", addresses=("10.0.0.5", "127.0.0.1"))


def members(rule: RotationRule, *processes: Process, file: Listing | None = None, **changes: Any) -> Members:
    """The members of a snapshot with these processes, on db1."""
    return with_members(snapshot(processes=processes, **changes), rule, "db1", file).members


def test_members_are_those_of_the_first_place_that_names_somebody() -> None:
    """`peers`, even none; else the file, whatever it says; else --join of all own processes; else nobody knows."""
    joined = process(place=JOINED)
    assert members(RotationRule(peers=("db2:26257",)), joined).source == "peers"
    assert members(RotationRule(peers=()), joined) == Members(source="peers", own="db1:26257")
    found = members(RotationRule(peers_file="/peers"), joined, file=FILE)
    assert (found.source, found.listed, found.problem) == ("peers_file", ("db2:26257",), None)
    found = members(RotationRule(), joined)
    assert (found.source, found.listed, found.own) == ("join", ("db3:26257",), "db1:26257")
    assert members(RotationRule(), process()) == Members()
    assert members(RotationRule()) == Members()


def test_members_of_a_file_that_is_not_read() -> None:
    """Not yet, or not at all: the reason is known, and what could be read is shown."""
    rule = RotationRule(peers_file="/peers")
    assert members(rule).problem == f"/peers: {UNREAD}"
    bad = Listing(addresses=("db2:26257",), problem="line 2: no")
    found = members(rule, file=bad)
    assert (found.listed, found.problem) == (("db2:26257",), "/peers: line 2: no")


def test_strangers_name_no_members() -> None:
    """Anybody may start a program with any --join, and serve any metric."""
    stranger = process(place=JOINED, strange=True)
    told = served(live_nodes=7, process=stranger.identity)
    assert members(RotationRule(), stranger, served=(told,)) == Members()


def test_number_of_live_nodes_is_the_newest_that_was_read() -> None:
    """Of the own processes; an answer without it, as that of the SQL port, is passed over."""
    old = served(live_nodes=3, at=NOW - timedelta(minutes=9))
    new = served(live_nodes=0, at=NOW - timedelta(minutes=1))
    found = members(RotationRule(), process(), served=(new, old, served(at=NOW)))
    assert (found.live, found.live_at) == (0, new.at)
    assert members(RotationRule(), process(), served=(served(),)).live is None


def test_looks_stay_with_the_members() -> None:
    """They were remembered before."""
    look = Look(address="db2:26257", at=NOW, stem="node", offered="node-1", outcome="accepted")
    assert members(RotationRule(), members=Members(looks=(look,))).looks == (look,)


def test_servers_of_one_directory_are_all_this_host() -> None:
    """Three nodes on one host that share a certs directory: none of them is another host's."""
    ports = (26257, 26258, 26259)
    three = [
        process(pid=p, listeners=(Listener("127.0.0.1", p),), place=Place(joins=tuple(f"localhost:{q}" for q in ports)))
        for p in ports
    ]
    found = members(RotationRule(), *three)
    assert (found.listed, found.own, found.here) == ((), "localhost:26257", 3)


OWN = [
    ("db1:26257", True),
    ("db1:26258", False),
    ("db1.example.com:26257", True),
    ("public:31000", True),
    ("public:26257", False),
    ("10.0.0.5:26257", True),
    ("[2001:db8::5]:26257", True),
    ("localhost:26257", True),
    ("127.0.0.1:26257", True),
    ("127.0.0.1:26258", False),
    ("10.0.0.6:26257", False),
    ("db2:26257", False),
]


@pytest.mark.parametrize(("address", "own"), OWN)
def test_this_host_is_found_by_each_of_its_names(address: str, own: bool) -> None:
    """Its host name, what it advertises, and every address of a server that may listen at all of them."""
    place = Place(advertised="public:31000", addresses=("10.0.0.5", "127.0.0.1", "2001:db8::5"))
    here = process(
        listeners=(Listener("127.0.0.1", 26257),), place=place, terms=LoaderFlags(advertised=("DB1.example.com",))
    )
    assert (address in own_addresses((here,), "DB1")) is own
    assert members(RotationRule(peers=(address,)), here).listed == (() if own else (address,))


def test_server_of_one_address_is_not_its_neighbour() -> None:
    """A second node of the host listens at another address of it, with the same port."""
    place = Place(addresses=("10.0.0.5", "10.0.0.6", "127.0.0.1"))
    here = process(listeners=(Listener("10.0.0.5", 26257),), place=place)
    found = members(RotationRule(peers=("10.0.0.5:26257", "10.0.0.6:26257", "127.0.0.1:26257")), here)
    assert (found.listed, found.own) == (("10.0.0.6:26257", "127.0.0.1:26257"), "10.0.0.5:26257")


def test_host_without_a_server_is_found_by_its_name() -> None:
    """With the port that cockroach has by default; without a name it is none of them."""
    assert members(RotationRule(peers=("db1:26257", "db2:26257"))).listed == ("db2:26257",)
    assert own_addresses((), "") == frozenset()


LISTS = [
    ("db1\ndb2:26258\n", ("db1:26257", "db2:26258"), ""),
    ("# ours\n\n  db1  # the first\r\nDB1:26257\n[::1]\n", ("db1:26257", "[::1]:26257"), ""),
    ("", (), "it has no address"),
    ("# nobody yet\n", (), "it has no address"),
    ("db1\ndb2:0\ndb 3\n", ("db1:26257",), "line 2: '0' is no port from 1 to 65535"),
    ("db1,db2\n", (), "line 1: write host:port, such as db2:26257 or [2001:db8::2]:26257"),
    ("\x00", (), "line 1: write host:port, such as db2:26257 or [2001:db8::2]:26257"),
]


@pytest.mark.parametrize(("text", "addresses", "problem"), LISTS)
def test_file_of_members(text: str, addresses: tuple[str, ...], problem: str) -> None:
    """One address on each line, each once; comments count for nothing, and the first mistake is told."""
    assert listing(text) == Listing(addresses=addresses, problem=problem)
