"""Which processes own a directory, and in which state they are: real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from certagent.core.facts import Process
from certagent.core.policy import Owner, ProcessRule
from certagent.demo.launch import StandIn
from certagent.process import find, has_ended, start_ticks, started_at
from certagent.process.finding import MOST_STRANGERS, worth_a_look
from tests.system.running import Host
from tests.waiting import wait_until

NAMED = "import ctypes, {more}; ctypes.CDLL(None).prctl(15, b'cockroach'); {body}"


def owners(path: Path, rule: ProcessRule | None = None) -> tuple[Process, ...]:
    info = path.stat()
    return find(info.st_dev, info.st_ino, rule or ProcessRule(), Owner("", info.st_uid, info.st_gid))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A certs-dir with pairs in it."""
    made = Host(tmp_path)
    made.write()
    made.once()
    return made


@pytest.fixture
def running(host: Host) -> Iterator[StandIn]:
    """A stand-in on it."""
    with host.server() as server:
        yield server


def named(body: str, *words: str, more: str = "signal") -> subprocess.Popen[bytes]:
    """A process called cockroach that is not the stand-in."""
    return subprocess.Popen([sys.executable, "-c", NAMED.format(body=body, more=more), *words])


@pytest.mark.slow
def test_process_serving_is_found(host: Host, running: StandIn) -> None:
    """By name, sub-command and directory; with its user, its start and its two ports."""
    found = owners(host.certs)
    assert [running.process.pid] == [p.pid for p in found]
    assert (found[0].state, found[0].uid, found[0].found_by) == ("serving", os.getuid(), "arguments")
    assert {running.ports["sql"], running.ports["http"]} == {x.port for x in found[0].listeners}


@pytest.mark.slow
def test_process_directory_is_compared_by_inode(host: Host, running: StandIn) -> None:
    """Through a link it is the same directory; another directory has no owner."""
    link = host.base / "link"
    link.symlink_to(host.certs)
    assert [running.process.pid] == [p.pid for p in owners(link)]
    other = host.base / "other"
    other.mkdir()
    assert owners(other) == ()


@pytest.mark.slow
def test_process_by_pid_file(host: Host, running: StandIn) -> None:
    """An explicit pid_file names a process whose arguments say nothing of the directory."""
    pid_file = host.base / "pid"
    pid_file.write_text(f"{running.process.pid}\nmore lines, as PostgreSQL writes them\n")
    found = owners(host.base, ProcessRule(pid_file=str(pid_file)))
    assert [(running.process.pid, "pid_file", "serving")] == [(p.pid, p.found_by, p.state) for p in found]
    os.utime(pid_file, (1, 1))
    (stale,) = owners(host.base, ProcessRule(pid_file=str(pid_file)))
    assert (stale.state, "has ended" in str(stale.problem)) == ("forbidden", True)
    for rubbish in ("", "1", "-5", "x", "999999999"):
        pid_file.write_text(rubbish)
        assert owners(host.base, ProcessRule(pid_file=str(pid_file))) == ()


