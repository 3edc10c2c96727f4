"""Processes that own the directory, and what they serve."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal


@dataclass(frozen=True)
class Listener:
    """A TCP port a process listens on, at an address that can be dialled from here."""

    host: str
    port: int
    kind: Literal["sql", "http", "auto"] = "auto"

    @cached_property
    def address(self) -> str:
        """host:port, an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class LoaderFlags:
    """What flags and environment of a process change in how it judges its certificates."""

    skip_key_check: bool = False  # COCKROACH_SKIP_KEY_PERMISSION_CHECK
    principal_map: tuple[tuple[str, str], ...] = ()  # --cert-principal-map: certificate's name -> database's name
    node_dn: str = ""  # --node-cert-distinguished-name
    root_dn: str = ""  # --root-cert-distinguished-name
    node_sans: tuple[str, ...] = ()  # --node-cert-san, each as in Leaf.sans
    root_sans: tuple[str, ...] = ()  # --root-cert-san
    root_login: bool = True  # not --disallow-root-login
    debug_user: bool = False  # --allow-debug-user
    advertised: tuple[str, ...] = ()  # hosts that other nodes and SQL clients are told to dial
    advertised_http: str = ""  # the same of the DB Console, where flags name it
    release: tuple[int, int] | None = None  # of cockroach; None: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a node is in its cluster, by its arguments and its host."""

    joins: tuple[str, ...] = ()  # --join: host:port of each
    advertised: str = ""  # host:port that other nodes are told to dial; "": not known
    addresses: tuple[str, ...] = ()  # of the host, in the canonical text of the ipaddress module


@dataclass(frozen=True)
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
    terms: LoaderFlags = LoaderFlags()
    problem: str | None = None
    advice: str = ""  # the remedy of the problem, where it is known
    strange: bool = False  # anybody may have started it: it gets no signal, and nothing goes by its flags
    seen: tuple[Listener, ...] = ()  # where it listens, where `listeners` are those of `probe` instead
    place: Place = Place()
    by_probe: bool = False  # its listeners are those of `probe`: it counts as serving once one of them has answered

    @cached_property
    def identity(self) -> str:
        """`pid:start`."""
        return f"{self.pid}:{self.start}"


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Why what looks like the process that owns the directory is not taken for it."""

    why: Literal["insecure", "other-user", "pid-file", "pid-file-old"]
    detail: str  # one sentence
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Served:
    """What one address answered to one probe.

    `outcome`: "served" (a handshake returned `fingerprint`), "refused" (TLS began and failed: the pair is bad),
    "unreachable" (no connection or no TLS). With a client pair "served" means that it was accepted, by the log-in or,
    with `only_tls`, by TLS alone.
    """

    address: str
    kind: Literal["sql", "http"]
    process: str  # Process.identity, "" for a configured probe
    at: datetime
    outcome: Literal["served", "refused", "unreachable"]
    fingerprint: str = ""
    client_cas: tuple[str, ...] = ()  # SHA-256 of the DER of each CA name in the certificate request
    node_client_expiry: int = 0  # of the metric, seconds since 1970; 0: not read
    reason: str = ""
    client: str = ""  # the stem of the client pair offered
    client_fingerprint: str = ""
    only_tls: bool = False  # TLS took the client pair; the log-in itself was neither granted nor refused
    sqlstate: str = ""  # of a log-in that was refused
    rotations: tuple[tuple[str, int], ...] = ()  # by the metric's label: when a reload last changed that file
    release: tuple[int, int] | None = None  # of cockroach, by its metrics
    live_nodes: int | None = None  # of the cluster, by its metrics; None: not read
