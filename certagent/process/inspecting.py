"""One process by its pid: its certs-dir, its user, and what its flags and environment change."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import psutil

from certagent.core.facts import LoaderFlags
from certagent.posix.errors import HostError
from certagent.posix.owner import name_of
from certagent.process.advertising import hostname_of
from certagent.process.arguments import flag, parse, release_in
from certagent.process.denial import denial, outside
from certagent.process.finding import cwd_of
from certagent.process.words import argv_of, environ_of, program_of


@dataclass(frozen=True, slots=True)
class Running:
    """What is known of a running process. `certs_dir` is absolute in `root`, the process's own."""

    pid: int
    uid: int  # effective: what its file access goes by
    gid: int  # real: what the loader's rule about keys goes by
    groups: tuple[int, ...]
    user: str
    command: str
    certs_dir: str
    root: str
    insecure: bool
    terms: LoaderFlags


@dataclass(frozen=True, slots=True)
class ProcessDetails:
    """What was read of a process: arguments, environment, its name, its working directory, and its ids."""

    argv: Sequence[str]
    environ: Mapping[str, str]
    comm: str
    cwd: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    exe: str = ""  # the path of its program
    hostname: str = ""  # of its host, as it sees it; "" if not known


def running(pid: int) -> Running:
    """Given a pid, return what it says of its certs-dir; HostError where it is gone, or denied to us."""
    try:
        insides = _insides(pid)
    except (psutil.Error, OSError, ValueError) as error:
        raise HostError(denial(pid, error, outside(pid))) from error
    return told(pid, insides, name_of(insides.uid))


def _insides(pid: int) -> ProcessDetails:
    """Raises psutil.Error, OSError."""
    process = psutil.Process(pid)
    argv, environ = argv_of(pid), environ_of(pid)
    comm = program_of(pid, argv)
    cwd, exe = cwd_of(pid), os.readlink(f"/proc/{pid}/exe")
    ids = (process.uids().effective, process.gids().real, _groups(pid))
    return ProcessDetails(argv, environ, comm, cwd, *ids, exe, hostname_of(pid))


def told(pid: int, insides: ProcessDetails, user: str) -> Running:
    """Given what was read, return its certs-dir and flags. Raises HostError if it is not cockroach."""
    argv, environ, comm = insides.argv, insides.environ, insides.comm
    if flag(argv, "certs-dir") is None and "COCKROACH_CERTS_DIR" not in environ and not comm.startswith("cockroach"):
        raise HostError(f"cannot check pid {pid}: {comm} is not cockroach and has no --certs-dir")
    said = parse(argv, environ, insides.hostname)
    path = os.path.normpath(os.path.join(insides.cwd, said.certs_dir))
    command = f"{os.path.basename(argv[0]) if argv else ''} {said.subcommand}".strip()
    terms = replace(said.terms, release=release_in(insides.exe) or said.terms.release)
    ids = (insides.uid, insides.gid, insides.groups)
    return Running(pid, *ids, user, command, path, f"/proc/{pid}/root", said.insecure, terms)


def _groups(pid: int) -> tuple[int, ...]:
    with open(f"/proc/{pid}/status") as file:
        lines = [line for line in file if line.startswith("Groups:")]
    return tuple(int(g) for line in lines for g in line.split()[1:])
