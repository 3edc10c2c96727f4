"""Certificates, keys and the files that hold them."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal

from certagent.core.names import Name
from certagent.core.obstacles import Fixed

FileKind = Literal["file", "symlink", "directory", "fifo", "socket", "device", "gone"]


def is_scope(name: str) -> bool:
    """Whether a SAN is a URI by which cockroach decides whom the certificate is for."""
    return name.lower().startswith("crdb:")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One certificate: the first of a file is the leaf (the only one cockroach checks), the rest are its chain."""

    fingerprint: str
    spki: str  # SHA-256 of the DER SubjectPublicKeyInfo: equal exactly when a key belongs to it
    serial: int
    subject: str  # RFC 4514
    issuer: str
    subject_digest: str  # SHA-256 of the subject's DER: what a server's certificate request names
    common_names: tuple[str, ...]
    dns: tuple[str, ...]
    ips: tuple[str, ...]  # in the canonical text of the ipaddress module
    not_before: datetime
    not_after: datetime
    is_ca: bool  # basicConstraints cA; a version 1 certificate is never one
    eku: tuple[str, ...] | None  # "serverAuth", "clientAuth", "any", else dotted; None: the extension is absent
    key: str  # "ecdsa-p256", "rsa-2048", "ed25519", ...; the names of the configuration
    signature: str  # hash of the signature: "sha256", "sha1", "" if the scheme implies it
    ocsp: tuple[str, ...] = ()  # responders, in the order of the certificate
    crl: tuple[str, ...] = ()  # distribution points, http and https only
    uris: tuple[str, ...] = ()
    caveat: str = ""  # which versions of Go refuse it, and why; "" where none does

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The URI SANs that say which users of which tenants it is for: those of the scheme `crdb`."""
        return tuple(uri for uri in self.uris if is_scope(uri)) if self.uris else ()

    @property
    def principals(self) -> tuple[str, ...]:
        """The subject's common name (the last one, as Go has it) and DNS SANs: where cockroach looks for users."""
        return (*self.common_names[-1:], *self.dns)

    @property
    def sans(self) -> tuple[str, ...]:
        """The SANs as `DNS:db1`, `IP:10.0.0.5` and `URI:crdb://tenant/1/user/root`."""
        return (*(f"DNS:{n}" for n in self.dns), *(f"IP:{a}" for a in self.ips), *(f"URI:{u}" for u in self.uris))


@dataclass(frozen=True, slots=True)
class File:
    """One directory entry, by lstat; never followed."""

    name: str
    kind: FileKind
    mode: int  # permission bits only
    uid: int
    gid: int
    size: int
    device: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    links: int = 1
    fixed: Fixed = ""  # why a rename cannot replace it

    @property
    def changed(self) -> datetime:
        """When it came to be as it is, by the kernel's own clock (ctime)."""
        return datetime.fromtimestamp(self.ctime_ns / 1e9, UTC)

    @property
    def written(self) -> datetime:
        """The older one of its dates: a chmod moves its ctime, and a copy may keep an old mtime."""
        return datetime.fromtimestamp(min(self.mtime_ns, self.ctime_ns) / 1e9, UTC)


@dataclass(frozen=True)
class CertFile:
    """A `.crt` file. `problem` is set exactly when `leaf` is None; `problem_kind` decides the finding."""

    file: File
    digest: str  # of the bytes; "" where they were not read
    leaf: Leaf | None
    chain: tuple[Leaf, ...] = ()
    problem: str | None = None
    problem_kind: Literal["", "empty", "unparsable", "unread", "irregular", "unreadable"] = ""
    unread: str = ""  # of a bundle: why certagent cannot read one of its certificates, which cockroach may load
    pooled: bool = True  # as a bundle: a certificate without PEM headers is in it, so Go has a pool to verify by

    @cached_property
    def certificates(self) -> tuple[Leaf, ...]:
        """Every certificate of the file, first one first."""
        return () if self.leaf is None else (self.leaf, *self.chain)

    @cached_property
    def named(self) -> frozenset[tuple[str, str]]:
        """The key and the subject of each: as a CA, both are what verifies."""
        return frozenset((c.spki, c.subject) for c in self.certificates)

    @cached_property
    def caveat(self) -> str:
        """What only some versions of Go refuse in it: one such certificate spoils the whole file."""
        return next((c.caveat for c in self.certificates if c.caveat), "")


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A `.key` file: only the digest of its public half is kept, never a byte of the key."""

    file: File
    digest: str
    spki: str | None
    key: str = ""
    problem: str | None = None
    problem_kind: Literal["", "unparsable", "irregular", "unreadable"] = ""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whether the chain of a leaf builds to the bundle that verifies it: what the host established, at that moment."""

    bundle: str  # the stem of the bundle file used: "ca", "ca-client", "ca-ui", or "system"
    problem: str | None = None  # None: it verifies
    anchors: tuple[
        str, ...
    ] = ()  # of a node's own and clients' pairs: the spki of every CA of the bundle that suffices alone
    unread: bool = False  # the bundle has not been read yet, or cannot be: nothing is known
    ends: datetime | None = None  # when the first CA ends that the chain needs, before the leaf; it may be past
    ends_by: str = ""  # the subject of that CA


