"""The tables below the top: authorities, owners, names, renewal points, processes."""

import grp
import ipaddress
import os
import pwd
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import Any

from certagent.config import remote
from certagent.config.reader import (
    LIST,
    RedactedValueError,
    Table,
    absolute,
    duration,
    flag,
    one_of,
    takes,
    text,
    texts,
)
from certagent.core.addresses import address
from certagent.core.facts.certificates import is_scope
from certagent.core.hosts import normalised
from certagent.core.policy import OcspRule, Owner, ProcessRule, RenewAt, RotationRule
from certagent.core.principals import scope_of

PORTS = 1 << 16
NUMBER = re.compile(r"[0-9]{1,10}")
KEYS = ("ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-2048", "rsa-3072", "rsa-4096")
LABEL = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?")
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
PROBE = re.compile(r"(\[[0-9a-fA-F:]+\]|[^:/\s]+):(\d+)(?:/(sql|http))?")


@dataclass(frozen=True, slots=True)
class LocalConfig:
    """`type = "local"`."""

    directory: str
    create: bool
    lifetime: timedelta
    ca_lifetime: timedelta
    key: str
    ca_cert: str
    ca_key: str
    urls: tuple[str, str]  # of an OCSP responder, of a revocation list


@dataclass(frozen=True, slots=True)
class AuthorityConfig:
    """One `[authority.NAME]`; `options` is None for `none`."""

    name: str
    type: str
    options: LocalConfig | remote.RemoteConfig | None


def authority(table: Table, name: str) -> AuthorityConfig:
    """One authority."""
    before = len(table.errors)
    kind = table.require("type", _kind, "none")
    if len(table.errors) > before:  # which settings there are depends on the type
        return AuthorityConfig(name, kind, None)
    options: LocalConfig | remote.RemoteConfig | None = None
    if kind in remote.kinds():
        options = remote.read(table, kind)
    elif kind == "local":
        options = LocalConfig(
            table.get("directory", absolute, "/var/lib/certagent/ca"),
            table.get("create", flag, False),
            table.get("lifetime", duration, timedelta(days=30)),
            table.get("ca_lifetime", duration, timedelta(days=3650)),
            table.get("key", one_of(*KEYS), "ecdsa-p256"),
            table.get("ca_cert", text, "ca.crt"),
            table.get("ca_key", text, "ca.key"),
            (table.get("ocsp_url", text, ""), table.get("crl_url", text, "")),
        )
        if options.create and options.ca_lifetime <= options.lifetime:
            table.error("ca_lifetime", "must be longer than lifetime: a certificate cannot outlive its CA")
    table.done()
    return AuthorityConfig(name, kind, options)


@takes({"type": "string"})
def _kind(value: Any) -> str:
    return str(one_of("local", *remote.kinds(), "none")(value))


@takes({"type": "string"})
def owner(value: Any) -> Owner:
    """User or user:group, as they are known on this host; or their numbers, where they have no name (OpenShift)."""
    user, _, group = text(value).partition(":")
    uid, own = _account(user)
    if not group and own is None:
        raise RedactedValueError(f"uid {user} has no name on this host, so its group is not known: write {user}:GROUP")
    return Owner(user, uid, _group(group) if group else own or 0)


def _account(user: str) -> tuple[int, int | None]:
    """The uid and the gid of a user; of a number without a name the gid of this process, if it is its own."""
    try:
        account = pwd.getpwnam(user)
    except KeyError as error:
        if not NUMBER.fullmatch(user):
            message = f"there is no user {user!r} on this host: create it or name another one"
            raise RedactedValueError(message) from error
        uid = int(user)
        with suppress(KeyError):
            return uid, pwd.getpwuid(uid).pw_gid
        return uid, os.getegid() if uid == os.geteuid() else None
    return account.pw_uid, account.pw_gid


