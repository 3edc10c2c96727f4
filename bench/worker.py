"""One worker as a whole process, confined, against the bare interpreter: start to answer, and peak memory.

It asks a port where nobody listens, so that the time is its own: start, imports, confinement, one refused connection.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.figures import Figure
from certagent.authority.messages import Request, State, dump_question
from certagent.sandbox.worker_process import Workers

ROUNDS = 15
TYPES: dict[str, dict[str, object]] = {
    "cfssl": {"url": "http://127.0.0.1:9", "profile": "", "label": ""},
    "acme": {"directory_url": "http://127.0.0.1:9/directory", "contact": []},
}
SECRETS = {"cfssl": {"auth_key": "00"}, "acme": {}}
PEAK = (
    "import resource, subprocess, sys;"
    "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def question(kind: str) -> bytes:
    return dump_question(Request("issue", kind, TYPES[kind], names=("localhost",), timeout=10), SECRETS[kind], State())


def took(command: list[str], data: bytes, place: Path) -> float:
    begin = time.perf_counter()
    subprocess.run(command, input=data, capture_output=True, check=True, cwd=place)
    return 1e3 * (time.perf_counter() - begin)


def peak(command: list[str], data: bytes, place: Path) -> float:
    """MiB."""
    words = [sys.executable, "-I", "-S", "-c", PEAK, *command]
    done = subprocess.run(words, input=data, stdout=subprocess.PIPE, check=True, cwd=place)
    return int(done.stdout) / 1024


def measure(base: Path) -> list[Figure]:
    """Interleaved: interpreter, then each type."""
    workers = Workers((65534, 65534))
    base.chmod(0o777)
    bare = [sys.executable, "-I", "-c", "pass"]
    commands = {kind: workers.command("certagent.authority.worker", [kind]) for kind in TYPES}
    times: dict[str, list[float]] = {name: [] for name in ("bare", *TYPES)}
    for _ in range(ROUNDS):
        times["bare"].append(took(bare, b"", base))
        for kind, command in commands.items():
            times[kind].append(took(command, question(kind), base))
    bare_time, bare_peak = statistics.median(times["bare"]), peak(bare, b"", base)
    found = []
    for kind, command in commands.items():
        answer = json.loads(
            subprocess.run(command, input=question(kind), stdout=subprocess.PIPE, check=True, cwd=base).stdout
        )
        assert answer["kind"] == "unreachable", answer
        found.append(Figure(f"worker ({kind}), start to answer", statistics.median(times[kind]), bare_time, "ms"))
        found.append(Figure(f"worker ({kind}), peak memory", peak(command, question(kind), base), bare_peak, "MiB"))
    return found
