"""A process irrevocably gives up all rights that it does not need: user, groups, capabilities, Landlock, seccomp.

If the agent has no privilege, Landlock protects the keys: a worker that runs as their owner still cannot open them.
Landlock does not cover chmod, signals (before its sixth version) and sockets in the file system; the system call
filter does. Rejected: a list of allowed system calls (every libc and every TLS library would have to be followed), and
python-prctl or libseccomp (three structures by ctypes are all it takes).
"""

import ctypes
import os
import resource
from contextlib import suppress
from dataclasses import dataclass

from certagent.posix.prctl import LIBC, SET_DUMPABLE, SET_KEEPCAPS, SET_NO_NEW_PRIVS, SET_PDEATHSIG, prctl
from certagent.sandbox.readable import shared
from certagent.sandbox.seccomp import deny

SIGKILL = 9
CAPSET = {"x86_64": 126, "aarch64": 91}.get(os.uname().machine, -1)
CAP_VERSION, CAP_NET_BIND_SERVICE, PRIVILEGED = 0x20080522, 10, 1024
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ABI_VERSION, PATH_BENEATH, NET_PORT = 1, 1, 2
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE, IOCTL_DEV = 1, 2, 4, 8, 1 << 14, 1 << 15
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
FS_BITS = (0, 13, 14, 15, 15, 16)  # how many file rights each ABI knows; the last one applies to all later ones
NET_ABI, SCOPE_ABI = 4, 6
BIND, CONNECT = 1, 2
SCOPES = 3  # abstract sockets, signals
DNS, HTTPS = 53, 443
FILE_SIZE = 64 << 20

DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
PROGRAMS = ("/usr", "/bin", "/sbin", "/etc/passwd", "/etc/group", "/etc/alternatives", "/etc/ld.so.conf")


@dataclass(frozen=True, slots=True)
class Profile:
    """What a backend needs beyond the network, its own temporary directory and what every worker may read.

    `programs`: it may execute what it may read (`read`, and /usr). `connect`: TCP ports besides 443, 53 and those of
    the URLs it was given; None: any. `bind`: ports it may listen on; one under 1024 keeps the capability for it.
    `datagrams`: it may use UDP, to resolve names. `network` False: it may make no socket.
    """

    programs: bool = False
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    connect: tuple[int, ...] | None = ()
    bind: tuple[int, ...] = ()
    datagrams: bool = False
    network: bool = True
    memory: int = 512 << 20  # bytes of address space; 0: no limit


@dataclass(frozen=True, slots=True)
class Missing:
    """A guard that this kernel does not have. `severe`: without it a worker could reach a managed key or process."""

    what: str
    severe: bool


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("fd", ctypes.c_int32))


