"""A child that has keys: without network and files of its own, it carries out operations until none came for a while.

Each request is one datagram: the name of an operation, and by descriptor a file in memory with what is given as JSON,
which the answer replaces, and the files of keys.
"""

import json
import os
import select
import socket
import time
from contextlib import suppress
from typing import Any

from certagent.keys.operations import perform
from certagent.sandbox import Profile, confine

LIBRARIES = ("cryptography", "certagent.x509")
FILES = 4
LONGEST_NAME = 32
READY, DONE = b"+", b"."
IDLE_MS = 1000
LIFE = 60.0  # seconds after which it takes no further request
SECONDS = 300.0  # after which it is killed
PROCESSOR = 60.0
PROFILE = Profile(network=False)


def answer(_question: dict[str, Any], files: list[int]) -> None:
    """Serve the requests of the agent on the only file, a socket."""
    confine(PROFILE, None, "", PROCESSOR)
    end = time.monotonic() + LIFE
    with socket.socket(fileno=files[0]) as agent:
        agent.send(READY)
        while time.monotonic() < end and select.select([agent], [], [], IDLE_MS / 1000)[0]:
            name, given, _flags, _address = socket.recv_fds(agent, LONGEST_NAME, FILES)
            if not name:
                return
            try:
                _answer(name.decode(), *given)
            finally:
                for fd in given:
                    os.close(fd)
            with suppress(BrokenPipeError):  # the agent has given up on it
                agent.send(DONE)


def _answer(name: str, request: int, *keys: int) -> None:
    """Carry out one request; its answer takes its place."""
    given = json.loads(os.pread(request, os.fstat(request).st_size, 0))
    data = json.dumps(perform(name, given, list(keys))).encode()
    os.ftruncate(request, 0)
    os.pwrite(request, data, 0)
