"""What to ask the processes, and when.

Dear facts are cached with an age; a file event costs one directory scan, no more.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from certagent.core.actions import Probe, Scan
from certagent.core.catalogue import CERT_UNTRUSTED, SERVED_UNREACHABLE
from certagent.core.decide.part import Part, total
from certagent.core.facts import Listener, Served, Snapshot
from certagent.core.policy import Policy
from certagent.core.proof import since
from certagent.core.serving import differs, looked, port_kind

SCAN_EVERY = timedelta(seconds=30)
SCAN_STARTING, YOUNG = timedelta(seconds=2), timedelta(minutes=2)  # a process in start-up is looked at more often
PROBE_EVERY = timedelta(minutes=5)
WRONG_EVERY = timedelta(seconds=30)  # an address that does not answer, or answers otherwise
FIRST_AGAIN = timedelta(milliseconds=5)


def part(policy: Policy, snapshot: Snapshot, now: datetime) -> Part:
    """Scans and probes that are due, and findings about ports that do not answer."""
    parts = [_scan(snapshot, now)]
    parts += _probes(policy, snapshot, now)
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


def _wanted(policy: Policy, snapshot: Snapshot) -> Iterator[Probe]:
    """What each port serves; and on each SQL port, whether the wanted client pairs are accepted."""
    clients = [p for p in snapshot.pairs if p.name.kind.offered and p.matched and policy.want(p.name.stem)]
    for process in (p for p in snapshot.processes if p.state == "serving"):
        for port in process.listeners or tuple(Listener(h, p, k) for h, p, k in policy.process.probe):
            kind = port_kind(snapshot, process, port)
            yield Probe(port.host, port.port, kind, process.identity, "", "what does it serve?")
            for pair in clients if kind == "sql" else ():
                stem = pair.name.stem
                yield Probe(port.host, port.port, "sql", process.identity, stem, f"does it accept {stem}?")


def _probes(policy: Policy, snapshot: Snapshot, now: datetime) -> Iterator[Part]:
    """The probes that are due; none of a process that is being signalled, nor of an address that is being asked."""
    running = {(j.kind, j.subject) for j in snapshot.in_flight}
    known = {(s.process, s.address, s.client): s for s in snapshot.served}
    news = {p.identity: since(snapshot, p, now) for p in snapshot.processes}
    for probe in _wanted(policy, snapshot):
        if running & {("probe", probe.subject), ("reload", probe.process)}:
            continue
        last = known.get((probe.process, Listener(probe.host, probe.port).address, probe.client))
        at = now if last is None else _again_at(snapshot, last, news[probe.process], now)
        yield Part((probe,)) if now >= at else Part(wakes=(at,))


def _again_at(snapshot: Snapshot, last: Served, news: datetime, now: datetime) -> datetime:
    """When to ask again: at once after a change or a signal, ever slower until the answer is right, then every 5 min.

    An answer from the future was given before the clock was set back.
    """
    if not news < last.at <= now or _other_client(snapshot, last):
        return now
    if last.outcome == "served" and not differs(snapshot, last):
        return last.at + PROBE_EVERY
    return last.at + min(WRONG_EVERY, max(FIRST_AGAIN, (last.at - news) / 2))


def _other_client(snapshot: Snapshot, last: Served) -> bool:
    """Whether a client pair was offered that has been replaced since: that change is none of the server's files."""
    pair = snapshot.pair(last.client)
    return pair is not None and pair.leaf is not None and pair.leaf.fingerprint != last.client_fingerprint


def _unreachable(snapshot: Snapshot) -> Part:
    alive = {p.identity: p for p in snapshot.processes}
    found = []
    for served in snapshot.served:
        if served.process not in alive:
            continue
        if served.outcome == "unreachable":
            message = f"{served.address} of pid {alive[served.process].pid} cannot be verified: {served.reason}"
            found.append(SERVED_UNREACHABLE.found("node.crt", message))
        elif served.client and served.outcome == "refused":
            message = f"{served.address} refuses {served.client}.crt: {served.reason}"
            remedy = "the server's client CA bundle must hold its issuer"
            found.append(CERT_UNTRUSTED.found(f"{served.client}.crt", message, remedy=remedy))
    return Part(findings=tuple(found))
