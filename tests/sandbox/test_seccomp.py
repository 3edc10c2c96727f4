"""The system call filter, run by an interpreter of classic BPF: which calls it refuses, on both machines."""

import struct
from itertools import product

import pytest

from certagent.sandbox import seccomp

EPERM, ENOSYS = seccomp.REFUSED, seccomp.UNKNOWN
FREE = {"programs": True, "signals": False, "files": False, "listens": True, "datagrams": True}
STRICT = {"programs": False, "signals": True, "files": True, "listens": False, "datagrams": False}
INET, STREAM, DGRAM, CLOEXEC = 2, 1, 2, 0o2000000
machines = pytest.mark.parametrize("machine", seccomp.MACHINES)


def judged(code: bytes, arch: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the kernel returns for a call: struct seccomp_data through the filter, row by row."""
    data = struct.pack("=IIQ6Q", number, arch, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    rows, at, value = list(struct.iter_unpack("=HBBI", code)), 0, 0
    while True:
        op, yes, no, k = rows[at]
        at += 1
        match op:
            case seccomp.LOAD:
                value = struct.unpack_from("=I", data, k)[0]
            case seccomp.AND:
                value &= k
            case seccomp.RETURN:
                return int(k)
            case _:
                true = {seccomp.EQUAL: value == k, seccomp.AT_LEAST: value >= k, seccomp.ANY_BIT: bool(value & k)}[op]
                at += yes if true else no


def answer(machine: str, words: dict[str, bool], numbers: tuple[int, int], *arguments: int) -> int:
    column, arch = seccomp.MACHINES[machine]
    return judged(seccomp.filter_of(machine, **words), arch, numbers[column], arguments)


TABLES = {
    "programs": (seccomp.PROGRAMS, False),
    "signals": (seccomp.SIGNALS, True),
    "files": (seccomp.FILES, True),
    "listens": (seccomp.LISTENING, False),
}


@machines
@pytest.mark.parametrize("name", TABLES)
def test_seccomp_refuses_calls_by_profile(machine: str, name: str) -> None:
    """Each table of calls is refused where its word says so, and is allowed otherwise."""
    table, refused = TABLES[name]
    column = seccomp.MACHINES[machine][0]
    known = [numbers for numbers in table.values() if numbers[column] >= 0]
    assert {answer(machine, {**FREE, name: refused}, numbers) for numbers in known} == {EPERM}
    assert {answer(machine, FREE, numbers) for numbers in known} == {seccomp.ALLOWED}


@machines
@pytest.mark.parametrize("words", [FREE, STRICT], ids=["free", "strict"])
def test_seccomp_refuses_what_no_worker_needs(machine: str, words: dict[str, bool]) -> None:
    """No worker mounts, traces, leaves its process group or changes how another process is scheduled."""
    column = seccomp.MACHINES[machine][0]
    known = [numbers for numbers in seccomp.ALWAYS.values() if numbers[column] >= 0]
    assert {answer(machine, words, numbers) for numbers in known} == {EPERM}
    assert answer(machine, words, (seccomp.CLONE3, seccomp.CLONE3)) == ENOSYS


SOCKETS = [
    ("TCP", (INET, STREAM | CLOEXEC, 0), True, True),
    ("TCP by name", (10, STREAM, 6), True, True),
    ("the resolver's netlink", (16, 3 | CLOEXEC, 0), True, True),
    ("UDP", (INET, DGRAM | CLOEXEC, 0), False, True),
    ("UDP by name", (10, DGRAM, 17), False, True),
    ("UDP under the name of TCP", (INET, DGRAM, 6), False, True),
    ("multipath TCP", (INET, STREAM, 262), False, False),
    ("SCTP", (INET, STREAM, 132), False, False),
    ("raw IP", (INET, 3, 255), False, False),
    ("packets", (17, 3, 0), False, False),
    ("vsock", (40, STREAM, 0), False, False),
    ("Bluetooth", (31, STREAM, 0), False, False),
    ("the kernel's crypto", (38, 5, 0), False, False),
    ("the file system's", (1, STREAM, 0), False, False),
]


@machines
@pytest.mark.parametrize(
    ("arguments", "strict", "datagrams"), [row[1:] for row in SOCKETS], ids=[r[0] for r in SOCKETS]
)
def test_seccomp_allows_named_sockets_only(
    machine: str, arguments: tuple[int, ...], strict: bool, datagrams: bool
) -> None:
    """Families, types and protocols are those of TCP and of the resolver; UDP where the profile has it."""
    for words, expected in ((STRICT, strict), ({**STRICT, "datagrams": True}, datagrams)):
        assert (answer(machine, words, seccomp.SOCKET, *arguments) == seccomp.ALLOWED) is expected


CALLS = [
    ("sendto", (44, 206), (3, 0, 1, 0x20000000), EPERM),
    ("sendto without it", (44, 206), (3, 0, 1, 0x4000), seccomp.ALLOWED),
    ("sendmsg", (46, 211), (3, 0, 0x20000000), EPERM),
    ("sendmmsg", (307, 269), (3, 0, 1, 0x20000000), EPERM),
    ("TCP_FASTOPEN_CONNECT", (54, 208), (3, 6, 30), EPERM),
    ("TCP_NODELAY", (54, 208), (3, 6, 1), seccomp.ALLOWED),
    ("a thread", seccomp.CLONE, (0x3D0F00,), seccomp.ALLOWED),
    ("a process", seccomp.CLONE, (17,), EPERM),
    ("a thread in a namespace", seccomp.CLONE, (0x3D0F00 | 0x10000000,), EPERM),
    ("times of an open file", (280, 88), (3, 0), seccomp.ALLOWED),
    ("times of a path", (280, 88), (3, 0x7F0012345678), EPERM),
    ("times of a path at a round address", (280, 88), (3, 0x7F0000000000), EPERM),
    ("its own limits", (302, 261), (0, 7), seccomp.ALLOWED),
    ("another process's limits", (302, 261), (1234, 7), EPERM),
]


@machines
@pytest.mark.parametrize(
    ("numbers", "arguments", "expected"), [row[1:] for row in CALLS], ids=[row[0] for row in CALLS]
)
def test_seccomp_judges_arguments(
    machine: str, numbers: tuple[int, int], arguments: tuple[int, ...], expected: int
) -> None:
    """Calls that a worker needs in one form are refused in the other."""
    assert answer(machine, STRICT, numbers, *arguments) == expected


@machines
def test_seccomp_refuses_other_machines_calls(machine: str) -> None:
    """Numbers mean other calls for another machine, and under the x32 interface."""
    arch = seccomp.MACHINES[machine][1]
    code = seccomp.filter_of(machine, **FREE)
    assert judged(code, 0xDEAD, 0) == EPERM
    if machine == "x86_64":
        assert judged(code, arch, seccomp.X32) == EPERM


def test_seccomp_unknown_machine_has_no_filter() -> None:
    """There is no filter for it, and confine says so."""
    assert seccomp.filter_of("riscv64", **STRICT) == b""


@machines
@pytest.mark.parametrize("words", list(product((False, True), repeat=5)))
def test_seccomp_jumps_stay_within_the_filter(machine: str, words: tuple[bool, ...]) -> None:
    """Each jump leads to a later row: the kernel takes no other filter, and a jump is one byte."""
    rows = list(struct.iter_unpack("=HBBI", seccomp.filter_of(machine, **dict(zip(FREE, words, strict=True)))))
    assert len(rows) < 1 << 8
    assert all(i + 1 + max(yes, no) < len(rows) for i, (op, yes, no, _) in enumerate(rows) if op != seccomp.RETURN)


@machines
def test_seccomp_has_one_rule_for_a_call(machine: str) -> None:
    """A call that two rules name would be judged by the first alone."""
    column = seccomp.MACHINES[machine][0]
    rules = (seccomp.LIMITS, seccomp.THREADS_ONLY, *seccomp.OWNERS, seccomp.TIMES, seccomp.STREAMS, *seccomp.FAST_OPEN)
    numbers = [rule.numbers[column] for rule in rules]
    tables = (seccomp.ALWAYS, seccomp.PROGRAMS, seccomp.SIGNALS, seccomp.FILES, seccomp.LISTENING)
    named = {n[column] for table in tables for n in table.values()}
    assert len(set(numbers)) == len(numbers)
    assert not named & set(numbers)
