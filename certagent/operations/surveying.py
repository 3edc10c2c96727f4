"""What `certagent init` finds on a host: cockroach's processes and units, and the certs directories that they use.

Everything is read with the rights of the user who runs the server, as cockroach reads it. Whether a process counts is
decided by the same rules as in the agent (process/classify.py): anybody may start a program that calls itself
cockroach and names a directory of somebody else.
"""

import grp
import os
import pwd
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from shlex import quote

from certagent.certs_dir import Runner, load
from certagent.certs_dir.lock import closed
from certagent.certs_dir.scanner import Scan
from certagent.config.reader import RedactedValueError
from certagent.config.schema import owner, san
from certagent.core import toml
from certagent.core.adoption import Found, hosts_in
from certagent.core.facts import Directory, ObserveOnly, Pair, Process
from certagent.core.policy import Owner, ProcessRule
from certagent.core.proposal import Proposal, grouped, proposed
from certagent.core.units import DEFAULT_USER, unit_of
from certagent.operations.systemd import command_in, properties, units
from certagent.posix.clock import clock
from certagent.posix.directory import identity
from certagent.posix.errors import HostError
from certagent.posix.manual import manual
from certagent.posix.owner import name_of
from certagent.process.finding import find
from certagent.process.servers import Server, foreign, of_unit, servers

OF_UNIT = ("ExecStart", "User", "WorkingDirectory", "LoadState")
KEY_BITS = 0o040


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was found. `notes`: what was seen and not adopted, and why."""

    proposals: tuple[Proposal, ...]
    notes: tuple[str, ...]
    looked: tuple[str, ...]


def survey(certs_dir: str = "", user: str = "") -> Survey:
    """Look at the host; or at one directory that may have no server yet, whose owner is `user` ("": as it is)."""
    running = servers()
    seen = (*running, *_units(running))
    notes = [note for s in seen if (note := _passed_over(s))]
    places: dict[str, list[Server]] = {}
    for server in seen:
        if not (server.insecure or server.denied) and server.here:
            places.setdefault(server.certs_dir, []).append(server)
    if certs_dir:
        path = os.path.abspath(certs_dir)
        places = {path: places.get(path, [])}
    all_of = [_found(path, used_by, user, asked=bool(certs_dir)) for path, used_by in places.items()]
    notes += [one for one in all_of if isinstance(one, str)]
    found = [one for one in all_of if isinstance(one, Found)]
    at = f"{clock():%Y-%m-%d %H:%M}Z"
    host, pages = socket.gethostname(), manual()
    made = [proposed(unit_of(u), group, host=host, at=at, manual=pages) for u, group in grouped(found).items()]
    return Survey(proposals=tuple(made), notes=tuple(notes), looked=LOOKED)


LOOKED = (
    "processes named cockroach, cockroach-VERSION or cockroach.real, with start, start-single-node, demo, mt start-sql",
    "systemd units named cockroach*",
)


def _units(running: tuple[Server, ...]) -> list[Server]:
    """The servers of units named cockroach* that do not run."""
    known, found = {s.unit for s in running}, []
    for unit in units("cockroach*"):
        if unit in known:
            continue
        says = properties(unit, *OF_UNIT)
        try:
            account = pwd.getpwnam(says.get("User") or "root")
        except KeyError:
            continue
        cwd = says.get("WorkingDirectory", "").lstrip("!-")
        words = command_in(says.get("ExecStart", ""))
        home = cwd if cwd.startswith("/") else account.pw_dir if cwd == "~" else "/"
        if server := of_unit(unit, account.pw_name, account.pw_uid, account.pw_gid, words, home):
            found.append(server)
    return found


def _passed_over(server: Server) -> str:
    """Why a server is not adopted, "" if it is."""
    who = f"pid {server.pid} (user {server.user})" if server.pid else server.unit
    if server.insecure:
        return f"{who} was started with --insecure: it uses no certificates"
    if server.denied:
        return f"{who} cannot be inspected by this user: run certagent init as root, or as {server.user}"
    if not server.here:
        return (
            f"{who} uses {server.certs_dir}, which is another directory, or none, outside its container: run certagent"
            " in the same pod or container (docs/kubernetes.md), or name the directory with --certs-dir"
        )
    return ""


def _found(path: str, used_by: list[Server], user: str, *, asked: bool) -> Found | str:
    """A directory that is adopted; or why it is not, in a sentence. `asked`: the command line names it."""
    if not toml.writable(path):
        return f"{path}: its name is not UTF-8, so a configuration cannot name it"
    scan = _scanned(path)
    spec, agent = _owner(scan, used_by, user)
    if scan.directory.uid == 0 and agent != "root" and scan.directory.mode & stat.S_IWOTH and not asked:
        return (
            f"{path}: it is root's, and everybody may write it: {agent} may have put the keys there only to be adopted"
        )
    try:
        who = owner(spec)
    except (ValueError, RedactedValueError) as error:
        return f"{path}: owner {spec}: {error}"
    why = [foreign(s, who) for s in used_by]
    counted = [s for s, problem in zip(used_by, why, strict=True) if not problem]
    if used_by and not counted and not asked:
        return f"{path}: {why[0]}"
    return Found(
        path=path,
        directory=scan.directory,
        owner=spec,
        user=agent,
        pairs=scan.pairs,
        key_owners=_key_owners(scan.pairs, who),
        names={p.name.stem: names for p in scan.pairs if (names := _names(p))},
        processes=_processes(path, who),
        served=bool(counted),
        notes=tuple(_notes(path, scan.directory, who, counted)),
    )


def _scanned(path: str) -> Scan:
    """The directory, read with the rights of its owner: root must not be led into what that user may not read."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return Scan(Directory(path, exists=False))
    except OSError as error:
        return Scan(Directory(path, exists=True, problem=error.strerror))
    return load(path, clock(), Runner(info.st_uid, info.st_gid))


