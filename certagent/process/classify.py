"""The classification of a process: functions of what /proc and psutil report."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from certagent.core.facts import Listener, Process
from certagent.core.policy import Owner, ProcessRule
from certagent.process.arguments import Arguments

SIGHUP_BIT = 1


@dataclass(frozen=True, slots=True)
class Ids:
    """Real, effective and saved uid of a process, and every group that it is in."""

    uids: tuple[int, int, int]
    gids: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PidFile:
    """A PID file: its path, and when it was written."""

    path: str
    distrusted: str  # who else could have written it, in a sentence; "": nobody
    written: datetime


ANY = "*"
COCKROACH = ("cockroach",)
WRITTEN_LATE = timedelta(
    seconds=1
)  # the clock that dates files is read more coarsely than the one that dates processes
COMM = 15  # bytes of a name that the kernel keeps
SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "busybox"})
PROBE = "set `probe` in [certs_dir.process]"
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - what a listener says, not where we listen


def named(comm: str, names: Iterable[str]) -> bool:
    """Whether a process of that name may be meant: `cockroach`, `cockroach-v25`, `cockroach.real`. `*`: any."""
    return any(n == ANY or comm == n[:COMM] or comm.startswith((f"{n}-"[:COMM], f"{n}."[:COMM])) for n in names)


def serves(exe: str, said: Arguments) -> bool:
    """Whether a program with these arguments loads a certs-dir: no shell around one, no client, not insecure."""
    return exe not in SHELLS and bool(said.subcommand) and not said.insecure


def is_strange(ids: Ids, owner: Owner) -> bool:
    """Given whose process it is and the configured owner, return whether anybody may have started it."""
    if set(ids.uids) == {owner.uid}:
        return False
    return not (owner.uid == 0 and owner.gid != 0 and len(set(ids.uids)) == 1 and owner.gid in ids.gids)


def stranger(base: Process, ids: Ids, owner: Owner) -> str:
    """Given a process, its ids and the configured owner, return why it gets no signal and no say, or "".

    Anybody may call a program cockroach and name the directory. So real, effective and saved uid are the owner's; where
    the keys are root's (root:GROUP, 0640), the process may be of any user who is in that group.
    """
    if not is_strange(ids, owner):
        return ""
    who = base.user if len(set(ids.uids)) == 1 else f"uids {', '.join(map(str, ids.uids))}"
    whose = f"{owner.user}, nor in its group" if owner.uid == 0 else owner.user
    return f"pid {base.pid} runs as {who}, not as {whose}: it gets no signal; if it is your server, set `owner`"


def hidden(base: Process, said: Arguments, *, ours: bool | None, mine: int) -> Process | None:
    """A process that may not be inspected: it counts as an owner by its arguments, or because it has the agent's user.

    `ours`: whether its arguments name our directory, None where they do not say. `mine`: our uid. Another user's that
    names another directory, or none, is that user's agent's business.
    """
    if ours is False or (ours is None and base.uid != mine):
        return None
    problem = f"this user may not inspect pid {base.pid}"
    return replace(base, state="forbidden", problem=problem, terms=said.terms)


def out_of_reach(base: Process, ports: tuple[int, ...]) -> Process:
    """A process that listens in another network namespace: only `probe` says where it can be asked."""
    where = ", ".join(str(p) for p in ports)
    problem = f"pid {base.pid} listens on port {where} of another network namespace, as in a container"
    return replace(base, state="forbidden", problem=problem, advice=f"{PROBE} to an address that can be dialled here")


def judged(
    base: Process, listeners: tuple[Listener, ...], hup: tuple[bool, bool], rule: ProcessRule, mine: int
) -> Process:
    """Given its listeners and whether it ignores and catches SIGHUP, return it with its state. `mine`: our uid.

    `probe` says where it is asked; that it listens is seen, or else counts only once it has answered there.
    """
    ignored, caught = hup
    asked = tuple(Listener(*x) for x in rule.probe) or listeners
    if ignored:
        problem = f"pid {base.pid} ignores SIGHUP and cannot be reloaded"
        advice = (
            "restart it without nohup, as with --background or as a systemd unit; until then it serves what it loaded"
        )
        return replace(base, state="ignoring", listeners=listeners, problem=problem, advice=advice)
    if not caught:
        return replace(base, state="starting", listeners=listeners)
    if listeners:
        return replace(base, state="serving", listeners=asked, seen=listeners if rule.probe else ())
    if rule.probe:
        return replace(base, state="starting", listeners=asked, by_probe=True)
    if mine not in {0, base.uid}:
        problem = f"the listeners of pid {base.pid} cannot be seen by this user"
        return replace(base, state="forbidden", problem=problem, advice=f"{PROBE} to where it listens")
    return base


def listeners_of(addresses: Iterable[tuple[str, int]], said: Arguments | None) -> tuple[Listener, ...]:
    """Given where it listens and what its arguments say of the HTTP port, return where it can be asked."""
    found = {
        Listener(ANYWHERE.get(host, host), port, "http" if said is not None and port == said.http_port else "auto")
        for host, port in addresses
    }
    return tuple(sorted(found, key=lambda x: (x.port, x.host)))


def hup_masks(status: Iterable[str]) -> tuple[bool, bool]:
    """Given the lines of /proc/PID/status, return (ignored, caught) of SIGHUP.

    For a Go program `caught` is always set, and listening is the better evidence.
    """
    fields = dict(line.split(":", 1) for line in status if line.startswith(("SigIgn:", "SigCgt:")))
    ignored, caught = (bool(int(fields.get(name, "0"), 16) & SIGHUP_BIT) for name in ("SigIgn", "SigCgt"))
    return ignored, caught


def ids_in(status: Iterable[str]) -> Ids:
    """Given the lines of /proc/PID/status, return whose process it is. ValueError, KeyError for anything else."""
    fields = dict(line.split(":", 1) for line in status if line.startswith(("Uid:", "Gid:", "Groups:")))
    real, effective, saved, _ = (int(word) for word in fields["Uid"].split())
    return Ids((real, effective, saved), frozenset(int(g) for g in (fields["Gid"] + fields["Groups"]).split()))


def misnamed(named_process: Process, comm: str, exe: str, said: Arguments | None, file: str, rule: ProcessRule) -> str:
    """Given the process that a PID file names and what can be seen of it, return why it is another one, or "".

    The file says which process it is; it lifts no rule on what can be seen. `said`: its arguments, None where they
    are denied.
    """
    pid = named_process.pid
    if not named(comm, rule.names) or exe in SHELLS:
        return f"{file} names pid {pid}, which is {exe or comm}: `names` does not have it, so it gets no signal"
    if said is not None and named(comm, COCKROACH) and not serves(exe, said):
        return f"{file} names pid {pid}, a cockroach command that serves no certs directory, so it gets no signal"
    return ""


def outlived(pid: int, file: str, started: datetime, written: datetime) -> str:
    """Given when a process began and its PID file was written, return why the file names another one, or ""."""
    if started <= written + WRITTEN_LATE:
        return ""
    return f"{file} is older than pid {pid}, which it names: it is left from a process that has ended"


def not_meant(file: PidFile, process: Process) -> str:
    """Given a PID file and the process that it names, return why the file is not believed, or ""."""
    doubt = pid_file_problem(process.pid, file.path, file.distrusted)
    return doubt or outlived(process.pid, file.path, process.started, file.written)


def meant_by_file(base: Process, file: str, said: Arguments | None, problem: str) -> Process:
    """Given the process that a PID file names and why it gets no signal ("": it does), return it with its state.

    `said`: its arguments, None where they are denied; those of another program than cockroach mean something else.
    """
    if problem:
        advice = f"correct `pid_file` in [certs_dir.process], or who writes {file}"
        return replace(base, state="forbidden", problem=problem, advice=advice, strange=True)
    return replace(base, terms=said.terms, place=said.place) if said and said.subcommand else base


def pid_file_problem(pid: int, file: str, distrusted: str) -> str:
    """Given what is wrong with the way to a PID file ("": nothing), return why the file is not believed, or "".

    Root would signal whatever process the file names.
    """
    return f"{file} is ignored, it could name a process of another user (pid {pid}): {distrusted}" if distrusted else ""