@dataclass(frozen=True)
class Pair:
    """What stands under one name: certificate and key (a bundle has no key)."""

    name: Name
    cert: CertFile | None = None
    key: KeyFile | None = None
    trust: Trust | None = None

    @cached_property
    def leaf(self) -> Leaf | None:
        """The leaf, where the certificate parsed."""
        return self.cert.leaf if self.cert else None

    @cached_property
    def effective(self) -> Leaf | None:
        """The leaf, with the earliest end of leaf, intermediates and root as its own: every date counts from that."""
        ends = self.trust.ends if self.trust else None
        return replace(self.leaf, not_after=ends) if self.leaf and ends and ends < self.leaf.not_after else self.leaf

    @property
    def ends_by(self) -> str:
        """The subject of the CA that ends before the leaf, "" where none does."""
        return self.trust.ends_by if self.trust else ""

    @cached_property
    def listed(self) -> bool:
        """Whether cockroach's loader has an entry for the certificate, readable or not. It skips directories."""
        return self.cert is not None and self.cert.file.kind != "directory"

    @property
    def principals(self) -> tuple[str, ...]:
        """Of the leaf; () without one."""
        return self.leaf.principals if self.leaf else ()

    @cached_property
    def matched(self) -> bool:
        """The key belongs to the leaf."""
        return self.leaf is not None and self.key is not None and self.key.spki == self.leaf.spki

    @property
    def digests(self) -> tuple[str, str]:
        """Digests of certificate and key bytes: what an install must find again."""
        return (self.cert.digest if self.cert else "", self.key.digest if self.key else "")


@dataclass(frozen=True, slots=True)
class Staged:
    """A pair in the staging area, read back from disk, and what the host established about it."""

    pair: Pair
    at: datetime  # when it was staged
    asked: bool  # the agent requested it; else a restored backup, or placed there by somebody
    handshake: str | None = None  # the problem of the in-memory mutual handshake; None: it completed
    breaks: tuple[str, ...] = ()  # bundles: stems of live leaves that verify today and would not by it

    def valid(self, now: datetime) -> bool:
        """Whether its leaf's validity has begun."""
        return self.pair.leaf is None or self.pair.leaf.not_before <= now


@dataclass(frozen=True)
class Loaded:
    """What the processes were last seen to have loaded, kept by the agent whatever became of the files since."""

    material: str
    pairs: tuple[Pair, ...] = ()  # certificates only, each with its verdict by the bundles that were loaded with it
    breaks: tuple[str, ...] = ()  # stems of live certificates that verify by those bundles, and not by those on disk
    outdated: tuple[str, ...] = ()  # the same of certificates that are loaded and have been replaced on disk

    def pair(self, stem: str) -> Pair | None:
        """What was loaded under that name."""
        return self._by_stem.get(stem)

    @cached_property
    def _by_stem(self) -> dict[str, Pair]:
        return {p.name.stem: p for p in reversed(self.pairs)}


@dataclass(frozen=True, slots=True)
class Generation:
    """An earlier pair, kept for rollback."""

    number: int
    pair: Pair
    at: datetime
    quarantined: bool = False
    breaks: tuple[str, ...] = ()  # a bundle: stems of live leaves that verify today and would not by it