CLIENTS = [
    ("a client command", ["sql", "--certs-dir={certs}"]),
    ("insecure", ["start", "--insecure", "--certs-dir={certs}"]),
    ("another directory", ["start", "--certs-dir=/tmp"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("label", "words"), CLIENTS, ids=[r[0] for r in CLIENTS])
def test_process_client_or_insecure_is_no_owner(host: Host, label: str, words: list[str]) -> None:
    """A client command, an insecure server, one of another directory: no owner."""
    process = named("signal.pause()", *(w.format(certs=host.certs) for w in words))
    try:
        wait_until(lambda: comm(process.pid) == "cockroach", "the name")
        assert owners(host.certs) == (), label
    finally:
        process.kill()
        process.wait()


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


@pytest.mark.slow
def test_process_wrapper_shell_is_no_owner(host: Host) -> None:
    """A shell that was renamed is still a shell."""
    shell = host.base / "cockroach"
    shell.write_bytes(Path(os.path.realpath("/bin/sh")).read_bytes())
    shell.chmod(0o755)
    wrapper = subprocess.Popen(
        ["/bin/sh", "-c", "echo; read x", "start", f"--certs-dir={host.certs}"], stdin=subprocess.PIPE
    )
    try:
        found = owners(host.certs, ProcessRule(names=(comm(wrapper.pid),)))
        assert found == ()
    finally:
        wrapper.communicate(b"\n")


STATES = [
    ("not listening", "signal.pause()", "starting"),
    ("ignores SIGHUP", "signal.signal(1, signal.SIG_IGN); signal.pause()", "ignoring"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("label", "body", "state"), STATES, ids=[r[0] for r in STATES])
def test_process_starting_or_ignoring_sighup(host: Host, label: str, body: str, state: str) -> None:
    """One that does not listen yet is starting; one that ignores SIGHUP is not a target."""
    process = named(body, "start", f"--certs-dir={host.certs}", more="signal")
    try:
        wait_until(lambda: [p.state for p in owners(host.certs)] == [state], label)
    finally:
        process.kill()
        process.wait()


ROOTED = "os.chroot(sys.argv[-1]); os.chdir('/'); print('in', flush=True); signal.pause()"


@pytest.mark.slow
@pytest.mark.root
def test_process_container_symlink_stays_in_its_root(tmp_path: Path) -> None:
    """In a root of its own an absolute link is resolved there: it owns the container's directory, not the host's."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    inside = Path(f"{root}{outside}")
    for path in (inside, outside):
        path.mkdir(parents=True)
    (root / "certs").symlink_to(outside)  # absolute: here the host's directory, in there its own
    words = [sys.executable, "-c", NAMED.format(more="os, signal, sys", body=ROOTED), "start", "--certs-dir=/certs"]
    process = subprocess.Popen([*words, str(root)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        assert [process.pid] == [p.pid for p in owners(inside)]
        assert owners(outside) == ()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_process_zombie_is_no_owner(host: Host, running: StandIn) -> None:
    """A process that ended and was not waited for yet is gone."""
    running.process.send_signal(signal.SIGKILL)
    wait_until(lambda: Path(f"/proc/{running.process.pid}/stat").read_text().split()[2] == "Z", "a zombie")
    assert owners(host.certs) == ()


def test_process_start_time_is_never_late() -> None:
    """To a hundredth of a second: a child that was started now started now, and never later.

    A delay between the two clock readings makes the moment earlier: then it is asked again.
    """
    before = time.time()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    after = time.time()
    told = [started_at(start_ticks(child.pid)).timestamp() for _ in range(20)]
    child.communicate(b"\n")
    assert before - 0.02 <= max(told) <= after + 0.02


def test_process_that_ended_is_told_from_one_that_runs() -> None:
    """A zombie has ended, and so has one whose number another process has now; what cannot be read is not known."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = f"{child.pid}:{start_ticks(child.pid)}"
    assert [has_ended(who) for who in (identity, f"{child.pid}:1", "", "x:y")] == [False, True, False, False]
    assert child.stdin is not None
    child.stdin.close()
    wait_until(lambda: Path(f"/proc/{child.pid}/stat").read_text().split()[2] == "Z", "a zombie")
    assert has_ended(identity)
    child.wait()
    assert has_ended(identity)


@pytest.mark.slow
@pytest.mark.root
def test_pid_file_of_other_user_is_refused(host: Host, running: StandIn) -> None:
    """A user who writes a pid_file cannot have root signal another user's process; a symlink as one is not followed."""
    pid_file = host.base / "pid"
    pid_file.write_text(f"{running.process.pid}\n")
    os.chown(pid_file, 65534, 65534)
    rule = ProcessRule(pid_file=str(pid_file), probe=(("127.0.0.1", 1, "sql"),))
    assert [p.state for p in owners(host.base, rule)] == ["forbidden"]
    os.chown(pid_file, 0, 0)
    assert [p.state for p in owners(host.base, rule)] == ["serving"]
    pid_file.chmod(0o666)
    assert [p.state for p in owners(host.base, rule)] == ["forbidden"]
    link = host.base / "link"
    link.symlink_to(pid_file)
    assert owners(host.base, ProcessRule(pid_file=str(link))) == ()


@pytest.mark.root
def test_process_of_a_stranger_is_marked(tmp_path: Path) -> None:
    """Whether or not we may inspect it; so nothing goes by its flags."""
    words = ("start", f"--certs-dir={tmp_path}", "--disallow-root-login")
    body = "libc = ctypes.CDLL(None); os.setuid(65534); libc.prctl(4, {}); print(flush=True); sys.stdin.read()"
    for dumpable in (0, 1):
        code = NAMED.format(more="os, sys", body=body.format(dumpable))
        made = [sys.executable, "-c", code, *words]
        with subprocess.Popen(made, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            (found,) = owners(tmp_path)
            assert (found.pid, found.state, found.strange) == (process.pid, "forbidden", True)
            process.communicate()


def test_process_of_the_owner_is_seen_behind_any_number_of_strangers() -> None:
    """All of the owner's are looked at, and fifty of those that anybody may have started."""
    mine = os.getpid()
    nobody = Owner("nobody", 4_000_000_000, 4_000_000_000)
    me = Owner("", os.getuid(), os.getgid())
    assert worth_a_look([mine] * 60, me) == [mine] * 60
    assert worth_a_look([mine] * 60 + [1 << 30], nobody) == [mine] * MOST_STRANGERS
