"""CA answer to verified as served, against the bare fsyncs, the signal and the handshake of the same run."""

import os
import signal
import statistics
import subprocess
import time
from datetime import datetime
from pathlib import Path

from bench.agents import certagent, daemon, events, prepared
from bench.figures import Figure
from certagent.demo.launch import StandIn

ROUNDS = 20
ORDER = ("key", "crt")


def measure(base: Path) -> list[Figure]:
    """Twenty renewals; after each the bare work in another directory."""
    config = prepared(base)
    (base / "server").mkdir()
    (base / "bare").mkdir()
    bare: list[float] = []
    with StandIn(str(base / "certs"), str(base / "server")) as server, daemon(config):
        for _ in range(ROUNDS):
            subprocess.run(certagent("renew", "node", "--force", "-c", str(config)), check=True, capture_output=True)
            bare.append(_bare(base / "bare", server))
    ours = _between(config)
    return [
        Figure("CA answer to verified as served", 1e3 * statistics.median(ours), 1e3 * statistics.median(bare), "ms", 3)
    ]


def _between(config: Path) -> list[float]:
    """Seconds from each answer to the proof that follows it."""
    answers = [_at(e) for e in events(config, "issue.succeeded") if e["file"] == "node"]
    proofs = [_at(e) for e in events(config, "reload.proven")]
    return [min(p for p in proofs if p >= a) - a for a in answers if any(p >= a for p in proofs)]


def _at(event: dict[str, str]) -> float:
    return datetime.fromisoformat(event["ts"]).timestamp()


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _finish(path: Path) -> None:
    """The mode that it is served with."""
    fd = os.open(path, os.O_RDONLY)
    os.fchmod(fd, 0o600)
    os.fsync(fd)
    os.close(fd)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def _bare(base: Path, server: StandIn) -> float:
    """The same fsyncs and renames, one SIGHUP, and handshakes until the server has taken note of it.

    The answer is staged before the agent says that it has one, so that time is part of neither.
    """
    inbox_changed = sum(e["event"] == "reload" for e in server.log())
    for name in ORDER:
        _write(base / f"new.{name}", b"x" * 1000)
    _sync(base)
    begin = time.perf_counter()
    for name in ORDER:
        _write(base / f"kept.{name}", b"x" * 1000)
        _sync(base)
    for name in ORDER:
        _finish(base / f"new.{name}")
    _write(base / "intent", b"x")
    _sync(base)
    for name in ORDER:
        os.rename(base / f"new.{name}", base / f"node.{name}")
    for _ in range(3):
        _sync(base)
    server.process.send_signal(signal.SIGHUP)
    while sum(e["event"] == "reload" for e in server.log()) == inbox_changed:
        time.sleep(0.001)
    for kind in ("sql", "http"):
        server.served(kind)
    return time.perf_counter() - begin
