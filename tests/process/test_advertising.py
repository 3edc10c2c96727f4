"""Which hosts cockroach advertises: rows of its own rules for flags, aliases and defaults."""

import os

import pytest

from certagent.process.advertising import advertised, advertised_http, hostname_of
from certagent.process.arguments import parse

ROWS: list[tuple[str, tuple[str, ...]]] = [
    ("", ("vm",)),
    ("--listen-addr=:26257", ("vm",)),
    ("--listen-addr=0.0.0.0:26257", ()),
    ("--listen-addr [::]:26257", ()),
    ("--listen-addr=db1:26257", ("db1",)),
    ("--listen-addr=db1", ("db1",)),
    ("--listen-addr=[fe80::1]:26257", ("fe80::1",)),
    ("--host=db1 --listen-addr=db2", ("db2",)),
    ("--listen-addr=db2 --host=db1", ("db1",)),
    ("--listen-addr=db1 --sql-addr=:5432", ("db1",)),
    ("--listen-addr=db1 --sql-addr=pg1:5432", ("db1", "pg1")),
    ("--sql-addr=pg1:5432", ("vm", "pg1")),
    ("--advertise-addr=db1:26257", ("db1",)),
    ("--advertise-host db1", ("db1",)),
    ("--advertise-addr=db1 --listen-addr=10.0.0.5", ("db1",)),
    ("--advertise-addr=db1 --sql-addr=pg1:5432", ("db1",)),
    ("--advertise-addr=:26258 --listen-addr=db1", ("db1",)),
    ("--advertise-addr=:26258 --sql-addr=pg1", ("vm", "pg1")),
    ("--advertise-addr=:26258", ("vm",)),
    ("--advertise-addr=db1 --advertise-sql-addr=pg1", ("db1", "pg1")),
    ("--advertise-sql-addr=pg1", ("vm", "pg1")),
    ("--advertise-sql-addr=:5432 --sql-addr=pg1", ("vm", "pg1")),
    (
        "--advertise-addr=db1 --locality-advertise-addr=region=us@10.0.0.5:26257,zone=b@[fe80::5]",
        ("db1", "10.0.0.5", "fe80::5"),
    ),
    ("--advertise-addr=" + "9" * 254, ()),
    ("--advertise-addr=a\x1bb", ()),
    ("--advertise-addr=db1 --locality-advertise-addr=nothing", ("db1",)),
]


@pytest.mark.parametrize(("line", "expected"), ROWS, ids=[ascii(row[0][:99]) for row in ROWS])
def test_advertised_hosts_follow_flags_and_defaults(line: str, expected: tuple[str, ...]) -> None:
    """SQL by its own flags, else as RPC; RPC by --advertise-addr, else --listen-addr, else the host's name."""
    assert advertised(["cockroach", "start", *line.split()], "start", "vm") == expected


@pytest.mark.parametrize("subcommand", ["demo", "mt start-sql"])
def test_advertised_defaults_of_other_commands_are_unknown(subcommand: str) -> None:
    """Only what their flags say counts: nothing else is known of them."""
    argv = ["cockroach", *subcommand.split(), "--listen-addr=db1", "--sql-addr=db2"]
    assert advertised(argv, subcommand, "vm") == ()
    assert advertised([*argv, "--advertise-sql-addr=pg1"], subcommand, "vm") == ("pg1",)


CONSOLES = [
    ("", ""),
    ("--http-addr=:8080", ""),
    ("--http-addr=localhost:8080", ""),
    ("--http-addr=127.0.0.1:8080", ""),
    ("--http-addr=0.0.0.0", ""),
    ("--http-addr=10.0.0.5:8080", "10.0.0.5"),
    ("--http-host db1", "db1"),
    ("--http-addr=db1 --advertise-addr=db2", ""),
    ("--advertise-http-addr=console:443 --http-addr=db1 --advertise-addr=db2", "console"),
]


@pytest.mark.parametrize(("line", "expected"), CONSOLES, ids=[row[0] for row in CONSOLES])
def test_advertised_console_needs_its_own_flag(line: str, expected: str) -> None:
    """By default versions differ; one that only this host can dial needs no name."""
    assert advertised_http(["cockroach", "start", *line.split()]) == expected


def test_advertised_host_name_counts_where_it_is_known() -> None:
    """An unknown name of the host, as in a container, is no name at all."""
    assert parse(["cockroach", "start"], {}, "vm").terms.advertised == ("vm",)
    assert parse(["cockroach", "start"], {}).terms.advertised == ()


def test_hostname_of_process_is_that_of_its_namespace() -> None:
    """One of the same UTS namespace has our name; of one that does not run nothing is known."""
    assert hostname_of(os.getpid()) == os.uname().nodename
    assert hostname_of(2**22 + 1) == ""
