"""Values of the core for tests: sound by default, so that a row changes only what it is about."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from certagent.core import names
from certagent.core.facts import (
    Answer,
    CertFile,
    Checked,
    Directory,
    File,
    Generation,
    KeyFile,
    Leaf,
    Listener,
    ObserveOnly,
    Pair,
    Process,
    Revocation,
    Served,
    Snapshot,
    Staged,
    Trust,
    Why,
)
from certagent.core.names import Name
from certagent.core.policy import Owner, Policy, Want

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
OWNER = Owner("cockroach", 999, 999)
VOLUME = ObserveOnly(Why.KUBERNETES, "links through ..data")
SANS = ("db1.example.com", "10.0.0.5")


def name_of(stem: str) -> Name:
    found = names.parse(stem)
    assert isinstance(found, Name)
    return found


def leaf(stem: str = "node", serial: int = 1, **changes: Any) -> Leaf:
    name = name_of(stem)
    user = name.subject if name.kind.part == "user" else "node"
    server = stem in {"node", "ui"}
    found = Leaf(
        fingerprint=f"{stem}-{serial}",
        spki=f"spki-{stem}-{serial}",
        serial=serial,
        subject=f"CN={user}",
        issuer="CN=house",
        subject_digest=f"subject-{stem}",
        common_names=(user,),
        dns=SANS[:1] if server else (),
        ips=SANS[1:] if server else (),
        not_before=NOW - 10 * DAY,
        not_after=NOW + 20 * DAY,
        is_ca=name.is_bundle,
        eku=None if name.is_bundle else ("serverAuth", "clientAuth") if server else ("clientAuth",),
        key="ecdsa-p256",
        signature="sha256",
    )
    return replace(found, **changes)


def file(name: str, mode: int = 0o600, **changes: Any) -> File:
    when = int((NOW - 10 * DAY).timestamp() * 1e9)
    return replace(File(name, "file", mode, OWNER.uid, OWNER.gid, 1000, 1, 1, when, when), **changes)


def pair(stem: str = "node", cert: Leaf | None = None, mode: int = 0o600, **changes: Any) -> Pair:
    found = cert or (leaf(stem) if stem != "ca" else leaf(stem, not_after=NOW + 3000 * DAY))
    key = KeyFile(file(f"{stem}.key", mode), f"key-{found.spki}", found.spki, found.key)
    bundle = name_of(stem).is_bundle
    made = Pair(
        name_of(stem),
        CertFile(file(f"{stem}.crt", 0o644), f"crt-{found.fingerprint}", found),
        None if bundle else key,
        None if bundle else Trust("ca"),
    )
    return replace(made, **changes)


def staged(stem: str = "node", cert: Leaf | None = None, **changes: Any) -> Staged:
    made = cert or leaf(stem, 2, not_before=NOW, not_after=NOW + 30 * DAY)
    return replace(Staged(pair(stem, made), NOW, asked=True), **changes)


def generation(stem: str = "node", number: int = 1, **changes: Any) -> Generation:
    return Generation(number, pair(stem, leaf(stem, 100 + number, **changes)), NOW - DAY)


def want(stem: str = "node", **changes: Any) -> Want:
    name = name_of(stem)
    server = stem in {"node", "ui"}
    principal = name.subject if name.kind.part == "user" else "node" if stem == "node" else None
    bundle = name.is_bundle
    made = Want(name, ("house",), SANS if server else (), principal, server=server, client=not bundle and stem != "ui")
    return replace(made, **changes)


def policy(*wants: Want, **changes: Any) -> Policy:
    return replace(Policy("/certs", OWNER, "db1", wants or (want("ca"), want("node"))), **changes)


def process(**changes: Any) -> Process:
    ports = (Listener("127.0.0.1", 26257, "sql"),)
    made = Process(100, 5000, OWNER.uid, OWNER.gid, OWNER.user, "serving", NOW - 2 * DAY, listeners=ports)
    return replace(made, **changes)


def served(fingerprint: str = "node-1", **changes: Any) -> Served:
    made = Served("127.0.0.1:26257", "sql", "100:5000", NOW - timedelta(minutes=1), "served", fingerprint)
    return replace(made, **changes)


def revocation(fingerprint: str, *statuses: Any, **changes: Any) -> Revocation:
    """What was found about a leaf: one answer of one responder for each status, just now."""
    url = "http://ocsp.example.com"
    answers = tuple(Answer("ocsp", url, s, NOW, next_update=NOW + timedelta(minutes=30)) for s in statuses)
    return replace(Revocation(fingerprint, NOW, (Checked(fingerprint, "CN=node", answers, (url,)),)), **changes)


def snapshot(*pairs: Pair, **changes: Any) -> Snapshot:
    """A healthy directory whose process was just looked at; no process unless given."""
    directory = Directory("/certs", exists=True, device=1, inode=1, uid=OWNER.uid, gid=OWNER.gid, mode=0o700)
    found = pairs or (pair("ca"), pair("node"))
    issued = frozenset(p.leaf.fingerprint for p in found if p.leaf)
    base = Snapshot(directory, found, processes_at=NOW, issued=issued, euid=OWNER.uid)
    return replace(base, **changes)
