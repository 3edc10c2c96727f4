"""Which URLs a CA may have: one rule, for the configuration and for each request.

It is separate from the HTTPS client, which the agent does not import.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit


def barred(url: str, *, allow_http: bool) -> str:
    """Why a URL may not be asked, "" where it may: https, and http to this host or where `allow_http` says so."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "the URL is not https"
    if parts.scheme == "https" or allow_http or loopback(parts.hostname):
        return ""
    return "plain http is allowed to this host only: use https, or set allow_http = true"


def loopback(host: str) -> bool:
    """Whether a host name or address is this host."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
