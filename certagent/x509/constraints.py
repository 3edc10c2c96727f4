"""Name constraints, as Go applies them: a CA's subtrees against the names of every certificate beneath it.

Source: RFC 5280, 4.2.1.10, and Go's crypto/x509. DNS names, addresses, URIs and mail addresses are matched; a leading
dot wants at least one more label; a wildcard name is excluded where one of its instances is. Directory names and the
rest are never matched: a critical extension is refused as unhandled, another one is ignored. A name that
cannot be matched (a URI without a host, a mail address without an @) is refused beneath any constraint at all. A CA
whose subtrees and the names beneath it are more comparisons than Go makes is refused before any of them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeVar
from urllib.parse import urlsplit

from cryptography import x509

from certagent.x509.gourl import labels_of

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address | Network
N = TypeVar("N", str, Address)
MOST_COMPARISONS = 250_000  # names times subtrees of one CA: Go's own limit (MaxConstraintComparisions)


@dataclass(frozen=True, slots=True)
class Names:
    """The alternative names of a certificate, or the subtrees of a constraint, by kind."""

    dns: tuple[str, ...] = ()
    ips: tuple[Address, ...] = ()
    uris: tuple[str, ...] = ()
    mails: tuple[str, ...] = ()
    others: int = 0  # names of kinds that Go does not read

    @property
    def known(self) -> bool:
        """Any name of a kind that Go reads."""
        return bool(self.count)

    @property
    def count(self) -> int:
        """How many names of a kind that Go reads."""
        return len(self.dns) + len(self.ips) + len(self.uris) + len(self.mails)


@dataclass(frozen=True, slots=True)
class Subtrees:
    """What a CA permits and excludes."""

    permitted: Names
    excluded: Names

    @property
    def count(self) -> int:
        """How many subtrees each name is compared with at most."""
        return self.permitted.count + self.excluded.count


def names_of(found: Iterable[x509.GeneralName]) -> Names:
    """Given general names, return them by kind."""
    dns: list[str] = []
    ips: list[Address] = []
    uris: list[str] = []
    mails: list[str] = []
    others = 0
    for name in found:
        match name:
            case x509.DNSName():
                dns.append(name.value)
            case x509.IPAddress():
                ips.append(name.value)
            case x509.UniformResourceIdentifier():
                uris.append(name.value)
            case x509.RFC822Name():
                mails.append(name.value)
            case _:
                others += 1
    return Names(tuple(dns), tuple(ips), tuple(uris), tuple(mails), others)


def subtrees_of(extension: x509.NameConstraints) -> Subtrees:
    """Given the extension, return its subtrees by kind."""
    return Subtrees(names_of(extension.permitted_subtrees or ()), names_of(extension.excluded_subtrees or ()))


def names_problem(chain: Iterable[tuple[str, Names, Subtrees | None]]) -> str | None:
    """Given a chain from the leaf up (text, names, subtrees), return the first name that a CA above it forbids."""
    rows = list(chain)
    for place, (ca, _, subtrees) in enumerate(rows):
        if subtrees and sum(_comparisons(names, subtrees) for _, names, _ in rows[:place]) > MOST_COMPARISONS:
            return f"the name constraints of {ca} take more than {MOST_COMPARISONS} comparisons, which Go refuses"
    for place, (text, names, _) in enumerate(rows):
        above = [(ca, subtrees) for ca, _, subtrees in rows[place + 1 :] if subtrees is not None]
        if not above:
            return None
        if problem := _unmatchable(names):
            return f"{problem} of {text} cannot be matched against the name constraints of {above[0][0]}"
        for ca, subtrees in above:
            if problem := _forbidden(names, subtrees):
                return f"{problem} by the name constraints of {ca}"
    return None


def _comparisons(names: Names, subtrees: Subtrees) -> int:
    yes, no = subtrees.permitted, subtrees.excluded
    return (
        len(names.dns) * (len(yes.dns) + len(no.dns))
        + len(names.ips) * (len(yes.ips) + len(no.ips))
        + len(names.uris) * (len(yes.uris) + len(no.uris))
        + len(names.mails) * (len(yes.mails) + len(no.mails))
    )


def _unmatchable(names: Names) -> str | None:
    for name in names.dns:
        if not _valid(name):
            return f"the DNS name {name!r}"
    for uri in names.uris:
        host = _host(uri)
        if not host or not _valid(host) or _is_address(host):
            return f"the URI {uri!r}"
    for mail in names.mails:
        local, at, domain = mail.rpartition("@")
        if not at or not local or not _valid(domain):
            return f"the mail address {mail!r}"
    return None


def _forbidden(names: Names, subtrees: Subtrees) -> str | None:
    yes, no = subtrees.permitted, subtrees.excluded
    for address in names.ips:
        if problem := _verdict(address, yes.ips, no.ips, _within, _within):
            return f"the address {address} {problem}"
    for name in names.dns:
        if problem := _verdict(name, yes.dns, no.dns, _below, _excluded):
            return f"the DNS name {name!r} {problem}"
    for uri in names.uris:
        if problem := _verdict(_host(uri), yes.uris, no.uris, _below, _excluded):
            return f"the URI {uri!r} {problem}"
    for mail in names.mails:
        if problem := _verdict(mail, yes.mails, no.mails, _mailed, _mailed):
            return f"the mail address {mail!r} {problem}"
    return None


def _verdict(
    name: N, permitted: Sequence[N], excluded: Sequence[N], allows: Callable[[N, N], bool], bars: Callable[[N, N], bool]
) -> str | None:
    if permitted and not any(allows(name, p) for p in permitted):
        return "is not permitted"
    return "is excluded" if any(bars(name, e) for e in excluded) else None


def _within(address: Address, network: Address) -> bool:
    return isinstance(network, Network) and isinstance(address, IPv4Address | IPv6Address) and address in network


def _below(name: str, subtree: str) -> bool:
    """`example.com` covers itself and what is beneath; `.example.com` what is beneath; "" everything."""
    name, subtree = name.lower(), subtree.lower()
    if subtree.startswith(".") or not subtree:
        return name.endswith(subtree)
    return name == subtree or name.endswith(f".{subtree}")


def _excluded(name: str, subtree: str) -> bool:
    wildcard = name.startswith("*.") and subtree.lower().partition(".")[2] == name.lower()[2:]
    return _below(name, subtree) or wildcard


def _mailed(mail: str, subtree: str) -> bool:
    local, _, domain = mail.rpartition("@")
    whole, at, of = subtree.rpartition("@")
    return (local == whole and domain.lower() == of.lower()) if at else _below(domain, subtree)


def _valid(name: str) -> bool:
    """Whether a name can be compared: no label is empty, and each character can be seen."""
    return labels_of(name) is not None


def _host(uri: str) -> str:
    try:
        return (urlsplit(uri).hostname or "").lower()
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
