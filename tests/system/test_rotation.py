"""Rotations under load, and under kill -9: nobody notices."""

import os
import random
import signal
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from certagent.demo.stream import Stream
from certagent.x509 import parse_certificates, parse_key
from tests.system.running import Host
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
ROTATIONS = 5
KILLS = 25


def matched(certs: Path, stem: str) -> bool:
    key = (certs / f"{stem}.key").read_bytes()
    return parse_certificates((certs / f"{stem}.crt").read_bytes())[0].spki == parse_key(key)[0]


class KeyModes:
    """Every mode that any key below a directory is ever seen with; names may vanish under it (os.walk lets them)."""

    def __init__(self, top: Path) -> None:
        self.top, self.modes, self.looks = top, set[int](), 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.is_set():
            for place, _, names in os.walk(self.top):
                for name in (n for n in names if "key" in n):
                    with suppress(FileNotFoundError):
                        self.modes.add(os.lstat(os.path.join(place, name)).st_mode & 0o777)
            self.looks += 1

    def stop(self) -> None:
        self._end.set()
        self._thread.join()


def test_rotation_under_connections_fails_none(host: Host) -> None:
    """A rotation every few seconds, mutual TLS connections meanwhile: not one fails."""
    often = "[certs_dir.file.node]\nlifetime = '16s'\nrenew_at = '12s'"  # every four seconds; twelve are left then
    host.write(extra=often)
    host.once()
    pair = (str(host.certs / "client.root.crt"), str(host.certs / "client.root.key"))
    with host.server() as server, host.agent() as agent:
        stream = Stream(server, str(host.certs / "ca.crt"), pair)
        try:
            agent.wait_event("reload.proven", count=len(agent.events("reload.proven")) + ROTATIONS)
        finally:
            stream.stop()
    assert stream.failures == []
    assert len(stream.fingerprints) >= ROTATIONS
    assert stream.connections > 50


def test_rotation_syncs_25_times_at_most(host: Host) -> None:
    """From the request to the verified reload, with every promise of the ledger and the swap."""
    trace = host.base / "trace"

    def synced() -> list[str]:
        return [line for line in trace.read_text().splitlines() if "sync" in line]

    host.once()
    strace = ("strace", "-D", "-f", "-y", "-e", "trace=fsync,fdatasync,sync_file_range,syncfs,sync,msync", "-o")
    with host.server() as server, host.agent(*strace, str(trace)):
        wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        before, fingerprint = len(synced()), server.served()
        assert host.run("renew", "node").returncode == 0
        assert server.served() != fingerprint
        made = synced()[before:]
    ledger = [line for line in made if "/state/" in line]
    assert (len(made) <= 25, len(ledger)) == (True, 4), made


def test_names_added_and_dropped_fail_no_connection(host: Host) -> None:
    """A name is added to the configuration, then dropped with `drop_names`: both certificates are served."""
    host.once()
    pair = (str(host.certs / "client.root.crt"), str(host.certs / "client.root.key"))
    names, drop = '["localhost", "127.0.0.1", "db9.example.com"]', "[certs_dir.file.node]\ndrop_names = true"

    def named() -> bool:
        return "db9.example.com" in parse_certificates((host.certs / "node.crt").read_bytes())[0].dns

    with host.server() as server:
        stream = Stream(server, str(host.certs / "ca.crt"), pair)
        try:
            for more, expected in (({"names": names}, True), ({"extra": drop}, False)):
                host.write(**more)
                with host.agent():
                    assert host.run("renew", "node").returncode == 0
                    wait_until(lambda expected=expected: named() is expected, "the configured names")
                    wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        finally:
            stream.stop()
    assert (stream.failures, len(stream.fingerprints) >= 3) == ([], True)


def test_rotation_keeps_open_connections(host: Host) -> None:
    """A connection that is open while the pair is rotated goes on."""
    from certagent.demo.launch import connect

    host.once()
    with host.server() as server, host.agent():
        wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        pair = (str(host.certs / "client.root.crt"), str(host.certs / "client.root.key"))
        with connect(server.ports["sql"], "sql", str(host.certs / "ca.crt"), pair) as tls:
            tls.sendall(b"start")
            assert tls.recv(64)
            assert host.run("renew", "node").returncode == 0
            tls.sendall(b"still here")
            assert tls.recv(64) == b"still here"


def test_kill_nine_leaves_no_mismatch(host: Host) -> None:
    """kill -9 at random moments of constant renewals: never a mismatch after recovery, a wide or a spare key."""
    host.write(house="lifetime = '4s'")
    host.once()
    watcher = KeyModes(host.certs)
    moments = random.Random(7)
    try:
        for _ in range(KILLS):
            with host.agent() as agent:
                threading.Event().wait(moments.uniform(0.0, 0.5))  # a moment, not a condition: that is the test
                agent.stop(signal.SIGKILL)
            assert host.run("recover").returncode == 0
            assert matched(host.certs, "node")
            assert matched(host.certs, "client.root")
            staged = host.certs / ".certagent" / "staged"
            assert {p.stem for p in staged.glob("*.key")} <= {p.stem for p in staged.glob("*.crt")}
    finally:
        watcher.stop()
    assert watcher.looks > KILLS
    assert watcher.modes == {0o600}
    with host.server() as server, host.agent() as agent:
        agent.wait_event("reload.proven")
        assert server.served()


def test_ledger_attempt_of_crash_is_closed_at_start(host: Host) -> None:
    """An attempt with an unknown end is closed at the next start: asked is not issued."""
    host.write(house="lifetime = '4s'")
    host.once()
    with host.agent() as agent:
        agent.wait_event("issue.started")
        agent.stop(signal.SIGKILL)
    with host.agent() as agent:
        started = agent.events("agent.started")[0]["ts"]
        before = [a for a in host.json("history", "--limit", "1000")["attempts"] if a["at"] < started]
        assert {a["outcome"] for a in before} <= {"ok", "failed"}
        assert before
