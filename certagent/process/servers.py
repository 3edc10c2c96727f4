"""Every cockroach server of the host, whatever directory it uses and whoever runs it: for `certagent init`."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil

from certagent.core.facts import Process
from certagent.core.policy import Owner, ProcessRule
from certagent.posix.directory import identity
from certagent.posix.owner import name_of
from certagent.posix.responding import FRESH, responds
from certagent.process.advertising import hostname_of
from certagent.process.arguments import parse
from certagent.process.classify import SHELLS, Ids, stranger
from certagent.process.finding import candidates, ids_of, insides, same_directory, seen

UNIT = re.compile(r"^\d+:[^:]*:/system\.slice/(?:[^/\n]+/)*?([^/\n]+\.service)(?:/|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A process that says it is a cockroach server. All of it was chosen by whoever started it."""

    pid: int  # 0: a unit that does not run
    uid: int
    gid: int
    user: str
    ids: Ids
    command: str = ""  # the program and the sub-command
    certs_dir: str = ""  # absolute in its own root; "": not known
    here: bool = False  # that path leads to the same directory in our root
    insecure: bool = False
    denied: bool = False  # this user may not inspect it
    unit: str = ""  # of systemd, "" if none


def servers() -> tuple[Server, ...]:
    """Those that run, by pid. Shells around one, clients and zombies are none."""
    found = []
    for pid in candidates(ProcessRule()):
        with suppress(psutil.Error, OSError, ValueError, KeyError):
            if one := _examined(pid):
                found.append(one)
    return tuple(sorted(found, key=lambda s: s.pid))


def _examined(pid: int) -> Server | None:
    """Raises psutil.Error, OSError, ValueError, KeyError where it is gone."""
    known = seen(pid)
    if known is None:
        return None
    process, base, argv = known
    details = insides(process)
    said = parse(argv, details.environ if details else {}, hostname_of(pid))
    exe = os.path.basename(details.exe) if details else base.command
    if exe in SHELLS or not said.subcommand:
        return None
    path = os.path.normpath(os.path.join(details.cwd, said.certs_dir)) if details else ""
    return Server(
        pid=pid,
        uid=base.uid,
        gid=base.gid,
        user=base.user,
        ids=ids_of(pid),
        command=f"{exe} {said.subcommand}".strip(),
        certs_dir=path,
        here=details is not None and _here(pid, details.cwd, path),
        insecure=said.insecure,
        denied=details is None,
        unit=unit_in(_cgroup(pid)),
    )


def _here(pid: int, cwd: str, path: str) -> bool:
    """Whether a path means the same directory to the process and to us; not if it does not respond."""
    ours = identity(path) if responds(path, FRESH) else None
    return ours is not None and same_directory(pid, cwd, path, *ours)


def _cgroup(pid: int) -> str:
    with open(f"/proc/{pid}/cgroup", errors="replace") as file:
        return file.read(1 << 16)


def unit_in(cgroup: str) -> str:
    """Given /proc/PID/cgroup, return the system's unit, "" if it is in none: a user may name his own groups freely."""
    found = UNIT.search(cgroup)
    return found[1] if found else ""


def of_unit(unit: str, user: str, uid: int, gid: int, words: list[str], cwd: str) -> Server | None:
    """Given a unit that does not run, its user, command line and directory, return its server; None for a client."""
    said = parse(words, {"HOME": cwd}, "")
    if not words or not said.subcommand:
        return None
    return Server(
        pid=0,
        uid=uid,
        gid=gid,
        user=user or name_of(uid),
        ids=Ids((uid, uid, uid), frozenset({gid})),
        command=f"{os.path.basename(words[0])} {said.subcommand}",
        certs_dir=os.path.normpath(os.path.join(cwd, said.certs_dir)),
        here=True,
        insecure=said.insecure,
        unit=unit,
    )


def foreign(server: Server, owner: Owner) -> str:
    """Given a server and the owner of the directory that it names, return why the agent would not count it, or ""."""
    base = Process(server.pid, 0, server.uid, server.gid, server.user, "starting", datetime.fromtimestamp(0, UTC))
    return stranger(base, server.ids, owner)
