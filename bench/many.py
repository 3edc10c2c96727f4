"""Two hundred certs directories under one agent: threads, processor share when idle, a repair, the stop.

There is no baseline: the figures are held against the targets of the project, per directory or in seconds.
"""

import os
import pwd
import stat
import statistics
import subprocess
import time
from pathlib import Path

from bench.agents import certagent, until
from bench.figures import Figure, quantile

NUMBER = 200
SETTLE, WINDOW = 40.0, 60.0  # one rescan until everything is at rest, then two
REPAIRS = 20
HEAD = """
[agent]
state_dir = "{base}/state"
socket = "{base}/control.sock"
[authority.house]
type = "local"
directory = "{base}/ca"
create = true
"""
EACH = """
[[certs_dir]]
path = "{base}/certs/{number:03d}"
owner = "{user}"
authority = "house"
names = ["localhost"]
clients = []
"""


def measure(base: Path) -> list[Figure]:
    """One agent over two rescans."""
    config = _prepared(base)
    with open(base / "agent.log", "wb") as log:
        agent = subprocess.Popen(certagent("run", "--log", "json", "-c", str(config)), stdout=log, stderr=log)
    try:
        until(lambda: b"agent.started" in (base / "agent.log").read_bytes())
        time.sleep(SETTLE)
        threads, before = len(os.listdir(f"/proc/{agent.pid}/task")), _cpu(agent.pid)
        time.sleep(WINDOW)
        share = (_cpu(agent.pid) - before) / WINDOW
        repairs = [_repaired(base / "certs" / f"{n * 7 % NUMBER:03d}" / "node.key") for n in range(REPAIRS)]
        begin = time.perf_counter()
        agent.terminate()
        agent.wait()
        stop = time.perf_counter() - begin
    finally:
        agent.kill()
        agent.wait()
    return [
        Figure(f"threads of {NUMBER} directories", threads, 2.0 * NUMBER, "", 1.0),
        Figure(f"processor share of {NUMBER} idle directories", 100 * share, 2.0, "% of a core", 1.0),
        Figure(f"chmod to repair among {NUMBER} directories, median", 1e3 * statistics.median(repairs), 1e3, "ms", 1.0),
        Figure(f"chmod to repair among {NUMBER} directories, p99", 1e3 * quantile(repairs, 0.99), 1e3, "ms", 1.0),
        Figure(f"SIGTERM to exit with {NUMBER} directories", stop, 15.0, "s", 1.0),
    ]


def _prepared(base: Path) -> Path:
    user, config = pwd.getpwuid(os.getuid()).pw_name, base / "config.toml"
    tables = [EACH.format(base=base, number=number, user=user) for number in range(NUMBER)]
    config.write_text("".join([HEAD.format(base=base), *tables]))
    for number in range(NUMBER):
        (base / "certs" / f"{number:03d}").mkdir(mode=0o700, parents=True)
    subprocess.run(certagent("run", "--once", "-c", str(config)), check=False, capture_output=True)
    return config


def _cpu(pid: int) -> float:
    """Seconds of processor time, of all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _repaired(key: Path) -> float:
    begin = time.perf_counter()
    key.chmod(0o644)
    return until(lambda: stat.S_IMODE(key.stat().st_mode) == 0o600) - begin
