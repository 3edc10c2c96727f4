"""What is made of a process that was looked at: rows of what /proc said -> owner or not, state, refusal."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from certagent.core.facts import Listener, LoaderFlags, Process
from certagent.core.policy import Owner, ProcessRule
from certagent.posix.errors import HostError
from certagent.process.arguments import Arguments, parse
from certagent.process.classify import (
    Ids,
    PidFile,
    hidden,
    hup_masks,
    ids_in,
    judged,
    listeners_of,
    meant_by_file,
    misnamed,
    named,
    not_meant,
    outlived,
    pid_file_problem,
    serves,
    stranger,
)
from certagent.process.inspecting import ProcessDetails, told
from certagent.process.signals import never, refusal
from tests.core.building import NOW, process

OWNER, OTHER = 999, 1234
BASE = replace(process(), uid=OWNER, state="starting", listeners=(), problem=None)
SQL, HTTP = Listener("127.0.0.1", 26257, "auto"), Listener("127.0.0.1", 8080, "http")
STARTED = parse(["cockroach", "start", "--certs-dir=/certs"], {})


ALONE = (OWNER, OWNER, OWNER)
SHARED = Owner("root", 0, 500)  # keys root:cockroach 0640
STRANGERS = [
    ("the owner's", ALONE, {OWNER}, Owner("cockroach", OWNER, OWNER), ""),
    ("another user's", (OTHER, OTHER, OTHER), {OWNER}, Owner("cockroach", OWNER, OWNER), "not as cockroach:"),
    ("root's", (0, 0, 0), {0}, Owner("cockroach", OWNER, OWNER), "not as cockroach:"),
    ("one that can become root", (OWNER, OWNER, 0), {OWNER}, Owner("cockroach", OWNER, OWNER), "uids 999, 999, 0"),
    ("one that was started by another", (OTHER, OWNER, OWNER), {OWNER}, Owner("cockroach", OWNER, OWNER), "uids 1234"),
    ("root's, of root's keys", (0, 0, 0), {0}, SHARED, ""),
    ("one of the key's group", ALONE, {OWNER, 500}, SHARED, ""),
    ("one outside the key's group", ALONE, {OWNER}, SHARED, "nor in its group"),
    ("one of the group that can become root", (OWNER, OWNER, 0), {500}, SHARED, "nor in its group"),
    ("one of root's own group", ALONE, {0}, Owner("root", 0, 0), "nor in its group"),
]


@pytest.mark.parametrize(
    ("uids", "gids", "owner", "told"), [row[1:] for row in STRANGERS], ids=[r[0] for r in STRANGERS]
)
def test_process_of_anybody_but_the_owner_is_a_stranger(
    uids: tuple[int, int, int], gids: set[int], owner: Owner, told: str
) -> None:
    """Real, effective and saved uid are the owner's; where root owns the keys, the process is in their group."""
    found = stranger(BASE, Ids(uids, frozenset(gids)), owner)
    assert (found == "") == (told == "")
    assert told in found


def test_process_ids_are_those_of_status() -> None:
    """The four numbers of Uid, of which the file system's does not count; the groups of Gid and of Groups."""
    lines = ["Name:\tcockroach\n", "Uid:\t1\t2\t3\t4\n", "Gid:\t5\t6\t7\t8\n", "Groups:\t9 10 \n"]
    assert ids_in(lines) == Ids((1, 2, 3), frozenset({5, 6, 7, 8, 9, 10}))


@pytest.mark.parametrize(
    ("comm", "expected"),
    [
        ("cockroach", True),
        ("cockroach-v25", True),
        ("cockroach.real", True),
        ("cockroaches", False),
        ("cockroac", False),
        ("my-cockroach", False),
        ("a-very-long-nam", True),
        ("a-very-long-na", False),
        ("", False),
    ],
)
def test_process_names_considered(comm: str, expected: bool) -> None:
    """The name itself, or with a version after it; the kernel keeps fifteen bytes of it."""
    assert named(comm, ("cockroach", "a-very-long-name")) is expected


