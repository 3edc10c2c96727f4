"""What an idle daemon costs, against a process that only imports the required libraries and waits.

That one watches a directory of its own, where nothing happens: in a directory that the agent uses, the
passes of the agent would wake it too.
"""

import subprocess
import sys
import time
from pathlib import Path

from bench.agents import daemon, prepared, until
from bench.figures import Figure

BARE = """
import sqlite3, ssl, sys, threading
import psutil
from apscheduler.schedulers.background import BackgroundScheduler
from cryptography import x509
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer
from datetime import datetime, timedelta
observer = Observer()
observer.schedule(FileSystemEventHandler(), sys.argv[1])
observer.start()
scheduler = BackgroundScheduler()
scheduler.start()
scheduler.add_job(print, 'date', run_date=datetime.now() + timedelta(hours=1))
print('ready', flush=True)
threading.Event().wait()
"""
SETTLE, WINDOW = 5.0, 60.0


def measure(base: Path) -> list[Figure]:
    """Both at the same time, over a minute: two rescans."""
    config = prepared(base)
    (base / "quiet").mkdir()
    bare = subprocess.Popen([sys.executable, "-c", BARE, str(base / "quiet")], stdout=subprocess.PIPE)
    try:
        with daemon(config) as agent:
            assert bare.stdout is not None
            until(bare.stdout.readline)
            time.sleep(SETTLE)
            before = [switches(p.pid) for p in (agent, bare)]
            time.sleep(WINDOW)
            per_minute = [(switches(p.pid) - b) * 60 / WINDOW for p, b in zip((agent, bare), before, strict=True)]
            memory = [pss(p.pid) for p in (agent, bare)]
    finally:
        bare.kill()
        bare.wait()
    return [
        Figure("idle memory (PSS)", *memory, "MB", 1.25),
        Figure("idle context switches per minute", *per_minute, "", 1.1),
    ]


def pss(pid: int) -> float:
    """Megabytes."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("Pss:"))


def switches(pid: int) -> int:
    """Voluntary and involuntary, of every thread."""
    texts = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int(line.split()[1]) for text in texts for line in text.splitlines() if "ctxt_switches" in line)
