"""What an idle daemon takes of the processor next to its server and 1,500 other processes, against its target."""

import os
import subprocess
import time
from pathlib import Path

from bench.agents import daemon, prepared
from bench.figures import Figure
from certagent.demo.launch import StandIn

CROWD = 1500
TARGET = 55.0
SETTLE, WINDOW = 5.0, 60.0


def measure(base: Path) -> list[Figure]:
    """The agent and its children, over a minute: two rescans."""
    config = prepared(base)
    (base / "server").mkdir()
    crowd = [subprocess.Popen(["/bin/sleep", "600"]) for _ in range(CROWD)]
    try:
        with StandIn(str(base / "certs"), str(base / "server")), daemon(config) as agent:
            time.sleep(SETTLE)
            before = spent(agent.pid)
            time.sleep(WINDOW)
            took = (spent(agent.pid) - before) * 60 / WINDOW
    finally:
        for process in crowd:
            process.kill()
            process.wait()
    return [Figure(f"idle processor time, {CROWD:,} processes", took, TARGET, "ms", 1.0)]


def spent(pid: int) -> float:
    """Milliseconds of processor time of a process, with its children that run and those that have ended."""
    running = [int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ended = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return 1e3 * (time.clock_gettime(_processor_clock(pid)) + ended) + sum(map(spent, running))


def _processor_clock(pid: int) -> int:
    """The clock that clock_getcpuclockid(3) names: what the scheduler counted, to the nanosecond."""
    return (~pid << 3) | 2
