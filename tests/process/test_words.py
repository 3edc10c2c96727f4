"""Arguments and environment of a process, which anybody may have started."""

import subprocess
import sys
from pathlib import Path

import pytest

from certagent.core.policy import Owner, ProcessRule
from certagent.process import find
from certagent.process.words import LONGEST, MOST_WORDS, argv_of, environ_of, program_of, variables_in, words_in

ENDLESS = """
import ctypes, mmap, struct, sys
libc, size = ctypes.CDLL(None, use_errno=True), 16 << 30
libc.prctl(15, b"cockroach")
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
place = libc.mmap(None, size, 3, 0x4022, -1, 0)
said = b"cockroach\\0start\\0--certs-dir=" + sys.argv[1].encode() + b"\\0"
ctypes.memmove(place, said, len(said))
stat = open("/proc/self/stat").read().rpartition(")")[2].split()
code, stack, data, brk = map(int, (stat[23], stat[25], stat[42], stat[44]))
ends = (int(stat[24]), int(stat[43]))
libc.sbrk.restype = ctypes.c_void_p
made = struct.pack("11QQIi", code, ends[0], data, ends[1], brk, libc.sbrk(0), stack,
                   place, place + size - 1, place, place + size - 1, 0, 0, -1)
print(libc.prctl(35, 14, made, len(made), 0), flush=True)
sys.stdin.read()
"""


def test_process_with_endless_arguments_is_not_read(tmp_path: Path) -> None:
    """Any user may say that a process has gigabytes of arguments; it is no server, and costs no memory."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"0\n":
            pytest.skip("this kernel lets no process say where its arguments are")
        info = tmp_path.stat()
        for read in (argv_of, environ_of):
            with pytest.raises(OSError, match="has more than"):
                read(process.pid)
        assert find(info.st_dev, info.st_ino, ProcessRule(), Owner("", info.st_uid, info.st_gid)) == ()
        process.communicate()


def test_process_arguments_are_whole() -> None:
    """As they were given, up to the limit."""
    words = ["/bin/sh", "-c", "echo begun; read -r line", "a b", "", "x" * (LONGEST >> 1)]
    pipe, environ = subprocess.PIPE, {"A": "b=c", "E": ""}
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, env=environ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the kernel says what they are after it has begun the program
        assert argv_of(process.pid) == words
        assert environ_of(process.pid) == environ
        process.communicate(b"\n")


def test_process_with_thousands_of_arguments_is_not_read() -> None:
    """What each of them costs is for its user to choose, and how many processes there are."""
    words = ["-c", "print(flush=True); input()", *["x"] * MOST_WORDS]
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, *words], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(OSError, match="more than 1024 arguments"):
            argv_of(process.pid)
        process.communicate(b"\n")


def test_process_that_wrote_its_own_arguments() -> None:
    """It may separate them by blanks; a kernel thread has none."""
    assert words_in("cockroach start --certs-dir=/c\0") == ["cockroach", "start", "--certs-dir=/c"]
    assert words_in("cockroach start ") == ["cockroach", "start"]
    assert words_in("") == []
    assert variables_in("A=1\0junk\0=2\0\0B=3\0") == {"A": "1"}


def test_process_name_is_whole_where_its_arguments_have_the_rest() -> None:
    """The kernel keeps fifteen bytes of it."""
    code = "import ctypes; ctypes.CDLL(None).prctl(15, b'cockroach-v25.1.3'); print(flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert program_of(process.pid, ["/opt/cockroach-v25.1.3"]) == "cockroach-v25.1.3"
        assert program_of(process.pid, ["/opt/another"]) == "cockroach-v25.1"
        assert program_of(process.pid, []) == "cockroach-v25.1"
        process.communicate(b"\n")
