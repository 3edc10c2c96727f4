"""What to ask the processes, and when.

Dear facts are cached with an age; a file event costs one directory scan, no more.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

from certagent.core.actions import Probe, Scan
from certagent.core.catalogue import CERT_UNTRUSTED, SERVED_UNREACHABLE
from certagent.core.decide.part import Part, total
from certagent.core.facts import Listener, Process, Served, Snapshot
from certagent.core.policy import Policy
from certagent.core.serving import changed_at, differs, looked, signals
from certagent.core.timing import PROOF_WAIT

SCAN_EVERY = timedelta(seconds=30)
SCAN_STARTING, YOUNG = timedelta(seconds=2), timedelta(minutes=2)  # a process in start-up is looked at more often
PROBE_EVERY = timedelta(minutes=5)
UNREACHABLE_EVERY = timedelta(seconds=30)
FIRST_AGAIN = timedelta(milliseconds=5)


def part(policy: Policy, snapshot: Snapshot, now: datetime) -> Part:
    """Scans and probes that are due, and findings about ports that do not answer."""
    parts = [_scan(snapshot, now)]
    parts += [_probe(snapshot, process, probe, now) for process, probe in _wanted(policy, snapshot)]
    parts.append(_unreachable(snapshot))
    return total(parts)


def _scan(snapshot: Snapshot, now: datetime) -> Part:
    if any(j.kind == "scan" for j in snapshot.in_flight):
        return Part()
    at = snapshot.processes_at
    if at is not None and _outdated(snapshot, at, now):
        return Part((Scan("look for the owning processes again, after a swap or a command"),))
    young = any(p.state == "starting" and now - p.started < YOUNG for p in snapshot.processes)
    every = SCAN_STARTING if young else SCAN_EVERY
    if at is None or now - at >= every or at > now:
        return Part((Scan("look for the owning processes"),))
    return Part(wakes=(at + every,))


def _outdated(snapshot: Snapshot, at: datetime, now: datetime) -> bool:
    """Whether an operator asked since, or "there is none" is older than the last swap: no proof may rest on that."""
    asked = any(at < r.at <= now for r in snapshot.requests)
    return asked or (not snapshot.processes and not looked(snapshot, now))


def _wanted(policy: Policy, snapshot: Snapshot) -> Iterator[tuple[Process, Probe]]:
    """What each port serves; and on each SQL port, whether the wanted client pairs are accepted."""
    clients = [p for p in snapshot.pairs if p.name.kind.offered and p.matched and policy.want(p.name.stem)]
    for process in (p for p in snapshot.processes if p.state == "serving"):
        for port in process.listeners or tuple(Listener(h, p, k) for h, p, k in policy.process.probe):
            kind = _kind(snapshot, process, port)
            yield process, Probe(port.host, port.port, kind, process.identity, "", "what does it serve?")
            for pair in clients if kind == "sql" else ():
                stem = pair.name.stem
                yield process, Probe(port.host, port.port, "sql", process.identity, stem, f"does it accept {stem}?")


def _kind(snapshot: Snapshot, process: Process, port: Listener) -> Literal["sql", "http", "auto"]:
    """What a port turned out to be, where the process did not say."""
    if port.kind != "auto":
        return port.kind
    told = [s.kind for s in snapshot.served if s.process == process.identity and s.address == port.address]
    good = [s.kind for s in snapshot.served if s.address == port.address and s.outcome != "unreachable"]
    return good[0] if told and good else "auto"


def _probe(snapshot: Snapshot, process: Process, probe: Probe, now: datetime) -> Part:
    if any((j.kind, j.subject) in {("probe", probe.subject), ("reload", probe.process)} for j in snapshot.in_flight):
        return Part()
    asked = (probe.process, Listener(probe.host, probe.port).address, probe.client)
    known = [s for s in snapshot.served if (s.process, s.address, s.client) == asked]
    if not known or known[-1].at > now:  # an answer from the future: the clock was set back since
        return Part((probe,))
    at = _again_at(snapshot, process, known[-1], now)
    return Part((probe,)) if now >= at else Part(wakes=(at,))


def _again_at(snapshot: Snapshot, process: Process, last: Served, now: datetime) -> datetime:
    """When to ask again: at once after a change, ever slower while a reload is awaited, else every five minutes."""
    sent = signals(snapshot, process)
    news = max([changed_at(snapshot, now), *(a.at for a in sent if a.outcome != "presumed")])
    if last.client:
        pair = snapshot.pair(last.client)
        if pair and pair.leaf and pair.leaf.fingerprint != last.client_fingerprint:
            return last.at
        return last.at + (UNREACHABLE_EVERY if last.outcome != "served" else PROBE_EVERY)
    if last.at <= news:
        return last.at
    waiting = last.at - news
    if differs(snapshot, last) and sent and waiting < PROOF_WAIT:
        return last.at + max(FIRST_AGAIN, waiting / 2)
    return last.at + (PROBE_EVERY if last.outcome == "served" and not differs(snapshot, last) else UNREACHABLE_EVERY)


def _unreachable(snapshot: Snapshot) -> Part:
    alive = {p.identity: p for p in snapshot.processes}
    found = []
    for served in snapshot.served:
        if served.process not in alive:
            continue
        if served.outcome == "unreachable":
            message = f"{served.address} of pid {alive[served.process].pid} cannot be proven: {served.reason}"
            found.append(SERVED_UNREACHABLE.found("node.crt", message))
        elif served.client and served.outcome == "refused":
            message = f"{served.address} refuses {served.client}.crt: {served.reason}"
            remedy = "the server's client CA bundle must hold its issuer"
            found.append(CERT_UNTRUSTED.found(f"{served.client}.crt", message, remedy=remedy))
    return Part(findings=tuple(found))
