"""Which hosts cockroach tells others to dial: by its flags, their deprecated aliases, and its defaults.

Source: cockroach's extraServerFlagInit and ValidateAddrs. No environment variable replaces one of these flags. Without
any of them a node advertises the name of its host, which is that of its own UTS namespace.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address

from certagent.core.addresses import SQL_PORT, address

LISTEN, ADVERTISE, HTTP = ("listen-addr", "host"), ("advertise-addr", "advertise-host"), ("http-addr", "http-host")
LONGEST = 253  # of a DNS name
MOST_JOINS = 10_000  # another user may pass any number
OWN_DEFAULTS = frozenset({"demo", "mt start-sql"})  # these listen and advertise by other rules


def advertised(argv: Sequence[str], subcommand: str, hostname: str) -> tuple[str, ...]:
    """The hosts that other nodes and SQL clients are told to dial. `hostname`: of the process, "" if not known."""
    given, own = _host(argv, *ADVERTISE), subcommand in OWN_DEFAULTS
    listen, name = ("", "") if own else (_host(argv, *LISTEN), hostname)
    told = given or listen or ""
    sql = told if given is not None else ""
    sql = _host(argv, "advertise-sql-addr") or sql or ("" if own else _host(argv, "sql-addr")) or told or name
    return tuple(dict.fromkeys(host for host in (told or name, sql, *_by_locality(argv)) if host and _dialled(host)))


def advertised_at(argv: Sequence[str], subcommand: str, hostname: str) -> str:
    """host:port that other nodes are told to dial; "" where it is not known, or is no address."""
    given, listen = (_values(argv, *names)[-1:] or [""] for names in (ADVERTISE, LISTEN))
    host = _host_of(given[0]) or _host_of(listen[0])
    host = host if host and _dialled(host) else hostname
    port = _port_of(given[0]) or _port_of(listen[0]) or str(SQL_PORT)
    if subcommand in OWN_DEFAULTS or not host:
        return ""
    with suppress(ValueError):
        return address(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    return ""


def joins(argv: Sequence[str]) -> tuple[str, ...]:
    """The addresses of `--join`: it may be given several times, and each time with several addresses."""
    found: dict[str, None] = {}
    for value in [*_values(argv, "join"), *_short(argv, "j")]:
        for one in value.split(",")[:MOST_JOINS]:
            with suppress(ValueError):
                found[address(one.strip())] = None
    return tuple(found)[:MOST_JOINS]


def _short(argv: Sequence[str], letter: str) -> list[str]:
    """Every value of a flag of one letter: -j db1, -jdb1 and -j=db1."""
    found = []
    for word, following in zip(argv, [*argv[1:], ""], strict=False):
        if word.startswith(f"-{letter}"):
            found.append(word[2:].removeprefix("=") or following)
    return found


def advertised_http(argv: Sequence[str]) -> str:
    """The host of the DB Console that the other nodes are told to dial, where flags name one; "" where they do not.

    Without `--advertise-http-addr` versions differ in what they do with `--advertise-addr`.
    """
    host = _host(argv, "advertise-http-addr")
    if not host and _host(argv, *ADVERTISE) is None:
        host = _host(argv, *HTTP)
    return host if host and _dialled(host) and not _loopback(host) else ""


def _by_locality(argv: Sequence[str]) -> list[str]:
    """The hosts of `region=us-west@10.0.0.5:26257,zone=us-west-1b@db1`."""
    entries = [entry for value in _values(argv, "locality-advertise-addr") for entry in value.split(",")]
    return [_host_of(entry.rpartition("@")[2]) for entry in entries if "@" in entry]


def _values(argv: Sequence[str], *names: str) -> list[str]:
    """Every value of a flag that has several names, in order."""
    found = []
    for word, following in zip(argv, [*argv[1:], ""], strict=False):
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name in names:
            found.append(value if equals else following)
    return found


def _host(argv: Sequence[str], *names: str) -> str | None:
    """The host of a flag's last value, "" where that has only a port; None: the flag is not set."""
    found = _values(argv, *names)
    return _host_of(found[-1]) if found else None


def _host_of(address: str) -> str:
    return address[1:].partition("]")[0] if address.startswith("[") else address.partition(":")[0]


def _port_of(written: str) -> str:
    return written.rpartition("]")[2].rpartition(":")[2] if ":" in written.rpartition("]")[2] else ""


def _dialled(host: str) -> bool:
    """Whether anybody dials it: not 0.0.0.0, which means every interface, and not what no resolver takes."""
    with suppress(ValueError):
        return not ip_address(host).is_unspecified
    return len(host) <= LONGEST and host.isprintable()  # another user may pass anything


def _loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


def hostname_of(pid: int) -> str:
    """What a process takes for the name of its host; "" if that is not known from here.

    The agent's unit may give it a UTS namespace of its own (ProtectHostname=yes). Its name is that of the host, if
    /etc/hostname says the same and the process has this root.
    """
    name = os.uname().nodename
    try:
        if os.readlink(f"/proc/{pid}/ns/uts") == os.readlink("/proc/self/ns/uts"):
            return name
        return name if _written_for(pid) == name else ""
    except OSError:
        return ""


def _written_for(pid: int) -> str:
    """The name in /etc/hostname, which counts for a process that has our root; "" for others. Raises OSError."""
    if not os.path.samestat(os.stat(f"/proc/{pid}/root"), os.stat("/")):
        return ""
    with open("/etc/hostname", encoding="utf-8", errors="replace") as file:
        return file.read(256).strip()
