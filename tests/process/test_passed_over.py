"""What is passed over in the search for a directory's process, and ports in another network namespace."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certagent.core.policy import Owner, ProcessRule
from certagent.posix.owner import name_of
from certagent.process import passed_over
from certagent.process.elsewhere import listening_elsewhere
from tests.waiting import wait_until

ME = Owner(name_of(os.geteuid()), os.geteuid(), os.getegid())
NAMED = "import ctypes, sys; ctypes.CDLL(None).prctl(15, b'roach'); print(flush=True); sys.stdin.read()"


@contextmanager
def roach(*words: str) -> Iterator[int]:
    """A process of that name with these arguments."""
    with subprocess.Popen([sys.executable, "-c", NAMED, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as made:
        assert made.stdout is not None
        made.stdout.readline()
        yield made.pid
        made.kill()


def test_process_insecure_server_is_named() -> None:
    """It is named by its pid; a client command and a server with certificates are not."""
    rule = ProcessRule(names=("roach",))
    with roach("start", "--insecure") as pid, roach("sql", "--insecure"), roach("start", "--certs-dir=/certs"):
        [found] = passed_over(rule, ME)
        assert (found.why, found.pid, "--insecure" in found.detail) == ("insecure", pid, True)
        assert passed_over(rule, Owner("other", ME.uid + 1, 0)) == ()


@pytest.mark.parametrize(("content", "why", "words"), [
    (None, "pid-file", "does not exist"),
    ("", "pid-file", "contains no process id"),
    ("cockroach", "pid-file", "contains no process id"),
    ("4194305", "pid-file-old", "names pid 4194305, and there is no such process"),
])  # fmt: skip
def test_pid_file_useless_reason(tmp_path: Path, content: str | None, why: str, words: str) -> None:
    """Absent, empty, malformed, or left from a process that has ended."""
    path = tmp_path / "cockroach.pid"
    if content is not None:
        path.write_text(content)
    [found] = passed_over(ProcessRule(pid_file=str(path)), ME)
    assert (found.why, words in found.detail) == (why, True)


LISTENING = "import socket, sys; s = socket.create_server(('0.0.0.0', 26257)); print(flush=True); sys.stdin.read()"


@pytest.mark.root
def test_process_ports_in_other_network_namespace() -> None:
    """As in a container: its ports are read from its own table; a process in our namespace has none."""
    made = subprocess.Popen(
        ["unshare", "--net", sys.executable, "-c", LISTENING], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        wait_until(lambda: listening_elsewhere(made.pid) == (26257,), "it listens")
        assert listening_elsewhere(os.getpid()) == ()
    finally:
        made.kill()
        made.communicate()
    assert listening_elsewhere(made.pid) == ()
