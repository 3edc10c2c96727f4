"""Facts: what was observed of one certs-dir and its processes, as frozen values.

A fact says what is, never what to do about it. Times are aware datetimes in UTC. Digests and fingerprints are lower-case
hex SHA-256. A fact that could not be established carries a `problem`, one sentence, instead of raising.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from certagent.core.names import Name

FileKind = Literal["file", "symlink", "directory", "fifo", "socket", "device", "gone"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One certificate: the first of a file is the leaf (the only one cockroach checks), the rest are its chain."""

    fingerprint: str
    spki: str  # SHA-256 of the DER SubjectPublicKeyInfo: equal exactly when a key belongs to it
    serial: int
    subject: str  # RFC 4514
    issuer: str
    common_names: tuple[str, ...]
    dns: tuple[str, ...]
    ips: tuple[str, ...]  # in the canonical text of the ipaddress module
    not_before: datetime
    not_after: datetime
    is_ca: bool  # basicConstraints cA; a version 1 certificate is never one
    eku: tuple[str, ...] | None  # "serverAuth", "clientAuth", "any", else dotted; None: the extension is absent
    key: str  # "ecdsa-p256", "rsa-2048", "ed25519", ...; the names of the configuration
    signature: str  # hash of the signature: "sha256", "sha1", "" where the scheme has none of its own
    ocsp: tuple[str, ...] = ()

    @property
    def principals(self) -> tuple[str, ...]:
        """Subject common names and DNS SANs: where cockroach looks for `node` and for user names."""
        return (*self.common_names, *self.dns)

    @property
    def sans(self) -> tuple[str, ...]:
        """The SANs as `DNS:db1` and `IP:10.0.0.5`."""
        return (*(f"DNS:{n}" for n in self.dns), *(f"IP:{a}" for a in self.ips))


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


@dataclass(frozen=True, slots=True)
class CertFile:
    """A `.crt` file. `problem` is set exactly when `leaf` is None; `problem_kind` is the finding's last word."""

    file: File
    digest: str  # of the bytes; "" where they were not read
    leaf: Leaf | None
    chain: tuple[Leaf, ...] = ()
    problem: str | None = None
    problem_kind: Literal["", "empty", "unparsable", "irregular"] = ""

    @property
    def certificates(self) -> tuple[Leaf, ...]:
        """Every certificate of the file, first one first."""
        return () if self.leaf is None else (self.leaf, *self.chain)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A `.key` file: only the digest of its public half is kept, never a byte of the key."""

    file: File
    digest: str
    spki: str | None
    key: str = ""
    problem: str | None = None
    problem_kind: Literal["", "unparsable", "irregular"] = ""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whether the chain of a leaf builds to the bundle that verifies it: what the host established, at that moment."""

    bundle: str  # the stem of the bundle file used: "ca", "ca-client", "ca-ui", or "system"
    problem: str | None = None  # None: it verifies


@dataclass(frozen=True, slots=True)
class Pair:
    """What stands under one name: certificate and key (a bundle has no key)."""

    name: Name
    cert: CertFile | None = None
    key: KeyFile | None = None
    trust: Trust | None = None

    @property
    def leaf(self) -> Leaf | None:
        """The leaf, where the certificate parsed."""
        return self.cert.leaf if self.cert else None

    @property
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
    asked: bool  # the ledger asked for it; else a restored backup or a stranger's
    handshake: str | None = None  # the problem of the in-memory mutual handshake; None: it completed
    breaks: tuple[str, ...] = ()  # bundles: stems of live leaves that verify today and would not by it
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Generation:
    """An earlier pair, kept for rollback."""

    number: int
    pair: Pair
    at: datetime
    quarantined: bool = False


