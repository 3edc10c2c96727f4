"""Which addresses may be asked because a certificate or a redirect names them: public ones.

Whoever made a certificate, or answers for a responder, could otherwise have this host send requests to itself, to its
neighbours and to the metadata service of a cloud, which take them for those of a trusted machine.
"""

import re
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

NOT_PUBLIC = (
    "the address is loopback, link-local, private or multicast, and no request was sent; if it is meant, set"
    " allow_private = true in [certs_dir.ocsp]"
)
TRANSLATED = IPv6Network("64:ff9b::/96")  # NAT64 (RFC 6052): the last 32 bits are the IPv4 address
PROTOCOLS = IPv4Network("192.0.0.0/24")  # of the IETF, and the metadata of one cloud
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
HERE = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")


def is_public(text: str) -> bool:
    """Whether an address, as the resolver writes it, is one of the internet. An IPv4 one in IPv6 counts as itself."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    inner = within(address) if isinstance(address, IPv6Address) else None
    if inner is not None:
        return is_public(str(inner))
    if isinstance(address, IPv4Address) and address in PROTOCOLS:
        return False
    local = address.is_multicast or address.is_reserved or (isinstance(address, IPv6Address) and address.is_site_local)
    return address.is_global and not local


def within(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address to which an IPv6 address leads."""
    if address in TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def may_be_public(host: str) -> bool:
    """Of a host that a proxy resolves: not an address that is not public, nor a name of this host."""
    name = host.strip("[]").rstrip(".").lower()
    if name in HERE or name.endswith(".localhost"):
        return False
    with suppress(ValueError):
        ip_address(name.partition("%")[0])
        return is_public(name)
    return not NUMBER.fullmatch(name.rpartition(".")[2])  # 127.1, 0x7f.1 and 2130706433 are addresses to inet_aton
