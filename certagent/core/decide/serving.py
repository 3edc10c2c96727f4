"""What the processes should serve, and whether they do: shared by reloading, probing and status."""

from datetime import UTC, datetime
from hashlib import sha256

from certagent.core.facts import Attempt, Pair, Process, Served, Snapshot
from certagent.core.names import Role

LOADED = frozenset(Role) - {Role.CLIENT}


def loaded_pairs(snapshot: Snapshot) -> list[Pair]:
    """The pairs and bundles a server loads and uses: all but the clients' (`client.node` is the node's own)."""
    return [p for p in snapshot.pairs if p.cert is not None and (p.name.role in LOADED or p.name.stem == "client.node")]


def material(snapshot: Snapshot) -> str:
    """A digest of everything a server would load: changes exactly when a reload would change something."""
    parts = [f"{p.name.stem}={p.cert.digest if p.cert else ''}" for p in loaded_pairs(snapshot)]
    return sha256("\n".join(sorted(parts)).encode()).hexdigest()


def changed_at(snapshot: Snapshot, now: datetime) -> datetime:
    """When the newest of the loaded certificates came to stand where it stands.

    A moment after `now` is not believed.
    """
    stood = [datetime.fromtimestamp(p.cert.file.ctime_ns / 1e9, UTC) for p in loaded_pairs(snapshot) if p.cert]
    arrived = [a.at for a in snapshot.attempts if a.kind in {"install", "rollback"} and a.outcome == "ok"]
    return max((at for at in (*stood, *arrived) if at <= now), default=datetime.fromtimestamp(0, UTC))


def expected(snapshot: Snapshot, kind: str) -> Pair | None:
    """The pair a port of that kind should serve: the DB Console `ui` where it is, else `node`."""
    ui = snapshot.pair("ui")
    return ui if kind == "http" and ui is not None and ui.leaf is not None else snapshot.pair("node")


def differs(snapshot: Snapshot, served: Served) -> str | None:
    """Given one answer, return how it differs from what is on disk, or None."""
    pair = expected(snapshot, served.kind)
    if pair is None or pair.leaf is None or served.outcome == "unreachable" or served.client:
        return None
    if served.outcome == "refused":
        return f"{served.address} fails its handshakes: {served.reason}"
    if served.fingerprint == pair.leaf.fingerprint:
        return None
    return f"{served.address} serves {served.fingerprint[:12]}, {pair.name.stem}.crt is {pair.leaf.fingerprint[:12]}"


def of_process(snapshot: Snapshot, process: Process) -> list[Served]:
    """Every answer of that process."""
    return [s for s in snapshot.served if s.process == process.identity]


def signals(snapshot: Snapshot, process: Process) -> tuple[Attempt, ...]:
    """The reloads recorded for a process, oldest first."""
    return tuple(a for a in snapshot.attempts if a.kind == "reload" and a.subject == process.identity)


def unanswered(snapshot: Snapshot, process: Process, digest: str) -> tuple[Attempt, ...]:
    """The signals sent for this material since anything was last proven."""
    run: list[Attempt] = []
    for attempt in signals(snapshot, process):
        proven = attempt.outcome in {"ok", "presumed"}
        run = [] if proven or attempt.digest != digest else [*run, attempt]
    return tuple(run)
