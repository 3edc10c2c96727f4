"""`type = "acme"`: RFC 8555 with http-01, tls-alpn-01 or dns-01."""

import re
from typing import Any

from certagent.config.reader import LIST, absolute, flag, one_of, takes, text, texts
from certagent.config.remote import CaType, RemoteConfig, Setting, Traits, seconds, url

PORTS = 1 << 16
CONTACT = re.compile(r"(mailto:)?[^\s@:]+@[^\s@]+")
SERVER = re.compile(r"\[[0-9a-fA-F:]+\](:\d+)?|[A-Za-z0-9_.-]+(:\d+)?|[0-9a-fA-F:]+")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
LONGEST_TTL = 86400


@takes(LIST)
def contacts(value: Any) -> tuple[str, ...]:
    """Mail addresses."""
    found = texts(value)
    if bad := [v for v in found if not CONTACT.fullmatch(v)]:
        raise ValueError(f'{bad[0]!r}: write a mail address such as "ops@example.com"')
    return tuple(v if v.startswith("mailto:") else f"mailto:{v}" for v in found)


@takes({"type": "integer", "minimum": 1, "maximum": PORTS - 1})
def port(value: Any) -> int:
    """A TCP port."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < PORTS:
        raise ValueError("must be a port from 1 to 65535")
    return value


@takes({"type": "integer", "minimum": 1, "maximum": LONGEST_TTL})
def ttl(value: Any) -> int:
    """Seconds of a DNS record's life."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= LONGEST_TTL:
        raise ValueError(f"must be a number of seconds from 1 to {LONGEST_TTL}")
    return value


@takes({"type": "string"})
def server(value: Any) -> str:
    """A host or address, with a port where it is not 53."""
    found = text(value)
    if found and not SERVER.fullmatch(found):
        raise ValueError('write "ns1.example.com", "10.0.0.53:5353" or "[2001:db8::53]:53"')
    return found


@takes({"type": "string"})
def name(value: Any) -> str:
    """A DNS name, without its last dot."""
    found = text(value).rstrip(".")
    if found and not NAME.fullmatch(found):
        raise ValueError("must be a DNS name")
    return found


@takes(LIST)
def command(value: Any) -> tuple[str, ...]:
    """A program by its absolute path, and its first arguments."""
    found = texts(value)
    if found and not found[0].startswith("/"):
        raise ValueError('write the program with its absolute path: ["/usr/local/bin/dns-hook"]')
    return found


@takes({"type": "string", "pattern": "^(/|$)"})
def directory(value: Any) -> str:
    """An absolute path, or nothing."""
    return absolute(value) if value else ""


def problems(made: RemoteConfig) -> list[tuple[str, str]]:
    """What is wrong between the settings: key and sentence."""
    given = {key for key, value in (made.options | made.secrets).items() if value}
    dns = made.options["challenge"] == "dns-01"
    rules = (
        (
            dns and ("dns_server" in given) == ("dns_hook" in given),
            "challenge",
            "dns-01 needs either dns_server (RFC 2136 updates) or dns_hook (a command)",
        ),
        (
            dns and ("dns_key_name" in given) != ("dns_key" in given),
            "dns_key",
            "dns_key_name and dns_key belong together: set both for a TSIG key",
        ),
        (
            ("eab_kid" in given) != ("eab_key" in given),
            "eab_key",
            "eab_kid and eab_key belong together: set both",
        ),
    )
    return [(key, sentence) for wrong, key, sentence in rules if wrong]


def traits(made: RemoteConfig) -> Traits:
    """What the daemon must know of one."""
    o = made.options
    listens = o["challenge"] in {"http-01", "tls-alpn-01"} and not o["webroot"]
    return Traits(common_name=o["common_name"], windows=o["ari"], listens=listens, own_trust=True)


CA_TYPE = CaType(
    asked="https",
    account=True,
    extras=("acme", "josepy", "dns"),
    problems=problems,
    traits=traits,
    settings={
        "directory_url": Setting(url, "", required=True),
        "contact": Setting(contacts, ()),
        "terms_accepted": Setting(flag, False),
        "challenge": Setting(one_of("http-01", "tls-alpn-01", "dns-01"), "http-01"),
        "http_port": Setting(port, 80),
        "tls_port": Setting(port, 443),
        "listen_address": Setting(text, ""),
        "webroot": Setting(directory, "", opens=True),
        "dns_server": Setting(server, ""),
        "dns_zone": Setting(name, ""),
        "dns_key_name": Setting(name, ""),
        "dns_algorithm": Setting(one_of("hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha224"), "hmac-sha256"),
        "dns_key": Setting(text, "", secret=True),
        "dns_ttl": Setting(ttl, 60),
        "dns_wait": Setting(seconds, 0.0),
        "dns_hook": Setting(command, (), opens=True),
        "eab_kid": Setting(text, ""),
        "eab_key": Setting(text, "", secret=True),
        "profile": Setting(text, ""),
        "preferred_chain": Setting(text, ""),
        "patience": Setting(seconds, 45.0),
        "ari": Setting(flag, True),
        "common_name": Setting(flag, False),
    },
)
