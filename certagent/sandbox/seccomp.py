"""A system call filter in classic BPF, written by hand: what a worker may not ask of the kernel, as any user.

Everything not listed is allowed. Numbers are those of x86_64 and aarch64; -1: that machine does not have it.
"""

import ctypes
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

SET_SECCOMP, MODE_FILTER = 22, 2
LOAD, EQUAL, AT_LEAST, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
ALLOWED, REFUSED = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with EPERM
UNKNOWN = 0x00050026  # SECCOMP_RET_ERRNO with ENOSYS
NR, ARCH, FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
X32 = 0x40000000
REFUSE = -1  # a jump to the end
AF_UNIX = 1
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column, AUDIT_ARCH

SIGNALS = {
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
}
PROGRAMS = {"execve": (59, 221), "execveat": (322, 281), "fork": (57, -1), "vfork": (58, -1)}
LISTENING = {"listen": (50, 201)}
NETWORK = {"socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "accept": (43, 202), "accept4": (288, 242)}
# Of a path, which Landlock does not judge; the forms that take an open file stay.
FILES = {
    "chmod": (90, -1),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, -1),
    "lchown": (94, -1),
    "fchownat": (260, 54),
    "truncate": (76, 45),
    "utime": (132, -1),
    "utimes": (235, -1),
    "futimesat": (261, -1),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
ALWAYS = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    # out of the process group that is killed when the request ends
    "setsid": (112, 157),
    "setpgid": (109, 154),
    # what stays when the request has ended, or is the memory of other processes of the same user
    "shmget": (29, 194),
    "shmat": (30, 196),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    # of which a user has few, and the log of the kernel
    "inotify_init": (253, -1),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "syslog": (103, 116),
    # of any process of the same user: without privilege that is cockroach itself
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """What the low half of one argument (with `high` the other half) must be; the call is refused otherwise.

    After `mask`: none of the `refused` values, one of `only` (if any are named), none of `bits`, one of `needed`.
    """

    argument: int
    high: bool = False
    mask: int = 0
    refused: tuple[int, ...] = ()
    only: tuple[int, ...] = ()
    bits: int = 0
    needed: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """A call that is judged by its arguments: every test must hold. At most one rule for a call."""

    numbers: tuple[int, int]
    tests: tuple[Test, ...]


# TCP, and what the resolver asks for the host's own addresses (netlink). Landlock judges no other protocol's ports:
# multipath TCP (262) would reach any of them, and UDP does, so that it is for those who resolve names or run programs.
SOCKET = (41, 198)
FAMILY, KIND, PROTOCOL = 0, Test(argument=1, mask=0xF, only=(1, 3)), Test(argument=2, only=(0, 6))
INTERNET, NETLINK = (2, 10), 16
STREAMS = Rule(SOCKET, (Test(argument=FAMILY, only=(*INTERNET, NETLINK)), KIND, PROTOCOL))
DATAGRAMS = Rule(
    SOCKET,
    (
        Test(argument=FAMILY, only=(*INTERNET, NETLINK)),
        Test(argument=1, mask=0xF, only=(1, 2, 3)),
        Test(argument=2, only=(0, 6, 17)),
    ),
)
EVERY_FAMILY = Rule(SOCKET, (Test(argument=FAMILY, only=(AF_UNIX, *INTERNET, NETLINK)), *DATAGRAMS.tests[1:]))
# TCP Fast Open connects by sending, which Landlock's ports do not judge: MSG_FASTOPEN, TCP_FASTOPEN,
# TCP_FASTOPEN_CONNECT; TCP_ULP hands the connection to another protocol.
FAST_OPEN = (
    Rule((44, 206), (Test(argument=3, bits=0x20000000),)),
    Rule((46, 211), (Test(argument=2, bits=0x20000000),)),
    Rule((307, 269), (Test(argument=3, bits=0x20000000),)),
    Rule((54, 208), (Test(argument=2, refused=(23, 30, 31)),)),
)
# The kernel sends any signal to the owner of a file that is set by F_SETOWN, F_SETSIG, F_SETOWN_EX; and who
# runs out of a limit that another process set: prlimit64 is for oneself.
OWNERS = (
    Rule((72, 25), (Test(argument=1, refused=(8, 10, 15)),)),
    Rule((16, 29), (Test(argument=1, refused=(0x8901, 0x8902)),)),
)
# The times of an open file, whose path is then no path at all, but not those of a path.
TIMES = Rule((280, 88), (Test(argument=1, only=(0,)), Test(argument=1, high=True, only=(0,))))
# PR_SET_PDEATHSIG, PR_SET_DUMPABLE: it ends with its parent, and no other process of its user looks into it.
# PR_SET_NAME, PR_SET_MM: it may have the user of cockroach, and must not look like one with arguments of its choice.
ATTRIBUTES = Rule((157, 167), (Test(argument=0, refused=(1, 4, 15, 35)),))
LIMITS = Rule((302, 261), (Test(argument=0, only=(0,)),))
# In a user namespace of its own everybody has all capabilities, and with them what of the kernel only root reaches:
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. The flags of clone3 are in memory, where no filter
# sees them: a kernel without it is what every libc can do with (it starts threads and programs by clone then).
CLONE, NEW_NAMESPACES, CLONE_THREAD = (56, 220), 0x7E020000, 0x10000
NAMESPACES = Rule(CLONE, (Test(argument=0, bits=NEW_NAMESPACES),))
THREADS_ONLY = Rule(CLONE, (Test(argument=0, bits=NEW_NAMESPACES), Test(argument=0, needed=CLONE_THREAD)))
CLONE3 = 435


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def deny(*, programs: bool, signals: bool, files: bool, listens: bool, datagrams: bool, network: bool = True) -> bool:
    """Refuse what is listed with EPERM from now on, for this thread and its children; return whether it holds.

    `programs`: executing stays allowed. `signals`: they are refused. `files`: modes and owners by path, and sockets of
    the file system (the agent's own control socket is one), are refused. `listens`: it may listen. `datagrams`: it may
    use UDP. `network` False: it may make no socket.
    """
    words = {"programs": programs, "signals": signals, "files": files, "listens": listens, "datagrams": datagrams}
    code = filter_of(os.uname().machine, **words, network=network)
    if not code:
        return False
    filters = _Program(len(code) // 8, code)
    return int(ctypes.CDLL(None, use_errno=True).prctl(SET_SECCOMP, MODE_FILTER, ctypes.byref(filters), 0, 0)) == 0


def filter_of(
    machine: str,
    *,
    programs: bool,
    signals: bool,
    files: bool,
    listens: bool,
    datagrams: bool,
    network: bool = True,
) -> bytes:
    """Given what uname calls the machine, and what is allowed or refused as `deny` says, return the filter.

    b"" for a machine whose numbers are not known.
    """
    if machine not in MACHINES:
        return b""
    column, arch = MACHINES[machine]
    given = (
        (PROGRAMS, not programs),
        (SIGNALS, signals),
        (FILES, files),
        (LISTENING, not listens),
        (NETWORK, not network),
    )
    tables = [ALWAYS, *(table for table, refused in given if refused)]
    numbers = [n[column] for table in tables for n in table.values() if n[column] >= 0]
    sockets = EVERY_FAMILY if not files else DATAGRAMS if datagrams else STREAMS
    children = NAMESPACES if programs else THREADS_ONLY
    return program(
        arch,
        numbers,
        (
            LIMITS,
            *(() if programs else (ATTRIBUTES,)),
            children,
            *(OWNERS if signals else ()),
            *((TIMES,) if files else ()),
            *((sockets,) if network else ()),
            *FAST_OPEN,
        ),
    )


def program(arch: int, numbers: Sequence[int], rules: Sequence[Rule]) -> bytes:
    """The filter: another machine's calls are refused, clone3 is unknown, each number refused; then by an argument."""
    column = next(column for column, known in MACHINES.values() if known == arch)
    rows = [(LOAD, 0, 0, ARCH), (EQUAL, 0, REFUSE, arch), (LOAD, 0, 0, NR)]
    rows += [(AT_LEAST, REFUSE, 0, X32)] if column == 0 else []
    rows += [(EQUAL, 0, 1, CLONE3), (RETURN, 0, 0, UNKNOWN)]
    rows += [(EQUAL, REFUSE, 0, n) for n in numbers]
    for rule in rules:
        judged = [row for test in rule.tests for row in tested(test)] + [(RETURN, 0, 0, ALLOWED)]
        rows += [(EQUAL, 0, len(judged), rule.numbers[column]), *judged]
    rows += [(RETURN, 0, 0, ALLOWED), (RETURN, 0, 0, REFUSED)]
    left = [len(rows) - 2 - i for i in range(len(rows))]  # rows between each and the last, which refuses
    jumps = [
        (op, *(at if where == REFUSE else where for where in (yes, no)), k)
        for (op, yes, no, k), at in zip(rows, left, strict=True)
    ]
    return b"".join(struct.pack("=HBBI", *row) for row in jumps)


def tested(test: Test) -> list[tuple[int, int, int, int]]:
    """Given a test, return its rows: they go on where it holds, and refuse otherwise."""
    rows = [(LOAD, 0, 0, FIRST_ARGUMENT + 8 * test.argument + 4 * test.high)]
    rows += [(AND, 0, 0, test.mask)] if test.mask else []
    rows += [(EQUAL, REFUSE, 0, value) for value in test.refused]
    rows += [(EQUAL, len(test.only) - i, 0, value) for i, value in enumerate(test.only[:-1], 1)]
    rows += [(EQUAL, 0, REFUSE, value) for value in test.only[-1:]]
    rows += [(ANY_BIT, REFUSE, 0, test.bits)] if test.bits else []
    rows += [(ANY_BIT, 0, REFUSE, test.needed)] if test.needed else []
    return rows
