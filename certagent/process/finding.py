"""Find the processes that own the directory, starting from every comm; classify.py decides what each is."""

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import psutil

from certagent.core.facts import Process
from certagent.core.policy import Owner, ProcessRule
from certagent.posix.directory import identity
from certagent.posix.openat import IN_ROOT, open_within
from certagent.posix.owner import name_of
from certagent.posix.responding import required, responds_for
from certagent.posix.trusted import distrust
from certagent.process.advertising import hostname_of
from certagent.process.arguments import Arguments, parse, release_in
from certagent.process.by_user import SeenByUser, seen_by_user
from certagent.process.classify import (
    Ids,
    PidFile,
    hidden,
    hup_masks,
    ids_in,
    is_strange,
    judged,
    listeners_of,
    meant_by_file,
    misnamed,
    named,
    not_meant,
    out_of_reach,
    serves,
    stranger,
)
from certagent.process.elsewhere import listening_elsewhere
from certagent.process.interfaces import addresses_of
from certagent.process.listing import LISTINGS, comm
from certagent.process.sockets import listening, sockets_of
from certagent.process.words import argv_of, environ_of, program_of

PID_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_STRANGERS = 50
TICKS = os.sysconf("SC_CLK_TCK")


def find(device: int, inode: int, rule: ProcessRule, owner: Owner, oldest: float | None = None) -> tuple[Process, ...]:
    """Given a certs-dir (device, inode), how to find its processes and who owns it, return them.

    Zombies and clients are left out. A process of anybody but the owner is told of as forbidden. `oldest`: how old
    (monotonic) the names of processes may be; None: they are read now.
    """
    if rule.pid_file:
        found = [p for p in [_by_pid_file(rule, owner)] if p is not None]
    else:
        pids = worth_a_look(candidates(rule, oldest), owner)
        found = [p for pid in pids if (p := _examine(pid, device, inode, rule, owner)) is not None]
    return tuple(sorted(found, key=lambda p: p.pid))


def candidates(rule: ProcessRule, oldest: float | None = None) -> list[int]:
    """The processes that are worth a close look, by their names, in a listing that is not older than that."""
    listing = LISTINGS.since(time.monotonic() if oldest is None else oldest)
    return sorted(pid for name, pids in listing.names if named(name, rule.names) for pid in pids)


def worth_a_look(pids: Iterable[int], owner: Owner) -> list[int]:
    """All that are the owner's, and some strangers, who are only told of: anybody may start ten thousand."""
    own, others = list[int](), list[int]()
    for pid in pids:
        with suppress(OSError, ValueError, KeyError):  # it is gone
            (others if is_strange(ids_of(pid), owner) else own).append(pid)
    return [*own, *others[:MOST_STRANGERS]]


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat after the name: the state is the first. Raises OSError if there is none."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read(4096).rpartition(b")")[2].split()


def start_ticks(pid: int) -> int:
    """Field 22 of /proc/PID/stat. Raises OSError if there is none."""
    return int(_stat(pid)[19])


def has_ended(identity: str) -> bool:
    """Whether a process that was there (`Process.identity`) has ended; one that cannot be read may be there."""
    pid, _, start = identity.partition(":")
    try:
        fields = _stat(int(pid))
        return fields[0] in {b"Z", b"X"} or int(fields[19]) != int(start)
    except (FileNotFoundError, ProcessLookupError):
        return True
    except (OSError, ValueError, IndexError):
        return False


@dataclass(frozen=True, slots=True)
class ProcessDetails:
    """What only its own user and root may see of a process: the program's name, environment, working directory."""

    exe: str  # its path
    environ: Mapping[str, str]
    cwd: str
    asked: SeenByUser | None = None  # its own user, where we may not see it ourselves


def _examine(pid: int, device: int, inode: int, rule: ProcessRule, owner: Owner) -> Process | None:
    try:
        known = seen(pid)
        if known is None:
            return None
        process, base, argv = known
        ids = ids_of(pid)
        details = insides(process) or _asked(base, ids, owner)
    except (psutil.Error, OSError, ValueError, KeyError):
        return None
    if details is None:
        strange = bool(stranger(base, ids, owner))
        return _hidden(replace(base, strange=strange), parse(argv, {}), device, inode)
    said = parse(argv, details.environ, hostname_of(pid))
    exe = os.path.basename(details.exe)
    if not serves(exe, said) or not same_directory(pid, details.cwd, said.certs_dir, device, inode):
        return None
    terms = replace(said.terms, release=release_in(details.exe) or said.terms.release)
    base = replace(base, command=f"{exe} {said.subcommand}", terms=terms, place=said.place)
    if problem := stranger(base, ids, owner):
        return replace(base, state="forbidden", problem=problem, strange=True)
    return _look(base, said, rule, details.asked)


def _asked(base: Process, ids: Ids, owner: Owner) -> ProcessDetails | None:
    """What the user of a process sees; no other user than the configured ones is asked. Raises OSError."""
    found = None if stranger(base, ids, owner) else seen_by_user(base.pid, (base.uid, base.gid))
    if found is None:
        return None
    exe = os.readlink(f"/proc/{base.pid}/exe")
    return ProcessDetails(exe, found.environ, cwd_of(base.pid), found)


def seen(pid: int) -> tuple[psutil.Process, Process, list[str]] | None:
    """What everybody may see, the arguments last; None of a zombie and of ourselves. Raises psutil.Error, OSError."""
    process = psutil.Process(pid)
    if process.status() == psutil.STATUS_ZOMBIE or pid == os.getpid():
        return None
    return process, _base(process), argv_of(pid)


