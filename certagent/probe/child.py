"""The process that probes: it makes a confined child for each exchange, and parses nothing that a server sent.

A request is one datagram on standard input: a question as JSON, and by descriptor the pipe for the answer and, where a
client pair is offered, a file that holds it. The child resolves a name, gives up everything but connections to the
port of its question, and answers. One that is not done in time is killed here. Rejected: a new interpreter for each
probe, which costs sixty milliseconds instead of six, in the seconds after each reload; and threads of the agent, in
which bytes of a server that are slow to parse stop everything.
"""

import encodings.idna
import encodings.punycode  # noqa: F401 - both resolve a name, when perhaps no module can be read any more
import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from certagent.probe.exchange import Client, exchanged
from certagent.sandbox import Profile, confine

REQUEST = 1 << 16
FILES = 2
ADDRESSES = 8
MEMORY = 512 << 20
TICK_MS = 200
WHOLE = 3.0  # times `timeout`: the handshake, the names of CAs, and what a loaded machine adds
START = 5.0


def main() -> int:
    """`child UID:GID`: answer until the agent is gone."""
    _become(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a person who ends the agent at a terminal: it ends this one
    with socket.socket(fileno=os.dup(0)) as asked:
        _serve(asked)
    return 0


def _become(who: str) -> None:
    """Become another user irrevocably, where this process is root; "-": stay."""
    if who != "-":
        uid, gid = (int(word) for word in who.split(":"))
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def _serve(asked: socket.socket) -> None:
    running: dict[int, float] = {}
    poll = select.poll()
    poll.register(asked, select.POLLIN)
    while True:
        ready = poll.poll(TICK_MS if running else None)
        _reap(running)
        if not ready:
            continue
        data, files, _flags, _address = socket.recv_fds(asked, REQUEST, FILES)
        if not data:
            return
        question = json.loads(data)
        pid = os.fork()
        if pid == 0:
            asked.close()
            _answer(question, files)
        running[pid] = time.monotonic() + allowed(question["timeout"])
        for file in files:
            os.close(file)


def allowed(timeout: float) -> float:
    """Seconds after which a child is killed."""
    return WHOLE * timeout + START


def _reap(running: dict[int, float]) -> None:
    """Kill what is over its time, and wait for what has ended."""
    for pid, end in list(running.items()):
        if time.monotonic() >= end:
            os.kill(pid, signal.SIGKILL)
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            del running[pid]


def _answer(question: dict[str, Any], files: list[int]) -> None:
    """In the child: answer, and end without a word to anybody else."""
    code = 1
    with suppress(BaseException):
        host, port, timeout = question["host"], question["port"], question["timeout"]
        addresses = resolved(host, port)
        confine(Profile(connect=(port,), memory=MEMORY), None, "", timeout)
        pair = f"/proc/self/fd/{files[1]}" if len(files) == FILES else ""
        client = Client(user=question["user"], path=pair) if pair else None
        found = exchanged(addresses, question["kind"], client, timeout)
        with os.fdopen(files[0], "wb") as out:
            out.write(json.dumps(asdict(found)).encode())
        code = 0
    os._exit(code)


def resolved(host: str, port: int) -> list[tuple[str, int]]:
    """The addresses of a host; the name itself where it has none, so that connecting says why."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return [(host, port)]
    return [(str(address[0]), port) for *_, address in found[:ADDRESSES]]
