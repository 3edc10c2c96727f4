"""Who else belongs to the cluster: by the configuration, a file, or the server's arguments; never this host itself."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from certagent.core.addresses import SQL_PORT, address, joined
from certagent.core.facts import Members, Process, Snapshot
from certagent.core.policy import RotationRule

UNREAD = "it was not read yet"
ANYWHERE = frozenset({"127.0.0.1", "::1"})  # so a port is dialled that listens at every address


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a file of addresses says: those that are good, and what is wrong with the others, or with the file."""

    addresses: tuple[str, ...] = ()
    problem: str = ""


def listing(text: str) -> Listing:
    """Given a file with one address on each line, return it; # begins a comment."""
    found: dict[str, None] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        if words := line.partition("#")[0].strip():
            try:
                found[address(words)] = None
            except ValueError as error:
                problems.append(f"line {number}: {error}")
    if not found and not problems:
        problems.append("it has no address")
    return Listing(addresses=tuple(found), problem=problems[0] if problems else "")


def with_members(snapshot: Snapshot, rule: RotationRule, host: str, file: Listing | None) -> Snapshot:
    """Given a snapshot with its processes and what they serve, return it with the members. `host`: its name.

    `file`: what `peers_file` says; None: it was not read yet.
    """
    processes = snapshot.own_processes
    found = _named(rule, file, tuple(dict.fromkeys(one for p in processes for one in p.place.joins)))
    listed, own = _parted(found.listed, own_addresses(processes, host), _advertised(processes))
    told = [s for s in snapshot.served if s.live_nodes is not None and s.process in {p.identity for p in processes}]
    newest = max(told, key=lambda s: s.at, default=None)
    members = replace(
        found,
        listed=listed,
        own=own,
        here=max(1, len(processes)),
        live=newest.live_nodes if newest else None,
        live_at=newest.at if newest else None,
        looks=snapshot.members.looks,
    )
    return replace(snapshot, members=members)


def _named(rule: RotationRule, file: Listing | None, joins: tuple[str, ...]) -> Members:
    """Everybody who is named in the first place that names somebody, this host included."""
    if rule.peers is not None:
        return Members(source="peers", listed=rule.peers)
    if rule.peers_file:
        problem = f"{rule.peers_file}: {file.problem if file else UNREAD}" if file is None or file.problem else None
        return Members(source="peers_file", listed=file.addresses if file else (), problem=problem)
    return Members(source="join", listed=joins) if joins else Members()


def own_addresses(processes: Iterable[Process], host: str) -> frozenset[str]:
    """Where this host itself may be listed: with the ports of its own servers, else with cockroach's.

    A server that listens at 127.0.0.1 may listen at every address of its host: cockroach's default is seen as that.
    """
    processes = tuple(processes)
    found = set() if processes else {joined(host.lower(), SQL_PORT)} if host else set[str]()
    for process in processes:
        names = {host.lower(), *(h.lower() for h in process.terms.advertised)} - {""}
        everywhere = {*process.place.addresses, "localhost"}
        for port in (*process.listeners, *process.seen):
            at = {port.host, *names, *(everywhere if port.host in ANYWHERE else ())}
            found |= {joined(h, port.port) for h in at}
        found |= {process.place.advertised} - {""}
    return frozenset(found)


def _advertised(processes: Iterable[Process]) -> str:
    return next((p.place.advertised for p in processes if p.place.advertised), "")


def _parted(listed: tuple[str, ...], own: frozenset[str], advertised: str) -> tuple[tuple[str, ...], str]:
    """Given who is listed and where this host may be, return the others, and the address of this host among all."""
    here = [one for one in listed if one in own]
    return tuple(one for one in listed if one not in own), (here or [advertised])[0]
