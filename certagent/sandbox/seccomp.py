"""A system call filter in classic BPF, written by hand: what a worker may not ask of the kernel, as any user.

Everything not listed is allowed. Numbers are those of x86_64 and aarch64; -1: that machine does not have it.
"""

import ctypes
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

SET_SECCOMP, MODE_FILTER = 22, 2
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
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
PROGRAMS = {"execve": (59, 221), "execveat": (322, 281)}
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
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A call that is judged by the low half of one argument: refused for these values or bits, or for all but one."""

    numbers: tuple[int, int]
    argument: int
    refused: tuple[int, ...] = ()
    only: int | None = None
    bits: int = 0


SOCKETS = Rule((41, 198), 0, (AF_UNIX,))
# The kernel sends any signal to the owner of a file that is set by F_SETOWN, F_SETSIG, F_SETOWN_EX; and who
# runs out of a limit that another process set: prlimit64 is for oneself.
OWNERS = (Rule((72, 25), 1, (8, 10, 15)), Rule((16, 29), 1, (0x8901, 0x8902)))
LIMITS = Rule((302, 261), 0, only=0)
# In a user namespace of its own everybody has all capabilities, and with them what of the kernel only root reaches:
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. The flags of clone3 are in memory, where no filter
# sees them: a kernel without it is what every libc can do with (it starts threads and programs by clone then).
NAMESPACES = Rule((56, 220), 0, bits=0x7E020000)
CLONE3 = 435


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def deny(*, programs: bool, signals: bool, files: bool) -> bool:
    """Refuse what is listed with EPERM from now on, for this thread and its children; return whether it holds.

    `programs`: executing stays allowed. `signals`: they are refused. `files`: modes and owners by path, and sockets of
    the file system (the agent's own control socket is one), are refused.
    """
    code = filter_of(os.uname().machine, programs=programs, signals=signals, files=files)
    if not code:
        return False
    filters = _Program(len(code) // 8, code)
    return int(ctypes.CDLL(None, use_errno=True).prctl(SET_SECCOMP, MODE_FILTER, ctypes.byref(filters), 0, 0)) == 0


def filter_of(machine: str, *, programs: bool, signals: bool, files: bool) -> bytes:
    """Given what uname calls the machine, and what is allowed or refused as `deny` says, return the filter.

    b"" for a machine whose numbers are not known.
    """
    if machine not in MACHINES:
        return b""
    column, arch = MACHINES[machine]
    tables = [ALWAYS, *([] if programs else [PROGRAMS]), *([SIGNALS] if signals else []), *([FILES] if files else [])]
    numbers = [n[column] for table in tables for n in table.values() if n[column] >= 0]
    rules = (LIMITS, NAMESPACES, *(OWNERS if signals else ()), *((SOCKETS,) if files else ()))
    return program(arch, numbers, rules)


def program(arch: int, numbers: Sequence[int], rules: Sequence[Rule]) -> bytes:
    """The filter: another machine's calls are refused, clone3 is unknown, each number refused; then by an argument."""
    column = next(column for column, known in MACHINES.values() if known == arch)
    rows = [(LOAD, 0, 0, ARCH), (EQUAL, 0, REFUSE, arch), (LOAD, 0, 0, NR)]
    rows += [(AT_LEAST, REFUSE, 0, X32)] if column == 0 else []
    rows += [(EQUAL, 0, 1, CLONE3), (RETURN, 0, 0, UNKNOWN)]
    rows += [(EQUAL, REFUSE, 0, n) for n in numbers]
    for rule in rules:
        tests = [(EQUAL, REFUSE, 0, value) for value in rule.refused]
        tests += [(EQUAL, 0, REFUSE, rule.only)] if rule.only is not None else []
        tests += [(ANY_BIT, REFUSE, 0, rule.bits)] if rule.bits else []
        judged = [(LOAD, 0, 0, FIRST_ARGUMENT + 8 * rule.argument), *tests, (RETURN, 0, 0, ALLOWED)]
        rows += [(EQUAL, 0, len(judged), rule.numbers[column]), *judged]
    rows += [(RETURN, 0, 0, ALLOWED), (RETURN, 0, 0, REFUSED)]
    left = [len(rows) - 2 - i for i in range(len(rows))]  # rows between each and the last, which refuses
    jumps = [
        (op, *(at if where == REFUSE else where for where in (yes, no)), k)
        for (op, yes, no, k), at in zip(rows, left, strict=True)
    ]
    return b"".join(struct.pack("=HBBI", *row) for row in jumps)