class _Port(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def confine(profile: Profile, user: tuple[int, int] | None, area: str, timeout: float) -> tuple[Missing, ...]:
    """Give up everything but what the profile needs; return what this kernel could not do.

    `area` stays writable, and is where it works; "": no place does. `user` (uid, gid): whom root becomes
    irrevocably. Raises OSError where it cannot: then the worker must end.
    """
    prctl(SET_NO_NEW_PRIVS, 1)
    becomes = user if os.geteuid() == 0 else None
    if becomes is not None:
        _become(*becomes, capabilities(profile))
    os.chdir(area or "/")
    with suppress(OSError):
        prctl(SET_PDEATHSIG, SIGKILL)
        prctl(SET_DUMPABLE, 0)
    _limit(profile, timeout)
    abi = landlock_abi()
    missing = lacking(abi, _landlock(profile, abi, area) if abi else "", dropped=becomes is not None)
    return (*missing, *_filter(profile, abi, dropped=becomes is not None))


def refuse_more(profile: Profile) -> None:
    """After `confine` with a profile that differs in system calls alone: give up those that this one does not need."""
    _filter(profile, landlock_abi(), dropped=False)


def _filter(profile: Profile, abi: int, *, dropped: bool) -> tuple[Missing, ...]:
    """Deny system calls; a program may signal and chmod where other guards keep it to what is its own."""
    filtered = deny(
        programs=profile.programs,
        signals=not (profile.programs and abi >= SCOPE_ABI),
        files=not (profile.programs and dropped),
        listens=bool(profile.bind) or profile.programs,
        datagrams=profile.datagrams or profile.programs,
        network=profile.network,
    )
    return () if filtered else (Missing("no seccomp: only user ids protect processes and file modes", not dropped),)


def capabilities(profile: Profile) -> int:
    """Given a profile, return the capabilities, as bits, that it needs as any user: to listen on ports below 1024."""
    return 1 << CAP_NET_BIND_SERVICE if any(port < PRIVILEGED for port in profile.bind) else 0


def _become(uid: int, gid: int, wanted: int) -> None:
    """Become another user irrevocably; of the wanted capabilities those stay that this process has. Raises OSError."""
    kept = wanted & _permitted()
    if kept:
        prctl(SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if kept:
        _give_up_all_but(kept)
    if os.getresuid() != (uid, uid, uid):
        raise OSError("cannot change to the worker's user")


def _give_up_all_but(kept: int) -> None:
    """Raises OSError."""
    data = (_CapData * 2)(_CapData(kept, kept, 0), _CapData(0, 0, 0))
    if LIBC.syscall(CAPSET, ctypes.byref(_CapHeader(CAP_VERSION, 0)), data) != 0:
        raise OSError(ctypes.get_errno(), "cannot give up capabilities")


def _permitted() -> int:
    """Our capabilities, as bits."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        return next((int(line.split()[1], 16) for line in file if line.startswith("CapPrm:")), 0)


def _limit(profile: Profile, timeout: float) -> None:
    """Memory, processor time, size of files, no core."""
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: int(timeout) + 5,
        resource.RLIMIT_FSIZE: FILE_SIZE,
        resource.RLIMIT_NOFILE: 256,
    }
    if profile.memory:
        limits[resource.RLIMIT_AS] = profile.memory
    for what, most in limits.items():
        hard = resource.getrlimit(what)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(what, (value, value))


def landlock_abi() -> int:
    """The version of Landlock that this kernel offers; 0: none."""
    return max(0, int(LIBC.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ABI_VERSION)))


@dataclass(frozen=True, slots=True)
class Handled:
    """What a ruleset takes away unless a rule gives it back, and how much of the structure this kernel knows."""

    files: int
    net: int
    scopes: int
    size: int


def handled(abi: int, *, connect: bool) -> Handled:
    """Given the version of Landlock and whether the ports to connect to are limited, return all it can take away."""
    files = (1 << FS_BITS[min(abi, len(FS_BITS) - 1)]) - 1
    net = (BIND | CONNECT if connect else BIND) if abi >= NET_ABI else 0
    size = 24 if abi >= SCOPE_ABI else 16 if abi >= NET_ABI else 8
    return Handled(files, net, SCOPES if abi >= SCOPE_ABI else 0, size)


def lacking(abi: int, problem: str, *, dropped: bool) -> list[Missing]:
    """Given the version of Landlock and why its ruleset does not hold ("": it does), return what is done without.

    `dropped`: we were root, and became a user to whom the keys are closed.
    """
    if abi == 0:
        return [Missing("no Landlock: only owners and modes protect files", not dropped)]
    ports = f"Landlock {abi}: TCP ports are not restricted (needs Linux 6.7)"
    return [
        *([Missing(ports, severe=False)] if abi < NET_ABI else []),
        *([Missing(f"Landlock: {problem}", not dropped)] if problem else []),
    ]


def _landlock(profile: Profile, abi: int, area: str) -> str:
    """Take away what this version can, and give back what the profile needs; return why it does not hold, or ""."""
    take = handled(abi, connect=profile.connect is not None)
    wanted = _Ruleset(take.files, take.net, take.scopes)
    ruleset = int(LIBC.syscall(CREATE_RULESET, ctypes.byref(wanted), ctypes.c_size_t(take.size), 0))
    if ruleset < 0:
        return os.strerror(ctypes.get_errno())
    _allow_files(ruleset, take.files, profile, area)
    if take.net:
        _allow_ports(ruleset, profile)
    failed = LIBC.syscall(RESTRICT_SELF, ruleset, 0) != 0
    problem = os.strerror(ctypes.get_errno()) if failed else ""
    os.close(ruleset)
    return problem


def _allow_files(ruleset: int, rights: int, profile: Profile, area: str) -> None:
    look = READ_FILE | READ_DIR | (EXECUTE if profile.programs else 0)
    for path in {*shared(), *profile.read}:
        _allow(ruleset, path, rights & look)
    for path in DEVICES:
        _allow(ruleset, path, rights & (READ_FILE | WRITE_FILE))
    for path in PROGRAMS if profile.programs else ():
        _allow(ruleset, path, rights & look)
    for path in (area, *profile.write):
        _allow(ruleset, path, rights & ~IOCTL_DEV if profile.programs else rights & ~(IOCTL_DEV | EXECUTE))


def _allow(ruleset: int, path: str, allowed: int) -> None:
    """One rule; a path that is not there needs none."""
    with suppress(OSError):
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not os.path.isdir(f"/proc/self/fd/{fd}"):
                allowed &= OF_FILES
            rule = _Beneath(allowed, fd)
            LIBC.syscall(ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(rule), 0)
        finally:
            os.close(fd)


def _allow_ports(ruleset: int, profile: Profile) -> None:
    for port in {DNS, HTTPS, *profile.connect} if profile.network and profile.connect is not None else ():
        LIBC.syscall(ADD_RULE, ruleset, NET_PORT, ctypes.byref(_Port(CONNECT, port)), 0)
    for port in profile.bind:
        LIBC.syscall(ADD_RULE, ruleset, NET_PORT, ctypes.byref(_Port(BIND, port)), 0)
