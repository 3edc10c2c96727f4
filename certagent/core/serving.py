"""What the processes should serve, and whether they do: shared by reloading, probing and status."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from certagent.core.facts import Listener, Loaded, Pair, Process, Served, Snapshot
from certagent.core.facts.history import VERIFIED
from certagent.core.names import CLIENT_NODE, NODE, UI

NEVER = datetime.fromtimestamp(0, UTC)
PortKind = Literal["sql", "http", "auto"]


def material(snapshot: Snapshot) -> str:
    """A digest of everything a server would load: changes exactly when a reload would change something."""
    return snapshot.live.material


def with_release(process: Process, served: Iterable[Served]) -> Process:
    """The process with the version of cockroach that its metrics name, where its program's path names none."""
    told = next((s.release for s in served if s.process == process.identity and s.release), None)
    known = process.terms.release is not None or told is None
    return process if known else replace(process, terms=replace(process.terms, release=told))


def looked(snapshot: Snapshot, now: datetime) -> bool:
    """Whether processes were looked for since the last swap: one that started in between may serve what was before.

    A swap after `now` is not believed: the clock was set back since.
    """
    swaps = [a.at for a in snapshot.history.swaps if a.at <= now]
    return snapshot.processes_at is not None and all(at <= snapshot.processes_at for at in swaps[-1:])


def changed_at(snapshot: Snapshot, now: datetime) -> datetime:
    """When the newest of the loaded certificates came to stand where it stands.

    A moment after `now` is not believed.
    """
    stood, came = snapshot.live.changed, snapshot.history.swapped
    return max([at for at in (*stood, *came) if at <= now], default=NEVER)


def arrived(snapshot: Snapshot, pair: Pair) -> datetime:
    """When a live certificate came to stand where it stands."""
    installed = snapshot.history.last_install(pair.name.stem, pair.leaf.fingerprint if pair.leaf else None)
    stood = pair.cert.file.changed if pair.cert else NEVER
    return installed.at if installed else stood


def expected(snapshot: Snapshot, kind: str) -> Pair | None:
    """The pair a port of that kind should serve: the DB Console `ui` where it is, else `node`.

    A directory without `node` is a SQL server's: there it is its one tenant pair.
    """
    ui, node = snapshot.pair(UI.stem) if kind == "http" else None, snapshot.pair(NODE.stem)
    if ui is not None and ui.leaf is not None:
        return ui
    if node is not None:
        return node
    tenants = [p for p in snapshot.pairs if p.name.kind.part == "tenant" and "server" in p.name.kind.asked_as]
    return tenants[0] if len(tenants) == 1 else None


def client_names(snapshot: Snapshot) -> frozenset[str]:
    """The names of the CAs that cockroach accepts clients of."""
    return snapshot.live.client_names


def differs(snapshot: Snapshot, served: Served) -> str | None:
    """Given one answer, return how it differs from what is on disk, or None: the leaf, and what else it tells."""
    if served.client:
        return None
    return other_leaf(snapshot, served) or _other_material(snapshot, served)


def _other_material(snapshot: Snapshot, served: Served) -> str | None:
    """What cockroach reveals about files that it does not serve: the CAs of clients, the expiry of `client.node`.

    Another server may take its client CAs from elsewhere.
    """
    if served.outcome != "served":
        return None
    owner = next((p for p in snapshot.processes if p.identity == served.process), None)
    if owner is None or owner.found_by != "arguments":
        return None
    names, node = client_names(snapshot) if served.client_cas else None, snapshot.pair(CLIENT_NODE.stem)
    if names and names != frozenset(served.client_cas):
        return f"{served.address} accepts clients of CAs other than those on disk"
    if served.node_client_expiry and node and node.leaf:
        until = int(node.leaf.not_after.timestamp())
        return (
            None
            if served.node_client_expiry == until
            else f"{served.address} has loaded a client.node.crt other than the one on disk"
        )
    return None


def other_leaf(snapshot: Snapshot, served: Served) -> str | None:
    """Given one answer, return how the leaf that it served differs from the file, or None."""
    if served.outcome == "unreachable" or served.client:
        return None
    pair = expected(snapshot, served.kind)
    if pair is None or pair.leaf is None:
        return None
    if served.outcome == "refused":
        return f"handshakes with {served.address} fail: {served.reason}"
    if served.fingerprint == pair.leaf.fingerprint:
        return None
    return f"{served.address} serves {served.fingerprint[:12]}, {pair.name.stem}.crt is {pair.leaf.fingerprint[:12]}"


def port_kind(snapshot: Snapshot, process: Process, port: Listener) -> PortKind:
    """What a port turned out to be, where the process did not say."""
    if port.kind != "auto":
        return port.kind
    told = [s.kind for s in snapshot.served if s.process == process.identity and s.address == port.address]
    good = [s.kind for s in snapshot.served if s.address == port.address and s.outcome != "unreachable"]
    return good[0] if told and good else "auto"


def of_process(snapshot: Snapshot, process: Process) -> list[Served]:
    """Every answer of that process."""
    return [s for s in snapshot.served if s.process == process.identity]


def loaded_by(snapshot: Snapshot, process: Process) -> Loaded | None:
    """What a process was last seen to have loaded; of one that is new, what was last seen of any; None: unknown."""
    if not snapshot.loaded:
        return None
    known = {found.material: found for found in snapshot.loaded}
    verified = (a.material for a in reversed(snapshot.history.signals(process)) if a.outcome in VERIFIED)
    return next((known[material] for material in verified if material in known), snapshot.loaded[-1])
