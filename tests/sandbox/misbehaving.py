"""A worker that misbehaves in one way: run by test_worker.py."""

import os
import signal
import subprocess
import sys

from certagent.sandbox import Profile, confine
from certagent.sandbox.exchange import DONE


def closing() -> None:
    os.close(1)
    os.close(2)
    signal.pause()


def flooding() -> None:
    while True:
        sys.stdout.write("x" * 65536)


def beginning() -> None:
    sys.stdout.write("the first line\n")
    sys.stdout.flush()
    signal.pause()


def showing() -> None:
    print(sorted(os.environ), [fd for fd in range(3, 64) if os.path.exists(f"/proc/self/fd/{fd}")])


def telling() -> None:
    sys.stdin.buffer.readline()
    for number in range(int(sys.argv[2])):
        print(number, flush=True)
        assert sys.stdin.buffer.readline() == DONE
    sys.stdout.write("the answer")


WAYS = {
    "tell": telling,
    "hang after closing": closing,
    "flood": flooding,
    "begin to answer": beginning,
    "show": showing,
}


def main() -> int:
    how = sys.argv[1]
    if how not in {"be deaf", "tell"}:
        sys.stdin.buffer.read()
    WAYS.get(how, lambda: None)()
    match how:
        case "hang as nobody":
            confine(Profile(), (65534, 65534), os.environ["TMPDIR"], 60)
            with open("left.txt", "w") as file:
                file.write("something")
            signal.pause()
        case "hang" | "be deaf":
            signal.pause()
        case "flood errors":
            sys.stderr.write("e" * (8 << 20))
            return 3
        case "die":
            sys.stderr.write("a traceback\nit said: the reason\n")
            return 7
        case "be killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "leave a child":
            child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            print(child.pid)
    return 0
