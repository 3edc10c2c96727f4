"""One process by its pid: where its certs-dir is, whom it runs as, and what its flags and environment change."""

import os
from dataclasses import dataclass

import psutil

from certagent.core.facts import Terms
from certagent.host.errors import HostError
from certagent.host.procs.arguments import flag, parse
from certagent.host.procs.finding import cwd_of, user_name


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
    terms: Terms


def running(pid: int) -> Running:
    """Given a pid, return what it says of its certs-dir; HostError where it is gone, or denied to us."""
    try:
        process = psutil.Process(pid)
        argv, environ, comm = process.cmdline(), process.environ(), process.name()
        cwd = cwd_of(pid)
        uid, gid, groups = process.uids().effective, process.gids().real, _groups(pid)
    except psutil.NoSuchProcess as error:
        raise HostError(f"cannot check pid {pid}: there is no such process") from error
    except (psutil.AccessDenied, PermissionError) as error:
        raise HostError(f"cannot look into pid {pid}: run certagent as root, or as the user of that process") from error
    except (psutil.Error, OSError) as error:
        raise HostError(f"cannot check pid {pid}: {error}") from error
    if flag(argv, "certs-dir") is None and "COCKROACH_CERTS_DIR" not in environ and not comm.startswith("cockroach"):
        raise HostError(f"cannot check pid {pid}: {comm} is no cockroach, and names no --certs-dir")
    said = parse(argv, environ)
    path = os.path.normpath(os.path.join(cwd, said.certs_dir))
    command = f"{os.path.basename(argv[0]) if argv else ''} {said.subcommand}".strip()
    root = f"/proc/{pid}/root"
    return Running(pid, uid, gid, groups, user_name(uid), command, path, root, said.insecure, said.terms)


def _groups(pid: int) -> tuple[int, ...]:
    with open(f"/proc/{pid}/status") as file:
        lines = [line for line in file if line.startswith("Groups:")]
    return tuple(int(g) for line in lines for g in line.split()[1:])
