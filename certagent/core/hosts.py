"""Names of hosts as values: what a configuration writes and what a certificate has are the same name or not.

Upper and lower case are one name; CAs write either. "10.0.0.5" as a DNS name is not the address, which Go looks for
among the addresses alone. A final dot stays in a certificate's name: no client that asks for the host accepts it.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Literal

from certagent.core.facts import Leaf

Host = tuple[Literal["dns", "ip"], str]
LONGEST_LABEL, LONGEST_NAME = 63, 253


@lru_cache(maxsize=4096)
def host(text: str) -> Host:
    """A configured name, as a value."""
    try:
        return "ip", str(ip_address(text))
    except ValueError:
        return "dns", text.lower()


def hosts(names: Iterable[str]) -> frozenset[Host]:
    """Configured names, as values."""
    return frozenset(host(name) for name in names)


def hosts_of(leaf: Leaf) -> dict[Host, str]:
    """The names of a certificate, each with the text that it has there."""
    found: dict[Host, str] = {("dns", name.lower()): name for name in leaf.dns}
    return found | {("ip", address): address for address in leaf.ips}


def normalised(text: str) -> str:
    """Given a name of a configuration, return it as a certificate should have it. ValueError with the reason."""
    try:
        address = ip_address(text)
    except ValueError:
        return _dns(text.lower().removesuffix("."))
    if isinstance(address, IPv6Address):
        if address.scope_id:
            raise ValueError("an address of a certificate has no zone")
        return str(address.ipv4_mapped or address)
    return str(address)


def _dns(name: str) -> str:
    labels = name.removeprefix("*.").split(".")
    if labels[-1].isdigit():
        raise ValueError("a name that ends in a number is neither an address nor a DNS name")
    if len(name) > LONGEST_NAME or any(len(label) > LONGEST_LABEL for label in labels):
        raise ValueError(f"a DNS name has at most {LONGEST_NAME} characters and {LONGEST_LABEL} in each label")
    return name
