"""chmod to repair: the daemon against a bare watchdog callback, with three hundred more processes on the host."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from bench.agents import daemon, prepared, until
from bench.figures import Figure, median_and_p99

BARE = """
import os, sys, threading
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer
class Fix(FileSystemEventHandler):
    def on_any_event(self, event):
        if event.src_path.endswith('.key') and os.stat(event.src_path).st_mode & 0o777 != 0o600:
            os.chmod(event.src_path, 0o600)
observer = Observer()
observer.schedule(Fix(), sys.argv[1])
observer.start()
print('ready', flush=True)
threading.Event().wait()
"""
KEYS = 60
EACH = 4  # a key whose repair is undone five times counts as exposed
CROWD = 300


def measure(base: Path) -> list[Figure]:
    """Interleaved: one chmod for each, over sixty keys, four times each."""
    config = prepared(base)
    bare = base / "bare"
    bare.mkdir()
    keys = [f"client.u{n:02d}.key" for n in range(KEYS)]
    for key in keys:
        for directory in (base / "certs", bare):
            shutil.copy(base / "certs" / "node.key", directory / key)
            shutil.copy(base / "certs" / "node.crt", directory / key.replace(".key", ".crt"))
            (directory / key).chmod(0o600)
    crowd = [subprocess.Popen(["/bin/sleep", "600"]) for _ in range(CROWD)]
    other = subprocess.Popen([sys.executable, "-c", BARE, str(bare)], stdout=subprocess.PIPE)
    try:
        with daemon(config):
            assert other.stdout is not None
            other.stdout.readline()
            time.sleep(1)
            return _compare(base / "certs", bare, keys)
    finally:
        for process in (other, *crowd):
            process.kill()
            process.wait()


def _compare(ours: Path, bare: Path, keys: list[str]) -> list[Figure]:
    took: tuple[list[float], list[float]] = ([], [])
    for key in keys * EACH:
        for where, directory in zip(took, (ours, bare), strict=True):
            where.append(_once(directory / key))
            time.sleep(0.01)
    return median_and_p99("chmod to repair", *took, aim=5)


def _once(path: Path) -> float:
    begin = time.perf_counter()
    os.chmod(path, 0o644)
    return until(lambda: os.stat(path).st_mode & 0o777 == 0o600) - begin
