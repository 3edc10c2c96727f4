"""The options of an ACME authority, as one value; and what its challenges need of the worker's confinement."""

from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import Any

from certagent.authority.backends.program import confinement
from certagent.sandbox import Profile


@dataclass(frozen=True, slots=True)
class Options:
    """As the configuration checked them; the defaults are those of config/remote/acme.py."""

    directory_url: str
    contact: tuple[str, ...] = ()
    terms_accepted: bool = False
    challenge: str = "http-01"
    http_port: int = 80
    tls_port: int = 443
    listen_address: str = ""
    webroot: str = ""
    dns_server: str = ""
    dns_zone: str = ""
    dns_key_name: str = ""
    dns_algorithm: str = "hmac-sha256"
    dns_ttl: int = 60
    dns_wait: float = 0.0
    dns_hook: tuple[str, ...] = ()
    eab_kid: str = ""
    profile: str = ""
    preferred_chain: str = ""
    patience: float = 45.0
    ari: bool = True
    common_name: bool = False

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Options":
        """From a request's options: lists become tuples again, other options are left out."""
        known = {f.name for f in fields(cls)}
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known}
        return cls(**given)


def needs(values: dict[str, Any]) -> Profile:
    """Given a request's options, return what the challenge needs."""
    o = Options.of(values)
    match o.challenge:
        case "http-01" if o.webroot:
            return Profile(write=(o.webroot,))
        case "http-01":
            return Profile(bind=(o.http_port,))
        case "tls-alpn-01":
            return Profile(bind=(o.tls_port,))
        case _ if o.dns_hook:
            return confinement(o.dns_hook)
    return Profile(connect=(address(o.dns_server)[1],))


def address(text: str, port: int = 53) -> tuple[str, int]:
    """Given "host", "host:port", "[v6]:port" or a bare IPv6 address, return host and port."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, int(rest.removeprefix(":") or port)
    if text.count(":") == 1:
        host, _, rest = text.partition(":")
        return host, int(rest or port)
    return text, port


def identifier(name: str) -> dict[str, str]:
    """A SAN as ACME names it: an IP by RFC 8738."""
    try:
        return {"type": "ip", "value": str(ip_address(name))}
    except ValueError:
        return {"type": "dns", "value": name.rstrip(".").lower()}
