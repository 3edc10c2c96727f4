"""What to ask the processes, and when.

Facts that are expensive to get are cached with an age, so a file event costs only one directory scan.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from certagent.core.actions import Probe, Scan, probed
from certagent.core.catalogue import (
    CERT_EKU,
    CERT_EXPIRED,
    CERT_NOT_YET_VALID,
    CERT_UNTRUSTED,
    LOGIN_REFUSED,
    PROCESS_PROBE,
    SERVED_UNREACHABLE,
)
from certagent.core.decide.part import NOTHING, Part, saying, total
from certagent.core.facts import Listener, Process, Served, Snapshot
from certagent.core.proof import ended, silent, since
from certagent.core.rotation.roots import BY_MEMBERS, awaiting
from certagent.core.rules import pair_findings
from certagent.core.serving import PortKind, differs, looked, of_process, port_kind
from certagent.core.view import View

SCAN_EVERY = timedelta(seconds=30)
SCAN_STARTING, YOUNG = timedelta(seconds=2), timedelta(minutes=2)  # a process in start-up, or to be restarted
PROBE_EVERY = timedelta(minutes=5)
COUNT_EVERY = timedelta(seconds=15)  # how many nodes are live, while something waits for all of them
WRONG_EVERY = timedelta(seconds=30)  # an address that does not answer, or answers otherwise
FIRST_AGAIN = timedelta(milliseconds=5)
INVALID = frozenset({CERT_EXPIRED, CERT_NOT_YET_VALID, CERT_EKU, CERT_UNTRUSTED})  # a client's certificate


def part(view: View) -> Part:
    """Scans and probes that are due, and findings about ports that do not answer."""
    return total(
        [_scan(view), *(_probes(view, p) for p in view.snapshot.processes), _unreachable(view), _misnamed(view)]
    )


def _scan(view: View) -> Part:
    if view.running("scan"):
        return NOTHING
    at = view.snapshot.processes_at
    if at is not None and _outdated(view, at):
        return Part((Scan("search for the processes again after a swap or a command", urgent=True),))
    young = any(p.state == "starting" and view.now - p.started < YOUNG for p in view.snapshot.processes)
    every = SCAN_STARTING if young or ended(view.snapshot, view.now) else SCAN_EVERY
    if at is None or view.now - at >= every or at > view.now:
        return Part((Scan("search for the processes that use the directory"),))
    return Part(wakes=(at + every,))


def _outdated(view: View, at: datetime) -> bool:
    """Whether an operator asked since, or "no process" is older than the last swap: nothing is verified by that."""
    asked = any(at < r.at <= view.now for r in view.snapshot.requests)
    return asked or (not view.snapshot.processes and not looked(view.snapshot, view.now))


def _probes(view: View, process: Process) -> Part:
    """The probes that are due; none of a process that is being signalled, nor of an address that is being asked."""
    if not (process.state == "serving" or _announced(process)) or view.running("reload", process.identity):
        return NOTHING
    actions: list[Probe] = []
    wakes: list[datetime] = []
    news = since(view.snapshot, process, view.now)
    known = {(s.address, s.client): s for s in of_process(view.snapshot, process)}
    for port, kind, client in _wanted(view, process):
        if view.running("probe", probed(port.host, port.port, client)):
            continue
        last = known.get((port.address, client))
        at = view.now if last is None else _again_at(view, last, news)
        if last is not None and _announced(process):
            at = min(at, last.at + SCAN_STARTING)
        if view.now < at:
            wakes.append(at)
            continue
        why = f"check whether it accepts {client}" if client else "check what it serves"
        actions.append(Probe(port.host, port.port, kind, process.identity, client, why))
    return Part(tuple(actions), wakes=tuple(wakes))


def _wanted(view: View, process: Process) -> Iterator[tuple[Listener, PortKind, str]]:
    """What each port serves; and on each SQL port, whether the wanted client pairs are accepted."""
    clients = [p for p in view.snapshot.pairs if p.name.kind.offered and p.matched and view.want(p.name.stem)]
    for port in process.listeners or tuple(Listener(h, p, k) for h, p, k in view.policy.process.probe):
        kind = port_kind(view.snapshot, process, port)
        yield port, kind, ""
        yield from ((port, "sql", pair.name.stem) for pair in clients if kind == "sql")


def _announced(process: Process) -> bool:
    """Whether it is asked although it may still be starting: `probe` says where, and its answer is all there is."""
    return process.by_probe and process.state == "starting"


def _again_at(view: View, last: Served, news: datetime) -> datetime:
    """When to ask again: immediately after a change or signal, then ever slower; every 5 min once the answer is right.

    An answer from the future was given before the clock was set back.
    """
    if not news < last.at <= view.now or _other_client(view.snapshot, last):
        return view.now
    if last.outcome == "served" and not differs(view.snapshot, last):
        return last.at + (COUNT_EVERY if _counts(view, last) else PROBE_EVERY)
    return last.at + min(WRONG_EVERY, max(FIRST_AGAIN, (last.at - news) / 2))


def _counts(view: View, last: Served) -> bool:
    """Whether an answer says how many nodes are live, and that decides something now.

    A pair of another root waits for all of them; and where more are live than are listed, a person is at work on that.
    """
    snapshot = view.snapshot
    return last.live_nodes is not None and (
        snapshot.members.unlisted > 0 or any(awaiting(snapshot, stem) for stem in BY_MEMBERS)
    )


def _other_client(snapshot: Snapshot, last: Served) -> bool:
    """Whether the client pair that was offered has been replaced since, which changes no file of the server."""
    pair = snapshot.pair(last.client)
    return pair is not None and pair.leaf is not None and pair.leaf.fingerprint != last.client_fingerprint


def _invalid(view: View, stem: str) -> bool:
    """Whether the certificate is at fault itself, which is a finding of its own: that servers refuse it follows."""
    pair = view.pair(stem)
    found = pair_findings(view.want(stem), pair, view.now) if pair else ()
    return any(f.rule in INVALID for f in found)


def _unreachable(view: View) -> Part:
    snapshot = view.snapshot
    alive = {p.identity: p for p in snapshot.processes if not _announced(p)}
    wrong = {i: _elsewhere(snapshot, p) for i, p in alive.items()}
    found = []
    for served in snapshot.served:
        if served.process not in alive or served.address in wrong.get(served.process, ()):
            continue
        if served.outcome == "unreachable":
            message = f"{served.address} of pid {alive[served.process].pid} cannot be verified: {served.reason}"
            after = silent(snapshot, alive[served.process])
            message += "; no handshake succeeds since the SIGHUP" if after else ""
            found.append(SERVED_UNREACHABLE.found("node.crt", message, "critical" if after else "warning"))
        elif served.client and served.sqlstate:
            message = f"{served.address} refuses the log-in with {served.client}.crt: {served.reason}"
            found.append(LOGIN_REFUSED.found(f"{served.client}.crt", message))
        elif served.client and served.outcome == "refused" and not _invalid(view, served.client):
            message = f"{served.address} refuses {served.client}.crt: {served.reason}"
            remedy = "add the issuer to the server's bundle of client CAs"
            found.append(CERT_UNTRUSTED.found(f"{served.client}.crt", message, remedy=remedy))
    return saying(found)


def _elsewhere(snapshot: Snapshot, process: Process) -> tuple[str, ...]:
    """The addresses of `probe` whose port the process does not listen on.

    One that serves what is on disk is right all the same: something forwards it.
    """
    ports = {port.port for port in process.seen}
    named = [port for port in process.listeners if port.port not in ports] if ports else []
    if not named:
        return ()
    right = {
        s.address
        for s in snapshot.served
        if s.process == process.identity and s.outcome == "served" and not differs(snapshot, s)
    }
    return tuple(port.address for port in named if port.address not in right)


def _misnamed(view: View) -> Part:
    """Where `probe` is wrong: what is asked there says nothing of the process."""
    found = []
    for process in view.snapshot.processes:
        if wrong := _elsewhere(view.snapshot, process):
            seen = ", ".join(port.address for port in process.seen)
            message = f"`probe` names {', '.join(wrong)}, but pid {process.pid} listens on {seen}"
            found.append(PROCESS_PROBE.found(f"pid {process.pid}", message))
    return saying(found)