def _group(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as error:
        if NUMBER.fullmatch(group):
            return int(group)
        raise RedactedValueError(f"there is no group {group!r} on this host: create it or name another one") from error


@takes(LIST)
def san(value: Any) -> tuple[str, ...]:
    """DNS names in lower case and without a final dot, and IPs in canonical text."""
    given = texts(value)
    bad = [v for v in given if not _is_address(v) and (not LABEL.fullmatch(v.removesuffix(".")) or ".." in v)]
    problems = [f"neither a DNS name nor an IP address: {', '.join(map(repr, bad))}"] if bad else []
    found = []
    for name in (n for n in given if n not in bad):
        try:
            found.append(normalised(name))
        except ValueError as error:
            problems.append(f"{name!r}: {error}")
    if problems:
        raise RedactedValueError("; ".join(problems))
    return tuple(dict.fromkeys(found))


@takes(LIST)
def uris(value: Any) -> tuple[str, ...]:
    """URI SANs: the scheme, then anything printable without a space; those of `crdb` as cockroach reads them."""
    given = texts(value)
    if bad := [u for u in given if not URI.fullmatch(u) or (is_scope(u) and scope_of(u) is None)]:
        raise RedactedValueError(f"not a URI such as crdb://tenant/1/user/root: {', '.join(map(repr, bad))}")
    return tuple(dict.fromkeys(given))


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


@takes({"type": "string", "pattern": "^([0-9]+/[0-9]+|[0-9]*[1-9][0-9]*[smhd])$"})
def renew_at(value: Any) -> RenewAt:
    """A fraction of the lifetime, or a duration before expiry."""
    if isinstance(value, str) and re.fullmatch(r"\d+/\d+", value):
        try:
            fraction = Fraction(value)
        except ZeroDivisionError as error:
            raise ValueError("a fraction between 0 and 1") from error
        if not 0 < fraction < 1:
            raise ValueError("a fraction between 0 and 1")
        return RenewAt(fraction=fraction)
    try:
        return RenewAt(before=duration(value))
    except ValueError as error:
        raise ValueError(f'{error}, or a fraction of the lifetime such as "2/3"') from error


@takes(LIST)
def probe(value: Any) -> tuple[tuple[str, int, Any], ...]:
    """A list of "host:port", "/sql" or "/http" behind it where it is known."""
    found = {item: PROBE.fullmatch(item) for item in texts(value)}
    good = {item: m for item, m in found.items() if m and 0 < int(m[2]) < PORTS}
    bad = [repr(item) for item in found if item not in good]
    if bad:
        raise RedactedValueError(f'write "127.0.0.1:26257/sql" instead of {", ".join(bad)}')
    return tuple((m[1].strip("[]"), int(m[2]), m[3] or "auto") for m in good.values())


def process(table: Table) -> ProcessRule:
    """`[certs_dir.process]`."""
    rule = ProcessRule(
        table.get("names", texts, ("cockroach",)),
        table.get("pid_file", _perhaps_absolute, ""),
        table.get("probe", probe, ()),
        table.get("reload", flag, True),
    )
    table.done()
    return rule


def ocsp(table: Table, configured: tuple[str, ...] = ()) -> OcspRule:
    """`[certs_dir.ocsp]`. `configured`: URLs of responders and lists that authorities name."""
    rule = OcspRule(
        table.get("mode", one_of("off", "lax", "strict"), "off"),
        table.get("timeout", duration, timedelta(seconds=3)),
        table.get("crl", flag, True),
        table.get("min_interval", duration, timedelta(minutes=5)),
        table.get("max_interval", duration, timedelta(hours=1)),
        table.get("allow_private", flag, False),
        configured,
    )
    if rule.min_interval > rule.max_interval:
        table.error("min_interval", "must not be longer than max_interval")
    table.done()
    return rule


@takes(LIST)
def peers(value: Any) -> tuple[str, ...]:
    """Addresses of members, each once and with its port."""
    found, problems = [], []
    for one in texts(value):
        try:
            found.append(address(one))
        except ValueError as error:
            problems.append(f"{one!r}: {error}")
    if problems:
        raise RedactedValueError("; ".join(problems))
    return tuple(dict.fromkeys(found))


def rotation(table: Table) -> RotationRule:
    """`[certs_dir.rotation]`."""
    rule = RotationRule(
        peers=table.get("peers", peers, None),
        peers_file=table.get("peers_file", _perhaps_absolute, ""),
        soak=table.get("soak", duration, timedelta(minutes=10)),
        canary=table.get("canary", flag, False),
        outside_clients=table.get("outside_clients", flag, True),
    )
    if rule.peers is not None and rule.peers_file:
        table.error("peers_file", "name the members in `peers` or in `peers_file`, not in both")
    table.done()
    return rule


@takes({"type": "string", "pattern": "^(/|$)"})
def _perhaps_absolute(value: Any) -> str:
    return absolute(value) if value else ""
