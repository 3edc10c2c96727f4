"""Addresses of cluster members as text: host:port, an IPv6 host in brackets; without a port it is cockroach's."""

import re
from ipaddress import ip_address

SQL_PORT = 26257
PORTS = 1 << 16
LONGEST_HOST = 253
HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?")
WRITE = "write host:port, such as db2:26257 or [2001:db8::2]:26257"
DIGITS = re.compile(r"[0-9]{1,5}")


def address(text: str) -> str:
    """Given a host, perhaps with a port, return it with one and in one spelling. Raises ValueError with the reason."""
    if "/" in text:
        raise ValueError(WRITE)
    host, port = _parted(text)
    if not DIGITS.fullmatch(port) or not 0 < int(port) < PORTS:
        raise ValueError(f"{port!r} is no port from 1 to 65535")
    return joined(_host(host), int(port))


def joined(host: str, port: int) -> str:
    """host:port, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parted(given: str) -> tuple[str, int]:
    """Given an address as `address` returns it, return its host without brackets, and its port."""
    host, _, port = given.rpartition(":")
    return host.strip("[]"), int(port)


def _parted(text: str) -> tuple[str, str]:
    """Host and port. An IPv6 address may stand alone without brackets: with a port it could be read in two ways."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            raise ValueError("an IPv6 address in brackets is written [::1] or [::1]:26257")
        return host, rest[1:] if rest else str(SQL_PORT)
    if text.count(":") > 1:
        return text, str(SQL_PORT)
    host, colon, port = text.partition(":")
    return host, port if colon else str(SQL_PORT)


def _host(host: str) -> str:
    try:
        found = ip_address(host)
    except ValueError:
        return _name(host)
    if found.is_unspecified:
        raise ValueError(f"{host} is every address of a host, and nobody's")
    return str(found)


def _name(host: str) -> str:
    if not HOST.fullmatch(host) or ".." in host:
        raise ValueError(WRITE)
    if host.rstrip(".").rpartition(".")[2].isdigit():
        raise ValueError("a name that ends in a number is neither an address nor a DNS name")
    return host.lower().removesuffix(".")
