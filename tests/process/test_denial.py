"""Why a process cannot be looked into: each case by its own sentence, and root is never told to be root."""

import errno
import os
import subprocess
import sys
import threading
from dataclasses import replace

import psutil
import pytest

from certagent.posix.as_user import apart
from certagent.process.denial import Outside, denial, outside
from certagent.sandbox.user import unprivileged
from tests.waiting import wait_until

DENIED, GONE = psutil.AccessDenied(7), psutil.NoSuchProcess(7)
ROOT, USER = Outside(state="S", group=7, uid=33), Outside(state="S", group=7, uid=0, me=33, may_look=False)
BY_HAND = "or name its directory: certagent check --certs-dir DIR --user NAME"


@pytest.mark.parametrize(
    ("error", "seen", "sentence"),
    [
        (GONE, Outside(exists=False), "cannot check pid 7: no such process"),
        (
            GONE,
            replace(USER, state="", group=0),
            "cannot inspect pid 7: /proc hides the processes of other users (hidepid)",
        ),
        (GONE, replace(ROOT, state="Z"), "cannot check pid 7: it has ended, and its parent has not collected it yet"),
        (DENIED, replace(ROOT, kernel=True), "cannot check pid 7: it is a thread of the kernel, which has no certs"),
        (GONE, replace(ROOT, group=5), "it is a thread of process 5; certagent check --pid 5"),
        (DENIED, USER, "cannot inspect pid 7: run certagent as root"),
        (PermissionError(), replace(USER, uid=None), "run certagent as root, or as the user of that process"),
        (DENIED, replace(USER, uid=1999999), "run certagent as root, or as 1999999"),
        (DENIED, replace(USER, uid=33), "the kernel protects it from its own user"),
        (DENIED, replace(ROOT, contained=True), "this root is that of a user namespace, and the process is outside"),
        (DENIED, replace(ROOT, may_look=False), "this root lacks the capability SYS_PTRACE"),
        (DENIED, ROOT, "a security module (Landlock, SELinux, AppArmor) or a sandbox keeps it even from root"),
        (OSError(errno.EIO, "I/O error"), ROOT, "cannot check pid 7: [Errno 5] I/O error"),
    ],
)
def test_process_unreadable_reason(error: Exception, seen: Outside, sentence: str) -> None:
    """Gone, no process, hidden, denied to a user, denied to root, or the kernel's error; root has another way."""
    told = denial(7, error, seen)
    assert sentence in told
    if error is DENIED and seen.me == 0 and not seen.kernel:
        assert "as root" not in told
        assert told.endswith(BY_HAND)


def test_process_is_seen_from_outside() -> None:
    """Its state, its user and its threads are anybody's to see; a zombie, a thread and a free pid are told apart."""
    mine = outside(os.getpid())
    assert (mine.exists, mine.group, mine.uid, mine.me, mine.kernel) == (
        True,
        os.getpid(),
        os.geteuid(),
        os.geteuid(),
        False,
    )
    assert not outside(1 << 30).exists
    ended = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: outside(ended.pid).state == "Z", "it has ended")
    ended.wait()
    go, numbers = threading.Event(), list[int]()
    thread = threading.Thread(target=lambda: (numbers.append(threading.get_native_id()), go.wait()))
    thread.start()
    wait_until(lambda: numbers, "the thread runs")
    assert outside(numbers[0]).group == os.getpid()
    go.set()
    thread.join()


@pytest.mark.root
def test_process_is_known_that_may_not_be_signalled() -> None:
    """What /proc hides from a user is there: the kernel refuses the signal, it does not lack the process."""
    assert apart(unprivileged(), lambda: outside(os.getppid()).exists)
    seen: list[object] = apart(unprivileged(), lambda: [outside(1).me, outside(1).may_look])
    assert seen == [unprivileged()[0], False]