@pytest.mark.parametrize(
    ("exe", "argv", "expected"),
    [
        ("cockroach", ["cockroach", "start"], True),
        ("cockroach", ["cockroach", "mt", "start-sql"], True),
        ("cockroach", ["cockroach", "sql"], False),
        ("cockroach", ["cockroach", "start", "--insecure"], False),
        ("cockroach", ["cockroach", "start", "--insecure=false"], True),
        ("bash", ["bash", "cockroach", "start"], False),
    ],
)
def test_process_owner_of_certs_directory(exe: str, argv: list[str], expected: bool) -> None:
    """A secure server; neither a client nor a shell around one."""
    assert serves(exe, parse(argv, {})) is expected


@pytest.mark.parametrize(
    ("ours", "mine", "expected"),
    [(True, OTHER, True), (True, OWNER, True), (None, OWNER, True), (None, OTHER, False), (False, OWNER, False)],
)
def test_process_uninspectable_owner(ours: bool | None, mine: int, expected: bool) -> None:
    """An owner by its arguments, or because it is the owner's and they do not say."""
    found = hidden(BASE, STARTED, ours=ours, mine=mine)
    assert (found is not None) is expected
    if found is not None:
        assert (found.state, found.terms) == ("forbidden", STARTED.terms)


PROBE = ProcessRule(probe=(("127.0.0.1", 26257, "sql"),))
CAUGHT, IGNORED, NEITHER = (False, True), (True, False), (False, False)


@pytest.mark.parametrize(
    ("listeners", "hup", "rule", "mine", "state", "seen"),
    [
        ((SQL,), CAUGHT, ProcessRule(), OWNER, "serving", (SQL,)),
        ((SQL,), CAUGHT, PROBE, OWNER, "serving", (Listener("127.0.0.1", 26257, "sql"),)),
        ((SQL,), IGNORED, ProcessRule(), OWNER, "ignoring", (SQL,)),
        ((SQL,), (True, True), ProcessRule(), OWNER, "ignoring", (SQL,)),
        ((SQL,), NEITHER, ProcessRule(), OWNER, "starting", (SQL,)),
        ((), NEITHER, PROBE, OWNER, "starting", ()),
        ((), CAUGHT, ProcessRule(), OWNER, "starting", ()),
        ((), CAUGHT, ProcessRule(), 0, "starting", ()),
        ((), CAUGHT, ProcessRule(), OTHER, "forbidden", ()),
        ((), CAUGHT, PROBE, OTHER, "starting", (Listener("127.0.0.1", 26257, "sql"),)),
        ((), CAUGHT, PROBE, OWNER, "starting", (Listener("127.0.0.1", 26257, "sql"),)),
    ],
)
def test_process_owner_state(
    listeners: tuple[Listener, ...],
    hup: tuple[bool, bool],
    rule: ProcessRule,
    mine: int,
    state: str,
    seen: tuple[Listener, ...],
) -> None:
    """SIGHUP first, then its sockets, then its arguments; one that only another user sees is forbidden.

    `probe` says where to ask, and not that the process is past its start.
    """
    found: Process = judged(BASE, listeners, hup, rule, mine)
    assert found.by_probe == (state == "starting" and seen == (Listener("127.0.0.1", 26257, "sql"),) and hup == CAUGHT)
    assert (found.state, found.listeners) == (state, seen)
    assert found.seen == ((SQL,) if rule.probe and state == "serving" else ())
    assert (found.problem is not None) is (state in {"ignoring", "forbidden"})


