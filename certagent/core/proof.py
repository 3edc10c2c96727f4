"""What verifies that the processes use a file, and which addresses have not yet: for the loop, status and commands.

Every address of every owning process counts. An answer counts only if it is newer than the last change of the files and
the last signal to its process: an older handshake says nothing about what is on disk now.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from certagent.core.facts import Attempt, Pair, Process, Served, Snapshot
from certagent.core.facts.history import VERIFIED
from certagent.core.serving import (
    changed_at,
    differs,
    expected,
    looked,
    material,
    of_process,
    port_kind,
)
from certagent.core.showing import of_new_roots, rotated, shows
from certagent.core.timing import PROOF_WAIT

Kind = Literal["none-needed", "pending", "served", "accepted", "metric", "advertised", "handshake", "tls", "sent"]
Answers = Mapping[tuple[str, str, str], Served]  # by process, client pair ("" without one) and address
MOURNED = timedelta(minutes=10)  # how long a process that ended after a signal is an alarm


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How a file is verified. `owed`, while it is pending: addresses, and `pid N` for a process without one to ask."""

    kind: Kind
    owed: tuple[str, ...] = ()


def proof(snapshot: Snapshot, pair: Pair, now: datetime) -> Proof:
    """Given a live file, return what verifies that every owning process uses it, or what is still owed."""
    return proofs(snapshot, (pair,), now)[0]


def proofs(snapshot: Snapshot, pairs: Iterable[Pair], now: datetime) -> list[Proof]:
    """The same for many files: the answers that count are found once."""
    told = answers(snapshot, now)
    return [_proof(snapshot, pair, told, now) for pair in pairs]


def _proof(snapshot: Snapshot, pair: Pair, told: Answers, now: datetime) -> Proof:
    if not snapshot.processes:
        return Proof(kind="none-needed" if looked(snapshot, now) else "pending")
    if pair.leaf is None:
        return Proof(kind="pending")
    owed = dict.fromkeys(who for p in owners(snapshot) for who in _owed(snapshot, p, pair, told))
    return Proof(kind="pending", owed=tuple(owed)) if owed else Proof(kind=_kind(snapshot, pair, told))


def owners(snapshot: Snapshot) -> list[Process]:
    """The processes that must be verified: not those of other users that cannot be inspected, if there are others.

    Whoever names our directory in the arguments of a process of their own would otherwise keep all of it pending.
    """
    known = [p for p in snapshot.processes if p.state != "forbidden" or p.uid == snapshot.directory.uid]
    return known or list(snapshot.processes)


def unverified(snapshot: Snapshot, process: Process, told: Answers) -> tuple[str, ...]:
    """The addresses of a process that have not shown since its last signal that they serve what is on disk."""
    if process not in owners(snapshot):
        return ()
    if process.state != "serving":
        return _pid(process)
    found = {x.address: told.get((process.identity, "", x.address)) for x in process.listeners}
    good = {at for at, s in found.items() if s and s.outcome == "served" and differs(snapshot, s) is None}
    return tuple(at for at in found if at not in good) if found else _pid(process)


def awaited(snapshot: Snapshot, now: datetime) -> bool:
    """Whether a signal was sent so recently that its process may still be verified by waiting."""
    last = [sent[-1] for p in snapshot.processes if (sent := snapshot.history.signals(p))]
    return any(a.outcome in {"asked", "unproven"} and now - a.at < PROOF_WAIT for a in last)


def ended(snapshot: Snapshot, now: datetime) -> Attempt | None:
    """The newest signal, where its process is gone since, without an answer, and no other was started: for a while.

    A process that was started since has loaded what was on disk then. What it serves is not known until it was asked.
    """
    last = next((a for a in reversed(snapshot.attempts) if a.kind == "reload"), None)
    looked = snapshot.processes_at
    if last is None or looked is None or last.outcome != "unproven":
        return None
    if any(p.identity == last.subject for p in snapshot.processes):
        return None
    if not last.at < looked or now - last.at > MOURNED:
        return None
    return None if any(p.started > last.at for p in snapshot.own_processes) else last


def silent(snapshot: Snapshot, process: Process) -> bool:
    """Whether a process that was signalled has answered no handshake since, on any address that was asked."""
    last = snapshot.history.signals(process)[-1:]
    told = [s for s in of_process(snapshot, process) if not s.client and last and s.at > last[0].at]
    return bool(told) and last[0].outcome == "unproven" and all(s.outcome != "served" for s in told)


def since(snapshot: Snapshot, process: Process, now: datetime) -> datetime:
    """What an answer of a process must be newer than: the last change of the files and the last signal to it.

    A moment after `now` is not believed: the clock was set back since.
    """
    sent = [a.at for a in snapshot.history.signals(process) if a.outcome not in VERIFIED and a.at <= now]
    return max([changed_at(snapshot, now), *sent])


def answers(snapshot: Snapshot, now: datetime) -> Answers:
    """The answers of the owning processes that count."""
    after = {p.identity: since(snapshot, p, now) for p in snapshot.processes}
    known = [s for s in snapshot.served if s.process in after]
    return {(s.process, s.client, s.address): s for s in known if after[s.process] < s.at <= now}