@dataclass(frozen=True, slots=True)
class Directory:
    """The certs-dir itself."""

    path: str
    exists: bool
    device: int = 0
    inode: int = 0
    uid: int = 0
    gid: int = 0
    mode: int = 0
    foreign: str | None = None  # why something else owns it (`..data`, a single-file bind mount): observe only
    interrupted: bool = False  # an intent stands: a swap did not finish
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """A TCP port a process listens on, at an address that can be dialled from here."""

    host: str
    port: int
    kind: Literal["sql", "http", "auto"] = "auto"

    @property
    def address(self) -> str:
        """host:port, an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Process:
    """A process that owns the directory. `start` (clock ticks since boot) makes the pid unambiguous."""

    pid: int
    start: int
    uid: int
    gid: int
    user: str
    state: Literal["serving", "starting", "forbidden", "ignoring", "gone"]
    started: datetime
    command: str = ""  # the executable and sub-command only; arguments may hold secrets
    found_by: Literal["arguments", "pid_file"] = "arguments"
    listeners: tuple[Listener, ...] = ()
    skip_key_check: bool = False  # COCKROACH_SKIP_KEY_PERMISSION_CHECK of the process
    problem: str | None = None

    @property
    def identity(self) -> str:
        """`pid:start`."""
        return f"{self.pid}:{self.start}"


@dataclass(frozen=True, slots=True)
class Served:
    """What one address answered to one probe.

    `outcome`: "served" (a handshake returned `fingerprint`), "refused" (TLS began and failed: the pair is bad),
    "unreachable" (no connection or no TLS). `accepted`: with a client pair, that it was accepted.
    """

    address: str
    kind: Literal["sql", "http"]
    process: str  # Process.identity, "" for a configured probe
    at: datetime
    outcome: Literal["served", "refused", "unreachable"]
    fingerprint: str = ""
    client_cas: tuple[str, ...] = ()  # RFC 4514 subjects of the certificate request
    reason: str = ""
    client: str = ""  # the stem of the client pair offered
    client_fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One recorded attempt; recorded before it was made. `ended` is None while nobody knows how it ended."""

    kind: Literal["issue", "install", "reload", "rollback", "renew"]
    subject: str  # the stem of a pair; for a reload Process.identity
    at: datetime
    outcome: Literal["asked", "ok", "refused", "failed", "retry", "unproven", "presumed"] = "asked"
    reason: str = ""
    digest: str = ""  # what it was about: a fingerprint, or the material a reload was to load
    retry_at: datetime | None = None  # Retry-After of a CA


@dataclass(frozen=True, slots=True)
class Adopted:
    """A live pair that somebody else made, as first seen: what the configuration wanted then."""

    stem: str
    fingerprint: str
    want: str  # digest of the Want


@dataclass(frozen=True, slots=True)
class InFlight:
    """A job that runs now, off the deciding thread."""

    kind: Literal["issue", "reload", "probe", "scan"]
    subject: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Repair:
    """A mode or owner that was repaired, counted in memory."""

    file: str
    at: datetime
    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Authority:
    """What is known of a configured CA without asking it."""

    name: str
    kind: str
    roots: tuple[Leaf, ...] = ()  # () where they are not known yet
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Clock:
    """Whether the wall clock can be believed."""

    sound: bool = True
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """An operator's command that waits to be carried out: `renew`, `rollback`, `reload`."""

    kind: Literal["renew", "rollback", "reload"]
    subject: str
    at: datetime
    force: bool = False


@dataclass(frozen=True, slots=True)
class Degraded:
    """Something the agent does without: watching, the ledger."""

    code: str
    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything known of one certs-dir at one moment."""

    directory: Directory
    pairs: tuple[Pair, ...] = ()
    strangers: tuple[File, ...] = ()  # entries no rule of ours covers
    staged: tuple[Staged, ...] = ()
    generations: tuple[Generation, ...] = ()
    processes: tuple[Process, ...] = ()
    processes_at: datetime | None = None  # when they were looked for; None: never
    served: tuple[Served, ...] = ()
    attempts: tuple[Attempt, ...] = ()  # oldest first
    adopted: tuple[Adopted, ...] = ()
    issued: frozenset[str] = field(default_factory=frozenset)  # fingerprints the ledger knows as ours
    quarantined: frozenset[str] = field(default_factory=frozenset)
    in_flight: tuple[InFlight, ...] = ()
    repairs: tuple[Repair, ...] = ()
    authorities: tuple[Authority, ...] = ()
    requests: tuple[Request, ...] = ()
    clock: Clock = Clock()
    degraded: tuple[Degraded, ...] = ()
    ledger_problem: str | None = None
    euid: int = 0  # of the agent: what it may repair

    def pair(self, stem: str) -> Pair | None:
        """The live pair of that name."""
        return next((p for p in self.pairs if p.name.stem == stem), None)