def test_process_probe_addresses() -> None:
    """A listener of every address is asked on loopback; each once, in order; the HTTP port by the arguments."""
    addresses = [("0.0.0.0", 26257), ("::", 8080), ("10.0.0.5", 8080), ("127.0.0.1", 26257)]  # noqa: S104 - a row
    assert listeners_of(addresses, STARTED) == (Listener("10.0.0.5", 8080, "http"), Listener("::1", 8080, "http"), SQL)
    assert listeners_of([("127.0.0.1", 8080)], STARTED) == (HTTP,)
    assert listeners_of([("127.0.0.1", 8080)], None) == (Listener("127.0.0.1", 8080, "auto"),)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Name:\tcockroach\n", "SigIgn:\t0000000000000000\n", "SigCgt:\t0000000000000001\n"], CAUGHT),
        (["SigIgn:\t0000000000000001\n", "SigCgt:\tfffffffe7fc1feff\n"], (True, True)),
        (["SigIgn:\t0000000000001000\n", "SigCgt:\t0000000180000002\n"], NEITHER),
        ([], NEITHER),
    ],
)
def test_process_sighup_mask(lines: list[str], expected: tuple[bool, bool]) -> None:
    """The lowest bit of both masks."""
    assert hup_masks(lines) == expected


def test_pid_file_that_others_could_change_is_ignored() -> None:
    """It could name a process of another user, which root would signal."""
    assert pid_file_problem(7, "/run/x.pid", "") == ""
    told = pid_file_problem(7, "/run/x.pid", "everybody may write /run/x.pid; chmod go-w /run/x.pid")
    assert told.startswith("/run/x.pid is ignored, it could name a process of another user (pid 7): everybody")


SERVER, CLIENT = (parse(["cockroach", *words], {}) for words in (["start"], ["sql", "--certs-dir=/certs"]))
OPEN = parse(["cockroach", "start", "--insecure"], {})
GO = parse(["pgbouncer", "/etc/pgbouncer.ini"], {})


@pytest.mark.parametrize(
    ("comm", "exe", "said", "names", "innocent"),
    [
        ("cockroach", "cockroach", SERVER, ("cockroach",), False),
        ("cockroach", "cockroach", CLIENT, ("cockroach",), True),
        ("cockroach", "cockroach", OPEN, ("cockroach",), True),
        ("cockroach", "", None, ("cockroach",), False),
        ("pgbouncer", "pgbouncer", GO, ("cockroach",), True),
        ("pgbouncer", "", None, ("cockroach",), True),
        ("pgbouncer", "pgbouncer", GO, ("pgbouncer",), False),
        ("pgbouncer", "pgbouncer", GO, ("*",), False),
        ("bash", "bash", GO, ("*",), True),
        ("cockroach", "cockroach", CLIENT, ("*",), True),
    ],
)
def test_pid_file_does_not_override_inspection(
    comm: str, exe: str, said: Arguments | None, names: tuple[str, ...], *, innocent: bool
) -> None:
    """A stale file whose pid is now another program, a shell, or a client command: it would die of a SIGHUP."""
    problem = misnamed(BASE, comm, exe, said, "/run/x.pid", ProcessRule(names=names, pid_file="/run/x.pid"))
    assert bool(problem) is innocent, problem


@pytest.mark.parametrize(
    ("distrusted", "written", "told"),
    [
        ("", NOW, ""),
        ("everybody may write it", NOW, "everybody may write it"),
        ("", NOW - timedelta(hours=1), "it is left from a process that has ended"),
        ("everybody may write it", NOW - timedelta(hours=1), "everybody may write it"),
    ],
)
def test_pid_file_is_believed_by_its_writer_and_its_time(distrusted: str, written: datetime, told: str) -> None:
    """The writer comes first: what another user may write says nothing of when it was written."""
    file = PidFile(path="/run/x.pid", distrusted=distrusted, written=written)
    found = not_meant(file, replace(BASE, started=NOW))
    assert (found == "", told in found) == (told == "", True)