def insides(process: psutil.Process) -> ProcessDetails | None:
    """None where they are denied to us. Raises psutil.Error, OSError where it is gone."""
    try:
        exe = os.readlink(f"/proc/{process.pid}/exe")
        return ProcessDetails(exe, environ_of(process.pid), cwd_of(process.pid))
    except (psutil.AccessDenied, PermissionError):
        return None


def _hidden(base: Process, said: Arguments, device: int, inode: int) -> Process | None:
    if not serves("", said):
        return None
    return hidden(base, said, ours=_named(said.certs_dir, device, inode), mine=os.geteuid())


def _named(path: str, device: int, inode: int) -> bool | None:
    """Whether an absolute path is the directory we mean; None where that cannot be said."""
    found = identity(path) if path.startswith("/") else None
    return None if found is None else found == (device, inode)


def _base(process: psutil.Process) -> Process:
    uid, gid = process.uids().effective, process.gids().real  # real: what the loader's rule about keys goes by
    start = start_ticks(process.pid)
    return Process(process.pid, start, uid, gid, name_of(uid), "starting", started_at(start))


def cwd_of(pid: int) -> str:
    """A process's working directory as a path in its own root (/proc shows a path in this root). Raises OSError."""
    root, cwd = os.readlink(f"/proc/{pid}/root"), os.readlink(f"/proc/{pid}/cwd")
    return cwd.removeprefix(root) or "/" if root != "/" and f"{cwd}/".startswith(f"{root}/") else cwd


def started_at(start: int) -> datetime:
    """When a process began, to 10 ms; earlier, never later, where we are held up between the two clocks.

    Later would be a reload too few. Rejected: psutil's create_time, whose boot time is in whole seconds.
    """
    now = time.time()
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - start / TICKS
    return datetime.fromtimestamp(now - age, UTC)


def same_directory(pid: int, cwd: str, certs_dir: str, device: int, inode: int) -> bool:
    """Whether the path, in the process's own root and cwd, is the directory we mean; not one that does not respond."""
    if not responds_for(pid, os.path.join(cwd, certs_dir)):
        return False
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fd = open_within(root, os.path.join(cwd, certs_dir), os.O_PATH, IN_ROOT)
    except OSError:
        return False
    finally:
        os.close(root)
    info = os.fstat(fd)
    os.close(fd)
    return (info.st_dev, info.st_ino) == (device, inode)


def _look(base: Process, said: Arguments | None, rule: ProcessRule, asked: SeenByUser | None = None) -> Process:
    """State and listeners, as we see them or its user does."""
    addresses = list(asked.addresses) if asked else _addresses(base.pid)
    if (
        not addresses
        and not rule.probe
        and (elsewhere := listening_elsewhere(base.pid, asked.sockets if asked else None))
    ):
        return out_of_reach(base, elsewhere)
    base = replace(base, place=replace(base.place, addresses=addresses_of(base.pid)))
    return judged(base, listeners_of(addresses, said), _hup_masks(base.pid), rule, os.geteuid())


def _addresses(pid: int) -> list[tuple[str, int]]:
    """Where it listens on TCP; none where that cannot be seen."""
    try:
        return listening(sockets_of(pid))
    except OSError:
        return []


def ids_of(pid: int) -> Ids:
    """Whose process it is, as everybody may see. Raises OSError, ValueError, KeyError."""
    with open(f"/proc/{pid}/status") as file:
        return ids_in(file)


def _hup_masks(pid: int) -> tuple[bool, bool]:
    try:
        with open(f"/proc/{pid}/status") as file:
            return hup_masks(file)
    except OSError:
        return False, False


def _by_pid_file(rule: ProcessRule, owner: Owner) -> Process | None:
    try:
        named_by, process, base = _pid_file(rule.pid_file)
        name, ids = comm(str(base.pid)), ids_of(base.pid)
        details = insides(process) or _asked(base, ids, owner)
        exe, said = _visible(process, details)
        distrusted = distrust(rule.pid_file, (base.uid,))
    except (OSError, ValueError, LookupError, psutil.Error):
        return None
    file = PidFile(
        path=rule.pid_file,
        distrusted=distrusted,
        written=datetime.fromtimestamp(named_by.st_mtime, UTC),
    )
    problem = stranger(base, ids, owner) or not_meant(file, base) or misnamed(base, name, exe, said, file.path, rule)
    found = meant_by_file(base, file.path, said, problem)
    return found if found.problem else _look(found, None, rule, details.asked if details else None)


def _visible(process: psutil.Process, details: ProcessDetails | None) -> tuple[str, Arguments | None]:
    """The program's name and arguments; "" and None where they are denied to us. Raises psutil.Error, OSError."""
    if details is None:
        return "", None
    said = parse(argv_of(process.pid), details.environ, hostname_of(process.pid))
    return details.exe, replace(said, terms=replace(said.terms, release=release_in(details.exe) or said.terms.release))


def _pid_file(path: str) -> tuple[os.stat_result, psutil.Process, Process]:
    """The file, and the process that it names. Raises OSError, ValueError, IndexError, psutil.Error."""
    required(path)
    with open(path, "rb", opener=lambda name, _: os.open(name, PID_FILE)) as file:  # it closes a directory, too
        info, pid = os.fstat(file.fileno()), int(file.read(64).split()[0])
    process = psutil.Process(pid)
    if pid <= 1:
        raise ValueError("never signalled")
    if process.status() == psutil.STATUS_ZOMBIE:
        raise psutil.ZombieProcess(pid)
    command = program_of(pid, argv_of(pid))
    return info, process, replace(_base(process), command=command, found_by="pid_file")
