"""`certagent status` as a whole process, against the bare interpreter."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.agents import daemon, prepared
from bench.figures import Figure

ROUNDS = 40


def measure(base: Path) -> list[Figure]:
    """Interleaved: interpreter, status, status --json."""
    config = prepared(base)
    program = str(Path(sys.executable).with_name("certagent"))
    commands = [
        [sys.executable, "-I", "-c", "pass"],
        [program, "status", "-c", str(config)],
        [program, "status", "--json", "-c", str(config)],
    ]
    took: list[list[float]] = [[], [], []]
    with daemon(config):
        for _ in range(ROUNDS):
            for where, command in zip(took, commands, strict=True):
                begin = time.perf_counter()
                subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
                where.append(time.perf_counter() - begin)
    bare, text, document = (1e3 * statistics.median(values) for values in took)
    return [
        Figure("certagent status", text, bare, "ms", 2.5),
        Figure("certagent status --json", document, bare, "ms", 2.5),
    ]
