"""Whether Go's net/url parses a URI: one in a certificate that it does not parse makes the whole file unloadable."""

import re
from ipaddress import IPv6Address
from urllib.parse import unquote

ALNUM = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
HOST = ALNUM | frozenset("-_.~!$&'()*+,;=:[]<>\"")
USER = ALNUM | frozenset("-._:~!$&'()*+,;=%@")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
ASCII_ESCAPE = re.compile(r"%(?!25)[0-7]")
AUTHORITY = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?P<authority>[^/?#]*)")
PORT = re.compile(r"(:[0-9]*)?")
LONGEST_LABEL = 63


def uri_problem(uri: str) -> str:
    """Given a URI of ASCII characters, return why Go's parser of certificates refuses it, "" where it does not."""
    main, _, fragment = uri.partition("#")
    if any(c < " " or c == "\x7f" for c in main):
        return "invalid control character in URL"
    if main.startswith(":"):
        return "missing protocol scheme"
    found = SCHEME.match(main)
    rest = main[found.end() :] if found else main
    if BAD_ESCAPE.search(fragment):
        return "invalid URL escape"
    return _rest_problem(rest.partition("?")[0], scheme=found is not None)


def _rest_problem(rest: str, *, scheme: bool) -> str:
    """What is wrong with what stands between scheme and query."""
    if not rest.startswith("/"):
        if scheme:
            return ""
        if ":" in rest.partition("/")[0]:
            return "first path segment in URL cannot contain colon"
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        if problem := _authority_problem(authority):
            return problem
        rest = slash + path
    return "invalid URL escape" if BAD_ESCAPE.search(rest) else ""


def _authority_problem(authority: str) -> str:
    user, _, host = authority.rpartition("@")
    if problem := _host_problem(host):
        return problem
    if not USER.issuperset(user):
        return "net/url: invalid userinfo"
    if BAD_ESCAPE.search(user):
        return "invalid URL escape"
    return "" if not host or labels_of(host) is not None else "invalid domain"


def _host_problem(host: str) -> str:
    zone = ""
    if host.startswith("["):
        end = host.rfind("]")
        if end < 0:
            return "missing ']' in host"
        port = host[end + 1 :]
        inside, mark, zone = host[:end].partition("%25")
        checked = inside + host[end:] if mark else host
    else:
        port, checked = host[host.rfind(":") :] if ":" in host else "", host
    if not PORT.fullmatch(port):
        return f"invalid port {port!r} after host"
    if BAD_ESCAPE.search(checked) or ASCII_ESCAPE.search(checked) or BAD_ESCAPE.search(zone):
        return "invalid URL escape in host"
    return "" if HOST.issuperset((checked + zone).replace("%", "")) else "invalid character in host name"


def strict(uri: str) -> bool:
    """Whether newer versions of Go take the URI, too: brackets around IPv6 alone, one colon in the host of http."""
    host = _host_of(uri)
    if "[" in host:
        inside = host[1:].partition("]")[0].partition("%25")[0]
        try:
            return host.startswith("[") and host.count("[") == 1 and IPv6Address(unquote(inside)) is not None
        except ValueError:
            return False
    return not (uri.partition(":")[0].lower() in {"http", "https"} and host.count(":") > 1)


def _host_of(uri: str) -> str:
    """The host and port of a URI that Go parses, "" without an authority."""
    found = AUTHORITY.match(uri)
    return found["authority"].rpartition("@")[2] if found else ""


def labels_of(domain: str) -> list[str] | None:
    """The labels of a domain name; None where one is empty, or has a character that is no visible ASCII."""
    labels = domain.split(".") if domain else []
    return labels if all(label and all("!" <= c <= "~" for c in label) for label in labels) else None