def test_pid_file_process_is_forbidden_with_its_problem() -> None:
    """One that gets no signal is told with what to do; of another, only cockroach's arguments count."""
    forbidden = meant_by_file(BASE, "/run/x.pid", SERVER, "it is another program")
    assert ("forbidden", "it is another program") == (forbidden.state, forbidden.problem)
    assert "/run/x.pid" in forbidden.advice
    assert SERVER.terms == meant_by_file(BASE, "/run/x.pid", SERVER, "").terms
    assert [BASE, BASE] == [meant_by_file(BASE, "/run/x.pid", said, "") for said in (GO, None)]


@pytest.mark.parametrize(("after", "stale"), [(-3600, False), (-1, False), (0.5, False), (2, True), (86400, True)])
def test_pid_file_older_than_process_is_stale(after: float, *, stale: bool) -> None:
    """A server writes the file after it began; a process that began later has the pid of one that has ended."""
    assert bool(outlived(7, "/run/x.pid", NOW + timedelta(seconds=after), NOW)) is stale


def inside(*argv: str, comm: str = "cockroach", **environ: str) -> ProcessDetails:
    return ProcessDetails(argv, environ, comm, "/work", OWNER, 998, (998, 27))


@pytest.mark.parametrize(
    ("insides", "certs_dir", "command"),
    [
        (inside("/usr/bin/cockroach", "start", "--certs-dir=/certs"), "/certs", "cockroach start"),
        (inside("cockroach", "start", "--certs-dir=certs/../own"), "/work/own", "cockroach start"),
        (inside("x", "start", comm="x", COCKROACH_CERTS_DIR="/certs"), "/certs", "x start"),
        (inside("x", "--certs-dir=/certs", comm="x"), "/certs", "x"),
        (inside(HOME="/home/roach"), "/home/roach/.cockroach-certs", ""),
    ],
)
def test_process_details_of_running_process(insides: ProcessDetails, certs_dir: str, command: str) -> None:
    """Its directory, absolute in its own root; its effective uid, its real gid, its groups."""
    found = told(7, insides, "cockroach")
    assert (found.certs_dir, found.command, found.root) == (certs_dir, command, "/proc/7/root")
    assert (found.uid, found.gid, found.groups, found.user) == (OWNER, 998, (998, 27), "cockroach")
    assert (found.insecure, found.terms) == (False, LoaderFlags())


def test_process_not_cockroach_is_not_checked() -> None:
    """Neither its name nor its arguments nor its environment say so."""
    with pytest.raises(HostError, match="cannot check pid 7: nginx is not cockroach and has no --certs-dir"):
        told(7, inside("nginx", comm="nginx"), "www")


def stat_line(state: str, start: int, comm: str = "cockroach") -> bytes:
    fields: list[Any] = [state, *[0] * 18, start, *[0] * 30]
    return f"7 ({comm}) {' '.join(map(str, fields))}\n".encode()


@pytest.mark.parametrize(
    ("said", "ended", "expected"),
    [
        (stat_line("S", 555), False, None),
        (stat_line("R", 555, "a) Z 1 (b"), False, None),
        (stat_line("S", 556), False, "pid 7 is a different process now"),
        (stat_line("Z", 555), False, "pid 7 has ended"),
        (stat_line("X", 555), False, "pid 7 has ended"),
        (stat_line("S", 555), True, "pid 7 has ended"),
    ],
)
def test_process_reused_or_dead_pid_is_not_signalled(said: bytes, ended: bool, expected: str | None) -> None:
    """Another process with the same number, and a dead one; a name may contain anything."""
    assert refusal(7, said, 555, ended=ended) == expected


@pytest.mark.parametrize(("pid", "sent"), [(-1, False), (0, False), (1, False), (2, True), (4000, False), (4001, True)])
def test_signal_is_never_for_init_groups_or_ourselves(pid: int, *, sent: bool) -> None:
    """0 and negative numbers mean groups of processes for kill(2); 4000 is the agent here."""
    assert (never(pid, 4000) is None) is sent