def unloaded(snapshot: Snapshot, process: Process, digest: str) -> str | None:
    """Why a process cannot have loaded what is on disk, by records and dates: no probe shows some of the files.

    `digest`: of the material on disk.
    """
    before = next((a for a in reversed(snapshot.history.signals(process)) if a.outcome != "failed"), None)
    if before:
        return None if before.material == digest else "the files changed since the process was last reloaded"
    if len([s for s in of_process(snapshot, process) if not s.client]) < len(process.listeners):
        return None  # it has not said yet what it serves
    late = _late(snapshot, process)
    return f"{late} after the process started" if late else None


def _late(snapshot: Snapshot, process: Process) -> str | None:
    """The newest change of the files that a process without a record may not have loaded.

    It loads all files together, so nothing is owed that is older than a file which it serves as that is on disk. The
    changes of another tool are known by the kernel's dates alone.
    """
    shown, files = _shown(snapshot, process), {p.name.stem: p for p in snapshot.live.loaded}
    ours = [a for a in snapshot.history.swaps if a.subject in files]
    certs = {stem: p.cert.file for stem, p in files.items() if p.cert}
    other = {stem: f for stem, f in certs.items() if stem not in {s for s, _ in shown}}
    seen = [a.at for a in ours if (a.subject, a.fingerprint) in shown]
    seen += [f.written for stem, f in certs.items() if stem not in other]
    begin = max([process.started, *seen])
    installed = [f"{a.subject}.crt was installed" for a in ours if a.at > begin]
    changed = sorted((f.changed, f"{stem}.crt changed") for stem, f in other.items() if f.changed > begin)
    late = installed or [what for _, what in changed]
    return late[-1] if late else None


def _shown(snapshot: Snapshot, process: Process) -> set[tuple[str, str]]:
    """The pairs that it serves as they are on disk: it loads all files together, so nothing older is owed."""
    pairs = [expected(snapshot, s.kind) for s in of_process(snapshot, process) if s.outcome == "served"]
    if any(differs(snapshot, s) for s in of_process(snapshot, process)):
        return set()
    return {(p.name.stem, p.leaf.fingerprint) for p in pairs if p is not None and p.leaf is not None}


def _pid(process: Process) -> tuple[str, ...]:
    return (f"pid {process.pid}",)


def _owed(snapshot: Snapshot, process: Process, pair: Pair, told: Answers) -> tuple[str, ...]:
    """The addresses of one process that have not verified a file; the process itself where it has none for it."""
    if process.state != "serving":
        return _pid(process)
    if pair.name.kind.proof not in {"served", "accepted"}:
        return _not_loaded(snapshot, process, told)
    who, want = process.identity, pair.leaf.fingerprint if pair.leaf else ""
    serve, accept = _ports(snapshot, process, pair)
    shown = {at: s.fingerprint for at in serve if (s := told.get((who, "", at))) and s.outcome == "served"}
    taken = {at: s for at in accept if (s := told.get((who, pair.name.stem, at))) and s.outcome == "served"}
    owed = [at for at in serve if shown.get(at) != want]
    owed += [at for at in accept if at not in taken or taken[at].client_fingerprint != want]
    return tuple(owed) if serve or accept else _pid(process)


def _ports(snapshot: Snapshot, process: Process, pair: Pair) -> tuple[list[str], list[str]]:
    """The addresses that should serve a pair, and those that should accept it from a client.

    A SQL server serves its tenant pair, too. A port that has not shown yet what it speaks may be either kind.
    """
    kinds = {x.address: port_kind(snapshot, process, x) for x in process.listeners}
    ways = {at: ("sql", "http") if kind == "auto" else (kind,) for at, kind in kinds.items()}
    serve = [at for at, each in ways.items() if any(_named(expected(snapshot, w), pair) for w in each)]
    return serve, [at for at, each in ways.items() if "sql" in each and pair.name.kind.offered]


def _named(found: Pair | None, pair: Pair) -> bool:
    return found is not None and found.name == pair.name


def _not_loaded(snapshot: Snapshot, process: Process, told: Answers) -> tuple[str, ...]:
    """For a file that no handshake returns: every address was asked since, none shows otherwise, and it was loaded."""
    found = {x.address: told.get((process.identity, "", x.address)) for x in process.listeners}
    owed = tuple(at for at, s in found.items() if s is None or differs(snapshot, s))
    running = any(a.outcome == "asked" for a in snapshot.history.signals(process)[-1:])
    return owed or (_pid(process) if running or unloaded(snapshot, process, material(snapshot)) else ())


def _kind(snapshot: Snapshot, pair: Pair, told: Answers) -> Kind:
    """How a file was verified for which nothing is owed: the strongest way that every process showed."""
    best, ours = pair.name.kind.proof, {p.identity for p in owners(snapshot)}
    if best == "served":
        return best
    if best == "accepted":
        return "tls" if any(s.only_tls for s in told.values() if s.client == pair.name.stem) else best
    public = [s for s in told.values() if not s.client]
    if ours <= {s.process for s in public if rotated(s, pair, snapshot)}:
        return "metric"
    if ours <= {s.process for s in public if shows(snapshot, s, pair)}:
        return best
    return "handshake" if best == "advertised" and _taken(snapshot, pair, told) else "sent"


def _taken(snapshot: Snapshot, bundle: Pair, told: Answers) -> bool:
    """Whether every process accepted a pair that only this bundle verifies."""
    pairs = of_new_roots(snapshot, bundle)
    return any(not any(_owed(snapshot, p, pair, told) for p in owners(snapshot)) for pair in pairs)
