"""Where a node is in its cluster: whom it joins, where it tells others to dial it, and the addresses of its host."""

import os

import pytest

from certagent.process.advertising import advertised_at, joins
from certagent.process.arguments import parse
from certagent.process.interfaces import addresses_of, local4, local6

JOINS: list[tuple[str, tuple[str, ...]]] = [
    ("", ()),
    ("--join=db1", ("db1:26257",)),
    ("--join db1:26258,DB2,10.0.0.3", ("db1:26258", "db2:26257", "10.0.0.3:26257")),
    ("--join=db1 --join=db2 --join db1", ("db1:26257", "db2:26257")),
    ("-j db1,db2", ("db1:26257", "db2:26257")),
    ("-jdb1 -j=db2", ("db1:26257", "db2:26257")),
    ("--join=[2001:DB8::1]:26258,[2001:db8::2]", ("[2001:db8::1]:26258", "[2001:db8::2]:26257")),
    ("--join=db1,,db2,", ("db1:26257", "db2:26257")),
    ("--join=db1:99999,http://db2,:26257", ()),
    ("--join=", ()),
    ("--join", ()),
    ("-j", ()),
]
ADVERTISED: list[tuple[str, str]] = [
    ("", "vm:26257"),
    ("--listen-addr=:26258", "vm:26258"),
    ("--listen-addr=db1", "db1:26257"),
    ("--listen-addr=0.0.0.0:26258", "vm:26258"),
    ("--listen-addr=[::]:26258", "vm:26258"),
    ("--listen-addr=[2001:db8::1]:26258", "[2001:db8::1]:26258"),
    ("--advertise-addr=db1:26258 --listen-addr=:26257", "db1:26258"),
    ("--advertise-addr=db1 --listen-addr=:26258", "db1:26258"),
    ("--advertise-addr=:31000 --listen-addr=db1:26258", "db1:31000"),
    ("--advertise-host=DB1 --host=db2:5", "db1:5"),
    ("--listen-addr=localhost:0", ""),
    ("--advertise-addr=a\x1bb", "vm:26257"),
    ("--advertise-addr=db1:many", ""),
]
TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     |-- 10.0.0.4
        /30 link UNICAST
     |-- 10.0.0.5
        /32 link UNICAST
        /32 host LOCAL
     |-- 10.0.0.7
        /32 link BROADCAST
Local:
     |-- 127.0.0.0
        /8 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
"""
IPV6 = """00000000000000000000000000000001 01 80 10 80       lo
20010db8000000000000000000000005 02 40 00 80     eth0
"""


@pytest.mark.parametrize(("line", "expected"), JOINS, ids=[ascii(row[0]) for row in JOINS])
def test_joins_of_every_flag_count(line: str, expected: tuple[str, ...]) -> None:
    """Several flags, lists, both names of the flag; what is no address is passed over."""
    assert joins(["cockroach", "start", *line.split()]) == expected


@pytest.mark.parametrize(("line", "expected"), ADVERTISED, ids=[ascii(row[0]) for row in ADVERTISED])
def test_advertised_address_follows_flags_and_defaults(line: str, expected: str) -> None:
    """Host and port each by --advertise-addr, else --listen-addr, else the host's name and 26257."""
    assert advertised_at(["cockroach", "start", *line.split()], "start", "vm") == expected


def test_advertised_address_that_is_not_known() -> None:
    """A SQL server is no member, and a host without a known name has no address."""
    assert advertised_at(["cockroach", "mt", "start-sql"], "mt start-sql", "vm") == ""
    assert advertised_at(["cockroach", "start"], "start", "") == ""


def test_joins_of_a_stranger_have_bounds() -> None:
    """Another user may pass any number of addresses."""
    words = ",".join(f"db{n}" for n in range(30_000))
    assert len(joins(["cockroach", "start", f"--join={words}", f"--join={words}"])) == 10_000


def test_place_is_read_from_the_arguments() -> None:
    """Whatever else the arguments say."""
    place = parse(["cockroach", "start", "--certs-dir=/c", "--join=db2", "--advertise-addr=db1"], {}, "vm").place
    assert (place.joins, place.advertised, place.addresses) == (("db2:26257",), "db1:26257", ())


def test_addresses_of_a_host_are_its_own_alone() -> None:
    """Neither networks nor broadcast addresses nor routes."""
    assert list(local4(TRIE)) == ["10.0.0.5", "127.0.0.1"]
    assert list(local6(IPV6)) == ["::1", "2001:db8::5"]
    assert list(local4("")) == list(local6("")) == []


def test_addresses_of_a_process_are_those_of_its_namespace() -> None:
    """Our own: at least loopback's; of a process that is gone none."""
    assert "127.0.0.1" in addresses_of(os.getpid())
    assert addresses_of(0) == ()
