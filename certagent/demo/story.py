"""The steps of `certagent demo`: everything is real, in a temporary directory, on loopback, under twenty seconds."""

import json
import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from certagent import x509
from certagent.demo.launch import StandIn
from certagent.demo.stream import Stream

CONFIG = """
[agent]
state_dir = "{base}/state"
socket = "{base}/control.sock"

[authority.house]
type = "local"
directory = "{base}/ca"
create = true
lifetime = "1h"

[[certs_dir]]
path = "{base}/certs"
owner = "{user}"
authority = "house"
names = ["localhost", "127.0.0.1"]
clients = ["root"]
"""
ROTATIONS = 10
PRIVATE = 0o600
DEADLINE = 120.0  # only a failure takes it: the machine may be busy


class Story:
    """One run in one directory."""

    def __init__(self, base: str) -> None:
        """Writes the configuration."""
        self.base, self.certs, self.config = base, f"{base}/certs", f"{base}/config.toml"
        os.mkdir(self.certs, 0o700)
        os.mkdir(f"{base}/server")
        with open(self.config, "w") as file:
            file.write(CONFIG.format(base=base, user=pwd.getpwuid(os.getuid()).pw_name))

    def certagent(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One certagent command, as its own process."""
        command = [sys.executable, "-m", "certagent", *words, "-c", self.config]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def daemon(self) -> subprocess.Popen[bytes]:
        """The agent, until it answers."""
        command = [sys.executable, "-m", "certagent", "run", "--log", "json", "-c", self.config]
        with open(f"{self.base}/agent.log", "wb") as log:
            agent = subprocess.Popen(command, stdout=log, stderr=log)
        wait(lambda: self.status()["daemon"] is not None)
        return agent

    def status(self) -> dict[str, Any]:
        """`certagent status --json`."""
        document: dict[str, Any] = json.loads(self.certagent("status", "--json").stdout)
        return document

    def file(self, name: str) -> dict[str, Any]:
        """What status says of one file."""
        files: list[dict[str, Any]] = self.status()["certs_dirs"][0]["files"]
        return next(f for f in files if f["name"] == name)


def wait(condition: Callable[[], bool]) -> float:
    """Wait for a condition; return the seconds it took. Raises RuntimeError after the deadline."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > DEADLINE:
            raise RuntimeError("the demo gave up waiting")
        time.sleep(0.001)
    return time.monotonic() - start


def say(text: str) -> None:
    """Print one line immediately."""
    print(text, flush=True)


def tell() -> int:
    """Tell the story; exit 0 when every step held."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="certagent-demo-") as base:
        story = Story(base)
        _first_issuance(story)
        with StandIn(story.certs, f"{base}/server") as server:
            say(f"3. a server named cockroach is running: pid {server.process.pid}, SQL port {server.ports['sql']}")
            agent = story.daemon()
            try:
                good = all((_rotation(story, server), _bad_answer(story, server), _mode(story)))
            finally:
                agent.terminate()
                agent.wait()
    say(f"{'done' if good else 'FAILED'} in {time.monotonic() - begin:.1f} s")
    return 0 if good else 1


def _first_issuance(story: Story) -> None:
    say(f"1. an empty certs directory and a configuration of 13 lines, in {story.base}")
    start = time.monotonic()
    done = story.certagent("run", "--once")
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    files = ", ".join(n for n in sorted(os.listdir(story.certs)) if not n.startswith("."))
    say(f"2. `certagent run --once`: {files} in {time.monotonic() - start:.2f} s")


@dataclass(frozen=True, slots=True)
class Rotated:
    """What was measured of the rotations: seconds of each that was verified, fingerprints, connections, SIGHUPs."""

    took: tuple[float, ...]
    before: str
    after: str
    connections: int
    failures: tuple[str, ...]
    proof: str
    senders: tuple[int, ...]
    problem: str = ""  # what `renew` said of one that was not verified


def rotated(facts: Rotated) -> tuple[list[str], bool]:
    """Given what was measured, return the lines of it and whether every step held."""
    if len(facts.took) < ROTATIONS:
        return [f"   a renewal was not verified: {facts.problem}"], False
    one, other, sent = facts.before[:12], facts.after[:12], len(facts.senders)
    who = f" from uid {facts.senders[-1]}, the owner" if facts.senders else ""
    lines = [
        f"4. {ROTATIONS} rotations, each verified within {max(facts.took):.2f} s of the command: {one} -> {other}",
        f"   {facts.connections} new connections in the meantime, {len(facts.failures)} failed",
        f"5. verified: {facts.proof}; the server received {sent} SIGHUPs{who}",
    ]
    return lines, not facts.failures and facts.before != facts.after and facts.proof == "served"


def _rotation(story: Story, server: StandIn) -> bool:
    """Rotate the node's pair under a stream of new, verified, mutually authenticated connections."""
    pair = (f"{story.certs}/client.root.crt", f"{story.certs}/client.root.key")
    stream = Stream(server, f"{story.certs}/ca.crt", pair)
    before = server.served()
    took, problem = _renewals(story)
    stream.stop()
    after, proof = server.served(), story.file("node")["proof"]
    senders = tuple(e["sender_uid"] for e in server.log() if e["event"] == "reload")
    lines, good = rotated(
        Rotated(took, before, after, stream.connections, tuple(stream.failures), proof, senders, problem)
    )
    say("\n".join(lines))
    return good


def _renewals(story: Story) -> tuple[tuple[float, ...], str]:
    """Seconds from command to verification, of each; ends with the first that is not verified, and what it said."""
    took: list[float] = []
    for _ in range(ROTATIONS):
        start = time.monotonic()
        done = story.certagent("renew", "node", "--force")
        if done.returncode:
            return tuple(took), (done.stdout + done.stderr).strip()
        took.append(time.monotonic() - start)
    return tuple(took), ""


def _bad_answer(story: Story, server: StandIn) -> bool:
    """Give the CA another key: its answers no longer build to the bundle that the nodes trust."""
    keep = {name: _read(f"{story.base}/ca/{name}") for name in ("ca.crt", "ca.key")}
    rogue, key = x509.make_ca("another CA", timedelta(days=1), datetime.now(UTC))
    _write(f"{story.base}/ca/ca.key", key)
    _write(f"{story.base}/ca/ca.crt", keep["ca.crt"] + rogue)
    before = server.served()
    refused = story.certagent("renew", "node")
    for name, data in keep.items():
        _write(f"{story.base}/ca/{name}", data)
    lines, good = withstood(refused.returncode, refused.stdout.strip(), same=server.served() == before)
    say("\n".join(lines))
    return good


def withstood(code: int, told: str, *, same: bool) -> tuple[list[str], bool]:
    """Given how the renewal from a wrong CA ended, and whether the old pair is still served, return the lines."""
    lines = [
        f"6. the CA issues a certificate from another root: exit {code}, {told}",
        f"   the old pair {'is still' if same else 'IS NO LONGER'} served",
    ]
    return lines, code == 1 and same


def _mode(story: Story) -> bool:
    key = f"{story.certs}/node.key"
    os.chmod(key, 0o644)
    took = wait(lambda: os.stat(key).st_mode & 0o777 == PRIVATE)
    say(f"7. chmod 0644 node.key: repaired to 0600 in {took * 1000:.1f} ms")
    return True


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