def _owner(scan: Scan, used_by: list[Server], user: str) -> tuple[str, str]:
    """What `owner` is to be, and whom the agent runs as: who can replace files of the directory.

    In a directory of root's: root with the group that may read the keys; where the keys are another user's, that user.
    """
    place = scan.directory
    keys = [p.key.file for p in scan.pairs if p.key and not p.name.is_bundle and p.key.file.kind == "file"]
    if user or not place.exists or place.problem:
        named = user or (used_by[0].user if used_by else DEFAULT_USER)
        return (f"{named}:{used_by[0].gid}" if named.isdigit() and used_by else named), named
    if place.uid == 0:
        users = {f.uid for f in keys}
        groups = [f.gid for f in keys if f.uid == 0 != f.gid and f.mode & KEY_BITS]
        if groups or not keys or 0 in users:
            return (f"root:{_group(groups[0])}" if groups else "root"), "root"
        return name_of(keys[0].uid), name_of(keys[0].uid)
    name = name_of(place.uid)
    return (f"{name}:{place.gid}" if name.isdigit() else name), name


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _processes(path: str, who: Owner) -> tuple[Process, ...]:
    found = identity(path)
    return find(*found, ProcessRule(), who) if found else ()


def _key_owners(pairs: tuple[Pair, ...], who: Owner) -> dict[str, str]:
    """The keys that are root's and readable by a group, as cockroach accepts, where `owner` does not say so."""
    keys = [(p.name.stem, p.key.file) for p in pairs if p.key and not p.name.is_bundle and p.key.file.kind == "file"]
    return {
        stem: f"root:{_group(f.gid)}" for stem, f in keys if f.uid == 0 != who.uid and f.mode & KEY_BITS and f.gid != 0
    }


def _names(pair: Pair) -> tuple[str, ...]:
    """The SANs of a server's certificate, as a configuration has them; () where it would not accept one of them."""
    leaf = pair.leaf
    if leaf is None or "server" not in pair.name.kind.asked_as:
        return ()
    try:
        return san(list(hosts_in(leaf)))
    except ValueError:
        return ()


def _notes(path: str, place: Directory, who: Owner, used_by: list[Server]) -> list[str]:
    """What an operator should know of a directory."""
    found = [f"{s.unit} has User={s.user}" + ("" if s.pid else " and does not run") for s in used_by if s.unit]
    if place.exists and not place.problem and place.uid != who.uid:
        found.append(f"it belongs to {name_of(place.uid)}: chown {who.user} {quote(path)}")
    if not place.exists:
        found.append(f"it does not exist yet: install -d -m 0700 -o {who.user} {quote(path)}")
    if place.problem:
        found.append(f"it cannot be read: {place.problem}")
    if who.uid == os.geteuid() == 0 and place.exists and (shut := _shared(path)):
        found.append(f"{shut.reason}: {shut.remedy}")
    if place.observe_only:
        only = place.observe_only
        found.append(f"{only.reason}: certagent writes nothing there; it reloads and verifies (docs/kubernetes.md)")
    return found


def _shared(path: str) -> ObserveOnly | None:
    """Why an agent that is root would change nothing there, None if it would."""
    with suppress(OSError, HostError):
        return closed(path)
    return None
