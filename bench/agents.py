"""An agent with its own certs-dir, for the measurements."""

import json
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CONFIG = """
[agent]
state_dir = "{base}/state"
socket = "{base}/control.sock"
[authority.house]
type = "local"
directory = "{base}/ca"
create = true
[[certs_dir]]
path = "{base}/certs"
owner = "{user}"
authority = "house"
names = ["localhost", "127.0.0.1"]
"""
DEADLINE = 60.0


def certagent(*words: str) -> list[str]:
    return [sys.executable, "-m", "certagent", *words]


def until(condition: Callable[[], object]) -> float:
    """Spin until it is true; return the moment (perf_counter)."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("gave up waiting")
        time.sleep(0.0001)
    return time.perf_counter()


def prepared(base: Path, *settings: str) -> Path:
    """A certs-dir with valid pairs, with further settings of it; return the configuration's path."""
    (base / "certs").mkdir(mode=0o700)
    config = base / "config.toml"
    lines = (CONFIG.format(base=base, user=pwd.getpwuid(os.getuid()).pw_name), *settings)
    config.write_text("\n".join(lines))
    subprocess.run(certagent("run", "--once", "-c", str(config)), check=True, capture_output=True)
    return config


@contextmanager
def daemon(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A running agent; its log is next to its configuration."""
    with open(config.with_name("agent.log"), "wb") as log:
        process = subprocess.Popen(certagent("run", "--log", "json", "-c", str(config)), stdout=log, stderr=log)
    try:
        until(lambda: events(config, "agent.started"))
        yield process
    finally:
        process.terminate()
        process.wait()


def events(config: Path, name: str) -> list[dict[str, str]]:
    """The daemon's log so far."""
    rows = [json.loads(line) for line in config.with_name("agent.log").read_text().splitlines() if line.endswith("}")]
    return [r for r in rows if r["event"] == name]
